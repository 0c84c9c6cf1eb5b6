"""NIfTI-1 and NIfTI-2 in one file (``.nii``, ``.nii.gz``): header first, then exactly the voxels it announces.

Axes: NIfTI stores voxel (i, j, k) with i running fastest, so the same bytes in the order of C are (k, j, i). That is
how they come out, nothing is turned or flipped: slice D = k, row H = j, column W = i. A page of `decode` is the plane
of one k, with row j and column i; a `Volume` has ``voxels[k, j, i]``, and its affine takes ``(i, j, k, 1)`` to
millimetres exactly as in the file. `write_nifti` is the inverse of both.

Source: NIfTI-1.1 and NIfTI-2 standards (nifti1.h, nifti2.h); the choice of the affine is that of nibabel.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.errors import DecodeError
from medloom.files import write_bytes
from medloom.imaging.checks import check_encoded, check_header, choose_page, guard
from medloom.imaging.types import DEFAULT_BUDGET, Budget, Header, Image, NanPolicy, Pixels
from medloom.imaging.volume import Volume

__all__ = ["CONTENT_TYPES", "MAGICS", "SUFFIXES", "codec", "decode", "inspect", "read_nifti_volume", "write_nifti"]

_GZIP = b"\x1f\x8b"
_MAGIC_1, _MAGIC_2 = b"n+1\0", b"n+2\0\r\n\x1a\n"
MAGICS: tuple[tuple[int, bytes], ...] = ((344, _MAGIC_1), (4, _MAGIC_2), (0, _GZIP))
SUFFIXES: tuple[str, ...] = (".nii", ".nii.gz")
CONTENT_TYPES: tuple[str, ...] = ("application/x-nifti", "application/gzip", "application/x-gzip")

_DTYPES = {2: "uint8", 4: "int16", 8: "int32", 16: "float32", 64: "float64", 256: "int8", 512: "uint16"}
_UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_MOST_HEADER_BYTES = 544
_MAX_INFLATION = 1032  # what Deflate can do at most
_MAX_MEMBERS = 20_000  # blocked gzip of 512 MiB has 8,000
_PIECE_IN, _PIECE_OUT = 4096, 16384
_AGREE_MM = 1e-3
_HALF_PRECISE_BYTES = 2  # integers this wide are exact in float32

_Fields = dict[str, tuple[str, tuple[int, ...], int]]  # type, shape, offset
_FIELDS_1: _Fields = {
    "dim": ("i2", (8,), 40), "datatype": ("i2", (), 70), "bitpix": ("i2", (), 72), "pixdim": ("f4", (8,), 76),
    "vox_offset": ("f4", (), 108), "scl_slope": ("f4", (), 112), "scl_inter": ("f4", (), 116),
    "xyzt_units": ("u1", (), 123), "qform_code": ("i2", (), 252), "sform_code": ("i2", (), 254),
    "quatern": ("f4", (3,), 256), "qoffset": ("f4", (3,), 268), "srow": ("f4", (3, 4), 280),
}  # fmt: skip
_FIELDS_2: _Fields = {
    "datatype": ("i2", (), 12), "bitpix": ("i2", (), 14), "dim": ("i8", (8,), 16), "pixdim": ("f8", (8,), 104),
    "vox_offset": ("i8", (), 168), "scl_slope": ("f8", (), 176), "scl_inter": ("f8", (), 184),
    "qform_code": ("i4", (), 344), "sform_code": ("i4", (), 348), "quatern": ("f8", (3,), 352),
    "qoffset": ("f8", (3,), 376), "srow": ("f8", (3, 4), 400), "xyzt_units": ("i4", (), 500),
}  # fmt: skip


@dataclass(frozen=True)
class _Kind:
    """NIfTI-1 or NIfTI-2."""

    header_bytes: int
    first_voxel: int
    quaternion_slack: float
    fields: _Fields


_KINDS = (
    _Kind(348, 352, 3 * float(np.finfo(np.float32).eps), _FIELDS_1),
    _Kind(540, 544, 3 * float(np.finfo(np.float64).eps), _FIELDS_2),
)


@dataclass(frozen=True)
class _Layout:
    """A header, understood. Sides are (i, j, k)."""

    sides: tuple[int, int, int]
    stored: np.dtype[Any]
    start: int
    slope: float
    inter: float
    affine: NDArray[np.float64]
    has_spacing: bool
    notes: tuple[str, ...]

    @property
    def scaled(self) -> bool:
        return (self.slope, self.inter) != (1.0, 0.0)

    @property
    def dtype(self) -> str:
        """Type of the decoded voxels: the stored one, or a float where they are scaled."""
        if not self.scaled:
            return self.stored.name
        narrow = self.stored.itemsize <= _HALF_PRECISE_BYTES or self.stored.name == "float32"
        return "float32" if narrow else "float64"

    @property
    def plane_bytes(self) -> int:
        return self.sides[0] * self.sides[1] * self.stored.itemsize

    @property
    def end(self) -> int:
        """Where the file must end."""
        return self.start + self.plane_bytes * self.sides[2]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between neighbours along (k, j, i) in millimetres."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(k), float(j), float(i)


def codec() -> str:
    """Name and version of what decodes it."""
    return f"NumPy {np.__version__}, zlib {zlib.ZLIB_RUNTIME_VERSION}"


def inspect(data: bytes, budget: Budget, /) -> Header:
    """Parse the header, check type and budget, and count the bytes that are really there."""
    layout, header = _read(data, budget)
    _check_length(data, layout)
    return header


def decode(data: bytes, page: int | None, budget: Budget, /) -> Image:
    """Return one slice: pixels (H, W, 1) with row j and column i of the file, scaled if the file says so."""
    layout, header = _read(data, budget)
    number = choose_page(page, header.pages)
    first = layout.start + number * layout.plane_bytes
    stored = _bytes_between(data, layout, first, first + layout.plane_bytes)
    pixels = _meaning(np.frombuffer(stored, layout.stored), layout).reshape(header.shape)
    spacing = layout.spacing[1:] if layout.has_spacing else None
    return Image(pixels, "nifti", spacing, layout.notes)


def read_nifti_volume(data: bytes, *, nan_policy: NanPolicy = "reject", budget: Budget = DEFAULT_BUDGET) -> Volume:
    """Decode a NIfTI file as one volume.

    Args:
        data: The file, compressed with gzip or not.
        nan_policy: ``reject`` refuses NaN and infinite voxels, ``allow`` returns them.
        budget: What it may cost. ``max_bytes`` is the length of ``data``, ``max_decoded_bytes`` that of the voxels.

    Returns:
        Voxels (D, H, W) = (k, j, i) of the file, in the stored type, or scaled as float32 (float64 if stored wider);
        the affine takes (i, j, k, 1) to RAS+ millimetres.

    Raises:
        DecodeError: Whatever is wrong with the input.

    Example:
        >>> data = write_nifti(np.zeros((3, 4, 5), np.int16), np.diag([0.5, 0.5, 2.0, 1.0]))
        >>> volume = read_nifti_volume(data)
        >>> volume.voxels.shape, volume.spacing_mm
        ((3, 4, 5), (2.0, 0.5, 0.5))

    Source: NIfTI-1.1 standard; orientation by sform, else qform, else pixdim, as nibabel chooses.
    """
    check_encoded(data, budget)
    with guard("nifti"):
        layout, header = _read(data, budget)
        stored = np.frombuffer(_bytes_between(data, layout, layout.start, layout.end), layout.stored)
        voxels = _meaning(stored, layout).reshape(header.pages, header.height, header.width)
        if (
            nan_policy == "reject"
            and voxels.dtype.kind == "f"
            and not all(np.isfinite(plane).all() for plane in voxels)
        ):
            raise DecodeError("non_finite", "the volume holds NaN or infinite voxels", hint="Replace them by a number.")
    return Volume(voxels, layout.spacing, layout.affine, "nifti", layout.notes)


def write_nifti(
    volume: Volume | Pixels, affine: NDArray[Any] | None = None, path: Path | None = None, *, compress: bool = False
) -> bytes:
    """Write voxels as NIfTI, such as a predicted mask in the geometry of the volume it was predicted for.

    The same input gives the same bytes: no time and no name is stored. NIfTI-1, or NIfTI-2 if a side is too long.

    Args:
        volume: A volume, or an array (D, H, W) or (H, W); booleans become uint8.
        affine: Matrix (4, 4) that takes (column, row, slice, 1) to RAS+ millimetres, such as ``Volume.affine``;
            None takes the volume's own.
        path: Where to write, atomically; None only returns the bytes.
        compress: Compress with gzip; a path that ends in ``.gz`` is compressed anyway.

    Returns:
        The bytes of the file.

    Raises:
        ValueError: If the shape, the type or the affine cannot be written.

    Example:
        >>> mask = np.ones((3, 4, 5), bool)
        >>> read_nifti_volume(write_nifti(mask, np.eye(4), compress=True)).voxels.dtype.name
        'uint8'

    Source: NIfTI-1.1 standard.
    """
    voxels = volume.voxels if isinstance(volume, Volume) else volume
    affine = volume.affine if affine is None and isinstance(volume, Volume) else affine
    data = _written(_writable(voxels), _checked_affine(affine))
    if compress or (path is not None and path.suffix.lower() == ".gz"):
        deflater = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        data = deflater.compress(data) + deflater.flush()
    if path is not None:
        write_bytes(path, data)
    return data


def _writable(voxels: Pixels) -> Pixels:
    voxels = voxels[np.newaxis] if voxels.ndim == 2 else voxels
    if voxels.dtype == np.bool_:
        voxels = voxels.astype(np.uint8)
    if voxels.ndim != 3 or 0 in voxels.shape or voxels.dtype.name not in _DTYPES.values():
        raise ValueError(
            f"{voxels.dtype} {voxels.shape} cannot be written as NIfTI; expected (D, H, W) of bool or one of "
            f"{', '.join(_DTYPES.values())}"
        )
    return voxels


def _checked_affine(affine: NDArray[Any] | None) -> NDArray[np.float64]:
    if affine is None:
        raise ValueError("an array needs an affine; pass that of the volume it belongs to")
    matrix = np.asarray(affine, np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or (matrix[3] != (0, 0, 0, 1)).any():
        raise ValueError("the affine is not a finite (4, 4) matrix that ends in 0 0 0 1")
    return matrix


def _written(voxels: Pixels, affine: NDArray[np.float64]) -> bytes:
    import nibabel  # a fifth of a second that only writing pays

    kind: Any = nibabel.Nifti1Image
    if max(voxels.shape) < 2**15:
        affine = affine.astype(np.float32).astype(np.float64)  # as it is stored; else the qform is of another matrix
    else:
        kind = nibabel.Nifti2Image
    image = kind(voxels.T, affine)
    header = image.header
    header.set_xyzt_units("mm")
    header.set_sform(affine, code=1)
    header.set_qform(affine, code=1, strip_shears=True)
    if not np.allclose(header.get_qform(), affine, atol=_AGREE_MM):
        header.set_qform(None, code=0)  # a sheared affine has no quaternion
    header.set_slope_inter(1, 0)
    return bytes(image.to_bytes())


def _read(data: bytes, budget: Budget) -> tuple[_Layout, Header]:
    """Understand the header and compare all that it announces with the budget and with what is there."""
    layout = _layout(_beginning(data))
    width, height, depth = layout.sides
    header = check_header(Header("nifti", height, width, 1, layout.dtype, depth), len(data), budget)
    # Whoever inflates a page inflates what lies before it: the volume, and its extensions, must be within the budget.
    nbytes = max(header.nbytes * depth, layout.end)
    if nbytes > budget.max_decoded_bytes:
        raise DecodeError("too_large", f"it would decode to {nbytes} bytes; the limit is {budget.max_decoded_bytes}")
    if nbytes > budget.ratio_above_bytes and nbytes > budget.max_ratio * len(data):
        raise DecodeError("too_large", f"{len(data)} bytes would decode to {nbytes}; the limit is {budget.max_ratio}:1")
    if layout.end > (_MAX_INFLATION * len(data) if _is_gzip(data) else len(data)):
        raise DecodeError("truncated", f"the header announces {layout.end} bytes; so many cannot be there", field="dim")
    return layout, header


def _is_gzip(data: bytes) -> bool:
    return data.startswith(_GZIP)


def _beginning(data: bytes) -> bytes:
    """Return the first bytes, inflated if need be: enough for any header, never more."""
    if not _is_gzip(data):
        return data[:_MOST_HEADER_BYTES]
    found = bytearray()
    for piece in _inflated(data, strict=False):
        found += piece
        if len(found) >= _MOST_HEADER_BYTES:
            break
    return bytes(found[:_MOST_HEADER_BYTES])


def _layout(head: bytes) -> _Layout:
    kind, order = _kind(head)
    formats = [(order + base, shape) for base, shape, _ in kind.fields.values()]
    offsets = [offset for *_, offset in kind.fields.values()]
    dtype = np.dtype(
        {"names": list(kind.fields), "formats": formats, "offsets": offsets, "itemsize": kind.header_bytes}
    )
    fields = np.frombuffer(head, dtype, count=1)[0]
    sides = _sides(fields)
    slope, inter = _scaling(fields)
    with np.errstate(all="ignore"):  # what overflows is refused as not finite
        affine, has_spacing, notes = _affine(fields, sides, kind)
    if (slope, inter) != (1.0, 0.0):
        notes = ("scaled by the file's slope and intercept", *notes)
    return _Layout(sides, _stored(fields, order), _start(fields, kind), slope, inter, affine, has_spacing, notes)


def _kind(head: bytes) -> tuple[_Kind, str]:
    """Return the version and the byte order, which the header's own length shows."""
    for kind, offset, magic in zip(_KINDS, (344, 4), (_MAGIC_1, _MAGIC_2), strict=True):
        if head.startswith(magic, offset):
            if len(head) < kind.first_voxel:
                raise DecodeError("truncated", "the file ends within its header", field="sizeof_hdr")
            for order, name in (("<", "little"), (">", "big")):
                if int.from_bytes(head[:4], name) == kind.header_bytes:  # type: ignore[arg-type]
                    return kind, order
            raise DecodeError("corrupt", f"the header does not say {kind.header_bytes} bytes", field="sizeof_hdr")
    if len(head) < _KINDS[0].first_voxel:
        raise DecodeError("truncated", f"the content ends after {len(head)} bytes, within a NIfTI header")
    raise DecodeError("unsupported", "the content is no NIfTI file", hint="Unpack it, or convert it to NIfTI.")


def _sides(fields: np.void) -> tuple[int, int, int]:
    dim = [int(side) for side in fields["dim"]]
    if not 1 <= dim[0] <= 7:
        raise DecodeError("corrupt", f"the header says {dim[0]} axes; expected 1 to 7", field="dim")
    sides = dim[1 : dim[0] + 1]
    if min(sides) < 1:
        raise DecodeError("corrupt", "a side of the volume has no voxels or a negative number", field="dim")
    if dim[0] < 2:
        raise DecodeError("unsupported", "the file has one axis; an image has two or three", field="dim")
    if any(side > 1 for side in sides[3:]):
        raise DecodeError(
            "unsupported", f"the file holds {_product(sides[3:])} volumes; expected one", field="dim",
            hint="Split it into one file for each volume, such as with nibabel.four_to_three.",
        )  # fmt: skip
    i, j, k = (*sides, 1)[:3]
    return i, j, k


def _product(sides: list[int]) -> int:
    product = 1
    for side in sides:
        product *= side
    return product


def _stored(fields: np.void, order: str) -> np.dtype[Any]:
    code = int(fields["datatype"])
    if code not in _DTYPES:
        raise DecodeError(
            "unsupported", f"data type {code} is not read; expected one of {', '.join(_DTYPES.values())}",
            field="datatype",
        )  # fmt: skip
    dtype = np.dtype(_DTYPES[code]).newbyteorder(order)  # type: ignore[arg-type]
    if int(fields["bitpix"]) != 8 * dtype.itemsize:
        raise DecodeError("corrupt", f"{dtype.name} has not {int(fields['bitpix'])} bits", field="bitpix")
    return dtype


def _start(fields: np.void, kind: _Kind) -> int:
    offset = float(fields["vox_offset"])
    if not np.isfinite(offset) or offset != int(offset) or offset < kind.first_voxel:
        raise DecodeError(
            "corrupt", f"the voxels cannot begin there; expected {kind.first_voxel} or more", field="vox_offset"
        )
    return int(fields["vox_offset"])


def _scaling(fields: np.void) -> tuple[float, float]:
    """Return slope and intercept; a slope of 0 or NaN says by the standard that there is none."""
    slope, inter = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0 or np.isnan(slope):
        return 1.0, 0.0
    if not np.isfinite(slope) or not np.isfinite(inter):
        raise DecodeError("non_finite", "the slope or the intercept is not a finite number", field="scl_inter")
    return slope, inter


def _affine(
    fields: np.void, sides: tuple[int, int, int], kind: _Kind
) -> tuple[NDArray[np.float64], bool, tuple[str, ...]]:
    """Return the affine in millimetres, whether the spacing is known, and what to note."""
    zooms, notes = _zooms(fields, sides)
    sform = _sform(fields) if fields["sform_code"] else None
    qform = _qform(fields, zooms, kind) if fields["qform_code"] else None
    if fields["qform_code"] and qform is None:
        if sform is None:
            raise DecodeError("corrupt", "the quaternion of the orientation is none", field="quatern_b")
        notes += ("qform is not readable; sform was used",)
    found = sform if sform is not None else qform
    if found is None:
        found = _base_affine(zooms, sides)
        notes += ("the file states no orientation",)
    elif sform is not None and qform is not None and not np.allclose(sform, qform, rtol=0, atol=_AGREE_MM):
        notes += ("qform and sform disagree; sform was used",)
    scale = _UNIT_MM.get(int(fields["xyzt_units"]) & 7, 1.0)
    if scale != 1.0:
        notes += ("lengths converted to millimetres",)
        found[:3] *= scale
    return _sound(found), sform is not None or bool((fields["pixdim"][1:3] != 0).all()), notes


def _sound(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(affine).all():
        raise DecodeError("non_finite", "the orientation holds NaN or infinite numbers", field="srow_x")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        raise DecodeError("corrupt", "an axis of the volume has no length", field="srow_x")
    if abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-6:
        raise DecodeError("corrupt", "the axes of the volume lie in one plane", field="srow_x")
    return affine


def _zooms(fields: np.void, sides: tuple[int, int, int]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the spacing along (i, j, k), mended as nibabel mends it: no sign, and 1 for 0."""
    zooms = fields["pixdim"][1:4].astype(np.float64)
    if not np.isfinite(zooms).all():
        raise DecodeError("non_finite", "the spacing is not a finite number", field="pixdim")
    zooms = np.abs(zooms)
    missing = bool((zooms[: 2 if sides[2] == 1 else 3] == 0).any())
    zooms[zooms == 0] = 1
    return zooms, ("the file states no spacing along an axis",) if missing else ()


def _sform(fields: np.void) -> NDArray[np.float64]:
    return np.vstack([fields["srow"].astype(np.float64), [0, 0, 0, 1]])


def _qform(fields: np.void, zooms: NDArray[np.float64], kind: _Kind) -> NDArray[np.float64] | None:
    """Return the affine of the quaternion, or None if it is longer than 1.

    Source: nifti1.h, "method 2".
    """
    b, c, d = (float(part) for part in fields["quatern"])
    rest = 1.0 - (b * b + c * c + d * d)
    if not np.isfinite(rest) or rest <= -kind.quaternion_slack:
        return None
    a = 0.0 if abs(rest) < kind.quaternion_slack else float(np.sqrt(rest))
    scale = 2.0 / (a * a + b * b + c * c + d * d)
    rotation = np.eye(3) + scale * np.array([
        [-(c * c + d * d), b * c - a * d, b * d + a * c],
        [b * c + a * d, -(b * b + d * d), c * d - a * b],
        [b * d - a * c, c * d + a * b, -(b * b + c * c)],
    ])  # fmt: skip
    flip = -1.0 if fields["pixdim"][0] == -1 else 1.0
    affine = np.eye(4)
    affine[:3, :3] = rotation * (zooms * (1.0, 1.0, flip))
    affine[:3, 3] = fields["qoffset"]
    return affine


def _base_affine(zooms: NDArray[np.float64], sides: tuple[int, int, int]) -> NDArray[np.float64]:
    """Return what nibabel takes for a file without orientation: x to the left, the origin in the middle."""
    steps = zooms * (-1.0, 1.0, 1.0)
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = -steps * (np.array(sides) - 1) / 2
    return affine


def _meaning(stored: Pixels, layout: _Layout) -> Pixels:
    """Return the voxels in native byte order, scaled in float64 and rounded once."""
    if not layout.scaled:
        return stored.astype(layout.dtype)
    scaled = np.empty(stored.shape, layout.dtype)
    step = 2**20
    with np.errstate(over="ignore", invalid="ignore"):  # infinite voxels are for the caller's NaN policy
        for first in range(0, len(stored), step):
            part = stored[first : first + step].astype(np.float64)
            scaled[first : first + step] = part * layout.slope + layout.inter
    return scaled


def _check_length(data: bytes, layout: _Layout) -> None:
    have = sum(map(len, _inflated(data, layout.end + 1))) if _is_gzip(data) else len(data)
    _compare(have, layout)


def _compare(have: int, layout: _Layout) -> None:
    if have < layout.end:
        raise DecodeError("truncated", f"the header announces {layout.end} bytes; {have} are there", field="dim")
    if have > layout.end:
        raise DecodeError("corrupt", f"the header announces {layout.end} bytes; more are there", field="dim")


def _bytes_between(data: bytes, layout: _Layout, first: int, last: int) -> bytes | bytearray | memoryview:
    """Return a stretch of the file, after all of the file was found to be there and sound."""
    if not _is_gzip(data):
        _compare(len(data), layout)
        return memoryview(data)[first:last]
    kept, position = bytearray(), 0
    for piece in _inflated(data, layout.end + 1):
        kept += piece[max(0, first - position) : max(0, last - position)]
        position += len(piece)
    _compare(position, layout)
    return kept


def _inflated(data: bytes, most: int = _MOST_HEADER_BYTES, *, strict: bool = True) -> Iterator[bytes]:
    """Inflate gzip in small pieces, at most about ``most`` bytes; checksums are compared by zlib.

    Raises:
        DecodeError: ``truncated`` or ``corrupt``; not if ``strict`` is false, when the pieces end there.
    """
    view, position, found, members = memoryview(data), 0, 0, 0
    while position < len(data) and found < most:
        members += 1
        if members > _MAX_MEMBERS or not data.startswith(_GZIP, position):
            if data[position:].strip(b"\0") and strict:
                raise DecodeError("corrupt", "there is something behind the compressed content")
            return
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        while not inflater.eof and found < most:
            piece = inflater.unconsumed_tail or view[position : position + _PIECE_IN]
            position += 0 if inflater.unconsumed_tail else len(piece)
            if not piece:
                if strict:
                    raise DecodeError("truncated", "the compressed content ends too early")
                return
            try:
                out = inflater.decompress(piece, _PIECE_OUT)
            except zlib.error as error:
                raise DecodeError("corrupt", "the compressed content is damaged") from error
            found += len(out)
            yield out
        position -= len(inflater.unused_data)
