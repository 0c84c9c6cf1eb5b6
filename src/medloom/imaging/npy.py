"""NPY, the array format of NumPy: numbers only, header first.

The header is a Python literal; it is matched, not evaluated, so nothing but the three keys of the format is understood.

Source: NEP 1 and ``numpy.lib.format``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from medloom.errors import DecodeError
from medloom.imaging.checks import check_header, choose_page
from medloom.imaging.types import Budget, Format, Header, Image, Pixels

__all__ = ["FORMAT", "codec", "decode", "inspect", "read_array"]

_PREFIX_BYTES = {1: 10, 2: 12, 3: 12}  # magic, version and length of the header, by major version
_MAX_HEADER_BYTES = 4096
_DESCR = re.compile(rb"""['"]descr['"]\s*:\s*['"]([^'"]*)['"]""")
_FORTRAN = re.compile(rb"""['"]fortran_order['"]\s*:\s*(True|False)""")
_SHAPE = re.compile(rb"""['"]shape['"]\s*:\s*\(([\d,\s]*)\)""")
_PLAIN = re.compile(rb"[<>=|]?(b1|[iu][1248]|f[248])")


@dataclass(frozen=True)
class _Layout:
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[np.generic]
    start: int


def codec() -> str:
    """Name and version of what decodes it."""
    return f"NumPy {np.__version__}"


def inspect(data: bytes, budget: Budget, /) -> Header:
    """Parse the header, check type, budget and exact length."""
    return _read(data, budget)[1]


def decode(data: bytes, page: int | None, budget: Budget, /) -> Image:
    """Return the array as (H, W, C) in native byte order; booleans become 0 and 1."""
    layout, header = _read(data, budget)
    choose_page(page, 1)
    return Image(np.array(_stored(data, layout).reshape(header.shape), dtype=header.dtype, order="C"), "npy")


def read_array(data: bytes) -> Pixels:
    """Return an array of any shape as it is stored; it is a view of ``data``, so it costs nothing.

    Args:
        data: The file.

    Raises:
        DecodeError: If it is no NPY file of plain numbers, or has another length than its header says.
    """
    if not data.startswith(FORMAT.magics[0][1]):
        raise DecodeError("unsupported", "the file is no NPY")
    layout = _parse(*_literal(data))
    _check_length(len(data) - layout.start, math.prod(layout.shape) * layout.dtype.itemsize, "numbers")
    return _stored(data, layout)


def _stored(data: bytes, layout: _Layout) -> Pixels:
    flat: Pixels = np.frombuffer(data, layout.dtype, count=math.prod(layout.shape), offset=layout.start)
    return flat.reshape(layout.shape, order="F" if layout.fortran else "C")


def _read(data: bytes, budget: Budget) -> tuple[_Layout, Header]:
    layout = _parse(*_literal(data))
    if len(layout.shape) not in (2, 3):
        raise DecodeError(
            "unsupported", f"the array has {len(layout.shape)} axes; expected (H, W) or (H, W, C)", field="shape"
        )
    height, width, channels = (*layout.shape, 1)[:3]
    native = "uint8" if layout.dtype.kind == "b" else layout.dtype.name
    header = check_header(Header("npy", height, width, channels, native), len(data), budget)
    _check_length(len(data) - layout.start, header.nbytes)
    return layout, header


def _literal(data: bytes) -> tuple[bytes, int]:
    """Return the header's text and the offset of the first element."""
    prefix = _PREFIX_BYTES.get(data[6], 0) if len(data) > 6 else 10
    if not prefix:
        raise DecodeError("unsupported", "the version of the NPY format is not 1, 2 or 3", field="version")
    start = prefix + int.from_bytes(data[8:prefix], "little")
    if len(data) < prefix or len(data) < start:
        raise DecodeError("truncated", "the file ends within its header")
    if start > _MAX_HEADER_BYTES:
        raise DecodeError("too_large", f"the NPY header has {start} bytes; the limit is {_MAX_HEADER_BYTES}")
    return data[prefix:start].strip(), start


def _parse(text: bytes, start: int) -> _Layout:
    descr, fortran, shape = _DESCR.search(text), _FORTRAN.search(text), _SHAPE.search(text)
    if not (text.startswith(b"{") and text.endswith(b"}") and fortran and shape):
        raise DecodeError("corrupt", "the NPY header is damaged", field="shape")
    if descr is None or not _PLAIN.fullmatch(descr[1]):
        raise DecodeError(
            "unsupported", "the array does not hold plain numbers; expected bool, int, uint or float of up to 64 bits",
            field="descr",
        )  # fmt: skip
    sides = tuple(int(side) for side in shape[1].split(b",") if side.strip())
    return _Layout(sides, fortran[1] == b"True", np.dtype(descr[1].decode()), start)


def _check_length(have: int, need: int, what: str = "pixels") -> None:
    if have != need:
        message = f"the header announces {need} bytes of {what}; {have} are there"
        raise DecodeError("truncated" if have < need else "corrupt", message, field="shape")


FORMAT = Format(
    name="npy",
    magics=((0, b"\x93NUMPY"),),
    suffixes=(".npy",),
    content_types=("application/x-npy",),
    codec=codec,
    inspect=inspect,
    decode=decode,
)
