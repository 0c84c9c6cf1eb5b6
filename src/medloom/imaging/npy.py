"""NPY, the array format of NumPy: numbers only, header first."""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.lib import format as npy_format

from medloom.errors import DecodeError
from medloom.imaging.checks import check_header, choose_page
from medloom.imaging.types import Budget, Header, Image, Pixels

__all__ = ["CONTENT_TYPES", "MAGICS", "SUFFIXES", "codec", "decode", "inspect"]

MAGICS: tuple[tuple[int, bytes], ...] = ((0, npy_format.MAGIC_PREFIX),)
SUFFIXES: tuple[str, ...] = (".npy",)
CONTENT_TYPES: tuple[str, ...] = ("application/x-npy",)

_PREFIX_BYTES = {1: 10, 2: 12, 3: 12}  # magic, version and length of the header, by major version
_MAX_HEADER_BYTES = 4096
_Parsed = tuple[tuple[int, ...], bool, np.dtype[np.generic], int]


def codec() -> str:
    """Name and version of what decodes it."""
    return f"NumPy {np.__version__}"


def inspect(data: bytes, budget: Budget, /) -> Header:
    """Parse the header, check type, budget and exact length."""
    return _read(data, budget)[0]


def decode(data: bytes, page: int | None, budget: Budget, /) -> Image:
    """Return the array as (H, W, C) in native byte order; booleans become 0 and 1."""
    header, (shape, fortran, dtype, start) = _read(data, budget)
    choose_page(page, 1)
    flat: Pixels = np.frombuffer(data, dtype, count=math.prod(shape), offset=start)
    stored = flat.reshape(shape, order="F" if fortran else "C").reshape(header.shape)
    return Image(np.array(stored, dtype=header.dtype, order="C"), "npy")


def _read(data: bytes, budget: Budget) -> tuple[Header, _Parsed]:
    parsed = _parse(data)
    shape, _, dtype, start = parsed
    _check_dtype(dtype)
    if len(shape) not in (2, 3):
        raise DecodeError(
            "unsupported", f"the array has {len(shape)} axes; expected (H, W) or (H, W, C)", field="shape"
        )
    native = "uint8" if dtype.kind == "b" else dtype.newbyteorder("=").name
    height, width, channels = (*shape, 1)[:3]
    header = check_header(Header("npy", height, width, channels, native), len(data), budget)
    _check_length(len(data) - start, header.nbytes)
    return header, parsed


def _parse(data: bytes) -> _Parsed:
    """Return shape, Fortran order, dtype and the offset of the first element."""
    prefix = _PREFIX_BYTES.get(data[6], 0) if len(data) > 6 else 10
    if not prefix:
        raise DecodeError("unsupported", "the version of the NPY format is not 1, 2 or 3", field="version")
    if len(data) < prefix:
        raise DecodeError("truncated", "the file ends within its header")
    length = int.from_bytes(data[8:prefix], "little")
    if length > _MAX_HEADER_BYTES:
        raise DecodeError("too_large", f"the NPY header has {length} bytes; the limit is {_MAX_HEADER_BYTES}")
    if len(data) < prefix + length:
        raise DecodeError("truncated", "the file ends within its header")
    stream = io.BytesIO(data)
    stream.seek(8)
    # Versions 2 and 3 differ in the encoding of field names only, and structured arrays are refused.
    read = npy_format.read_array_header_1_0 if data[6] == 1 else npy_format.read_array_header_2_0
    shape, fortran, dtype = read(stream, max_header_size=_MAX_HEADER_BYTES)
    return shape, fortran, dtype, prefix + length


def _check_dtype(dtype: np.dtype[np.generic]) -> None:
    if dtype.hasobject or dtype.names is not None or dtype.kind not in "buif" or dtype.itemsize > 8:
        raise DecodeError(
            "unsupported", "the array does not hold plain numbers; expected bool, int, uint or float of up to 64 bits",
            field="descr",
        )  # fmt: skip


def _check_length(have: int, need: int) -> None:
    if have < need:
        raise DecodeError("truncated", f"the header announces {need} bytes of pixels; {have} are there", field="shape")
    if have > need:
        raise DecodeError("corrupt", f"the header announces {need} bytes of pixels; {have} are there", field="shape")
