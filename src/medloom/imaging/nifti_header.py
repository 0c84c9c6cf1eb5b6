"""The header of a NIfTI file, understood: sides, type, scaling and geometry.

Source: NIfTI-1.1 and NIfTI-2 standards (nifti1.h, nifti2.h); the choice of the affine is that of nibabel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medloom.errors import DecodeError

__all__ = ["AGREE_MM", "DTYPES", "MAGICS", "MOST_HEADER_BYTES", "NO_SPACING", "PAIR_MAGICS", "Layout", "read_layout"]

MAGICS: tuple[tuple[int, bytes], ...] = ((344, b"n+1\0"), (4, b"n+2\0\r\n\x1a\n"))
"""Where the two versions say what they are."""

DTYPES = {
    2: "uint8", 4: "int16", 8: "int32", 16: "float32", 64: "float64", 256: "int8", 512: "uint16", 768: "uint32",
    1024: "int64", 1280: "uint64",
}  # fmt: skip
"""Types of voxels that are read and written, by the standard's code."""

PAIR_MAGICS: tuple[tuple[int, bytes], ...] = (
    (344, b"ni1\0"), (4, b"ni2\0\r\n\x1a\n"), (0, b"\x5c\x01\0\0"), (0, b"\0\0\x01\x5c"),
)  # fmt: skip
"""How the header of a pair begins: NIfTI-1, NIfTI-2, and Analyze, which says no more than its length of 348 bytes."""

_UNREAD = {
    1: "binary", 32: "complex64", 128: "RGB24", 1536: "float128", 1792: "complex128", 2048: "complex256",
    2304: "RGBA32",
}  # fmt: skip
_COLOURS = (128, 2304)

MOST_HEADER_BYTES = 544
"""Bytes of a file that are enough for any header."""

AGREE_MM = 1e-3
"""Entries of two affines that differ by less are the same."""

NO_SPACING = "the file states no spacing along an axis"
"""Note of a file that leaves out a spacing; 1 mm is taken for it."""

_UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_HALF_PRECISE_BYTES = 2  # integers this wide are exact in float32
_Order = Literal["<", ">"]
_ORDERS: tuple[tuple[_Order, Literal["little", "big"]], ...] = (("<", "little"), (">", "big"))

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
class Layout:
    """A header, understood. Sides are (i, j, k)."""

    sides: tuple[int, int, int]
    stored: np.dtype[Any]
    start: int
    slope: float
    inter: float
    affine: NDArray[np.float64]
    oriented: bool
    has_spacing: bool
    notes: tuple[str, ...]

    @property
    def scaled(self) -> bool:
        """Whether slope and intercept change the stored values."""
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
        """Length of one plane as it is stored."""
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

    @property
    def plane_spacing(self) -> tuple[float, float] | None:
        """Distance between neighbours along (j, i) in millimetres, or None where the file does not say."""
        return self.spacing[1:] if self.has_spacing else None


def read_layout(head: bytes) -> Layout:
    """Understand a header.

    Args:
        head: The first bytes of the file, inflated, as many as there are up to ``MOST_HEADER_BYTES``.

    Raises:
        DecodeError: If it is cut, damaged or not read.
    """
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
        affine, oriented, has_spacing, notes = _affine(fields, sides, kind)
    if (slope, inter) != (1.0, 0.0):
        notes = ("scaled by the file's slope and intercept", *notes)
    return Layout(
        sides, _stored(fields, order), _start(fields, kind), slope, inter, affine, oriented, has_spacing, notes
    )


def _kind(head: bytes) -> tuple[_Kind, _Order]:
    """Return the version and the byte order, which the header's own length shows."""
    for kind, (offset, magic) in zip(_KINDS, MAGICS, strict=True):
        if head.startswith(magic, offset):
            if len(head) < kind.first_voxel:
                raise DecodeError("truncated", "the file ends within its header", field="sizeof_hdr")
            for order, name in _ORDERS:
                if int.from_bytes(head[:4], name) == kind.header_bytes:
                    return kind, order
            raise DecodeError("corrupt", f"the header does not say {kind.header_bytes} bytes", field="sizeof_hdr")
    _refuse_pair(head)
    if len(head) < _KINDS[0].first_voxel:
        raise DecodeError("truncated", f"the content ends after {len(head)} bytes, within a NIfTI header")
    raise DecodeError("unsupported", "the content is no NIfTI file", hint="Unpack it, or convert it to NIfTI.")


def _refuse_pair(head: bytes) -> None:
    """Name a header whose voxels are in another file."""
    (*nifti, little, big) = PAIR_MAGICS
    if any(head.startswith(magic, at) for at, magic in nifti):
        raise DecodeError(
            "unsupported", "the file is the header of a NIfTI pair: its voxels are in the .img file beside it",
            hint="Convert the pair to one .nii.gz file, such as with nibabel.",
        )  # fmt: skip
    if len(head) >= _KINDS[0].header_bytes and any(head.startswith(magic, at) for at, magic in (little, big)):
        raise DecodeError(
            "unsupported", "the file is an Analyze header: its voxels are in the .img file beside it, and it does not "
            "say which side is left", hint="Convert the pair to one .nii.gz file with its orientation.",
        )  # fmt: skip


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
            "unsupported", f"the file holds {math.prod(sides[3:])} volumes; expected one", field="dim",
            hint="Split it into one file for each volume, such as with nibabel.four_to_three.",
        )  # fmt: skip
    i, j, k = (*sides, 1)[:3]
    return i, j, k


def _stored(fields: np.void, order: _Order) -> np.dtype[Any]:
    code = int(fields["datatype"])
    if code not in DTYPES:
        raise DecodeError(
            "unsupported", f"data type {_UNREAD.get(code, code)} is not read; expected one of "
            f"{', '.join(DTYPES.values())}", field="datatype",
            hint="Save one channel of the colours, or their mean." if code in _COLOURS else None,
        )  # fmt: skip
    dtype = np.dtype(DTYPES[code]).newbyteorder(order)
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
) -> tuple[NDArray[np.float64], bool, bool, tuple[str, ...]]:
    """Return the affine in millimetres, whether the file states it, whether the spacing is known, and what to note."""
    sform = _sform(fields) if fields["sform_code"] else None
    zooms, notes = _zooms(fields, sides, sform)
    qform = _qform(fields, zooms, kind) if fields["qform_code"] else None
    if fields["qform_code"] and qform is None:
        if sform is None:
            raise DecodeError("corrupt", "the quaternion of the orientation is none", field="quatern_b")
        notes += ("qform is not readable; sform was used",)
    found = sform if sform is not None else qform
    oriented = found is not None
    if found is None:
        found = _base_affine(zooms, sides)
        notes += ("the file states no orientation",)
    elif sform is not None and qform is not None and not np.allclose(sform, qform, rtol=0, atol=AGREE_MM):
        notes += ("qform and sform disagree; sform was used",)
    scale = _UNIT_MM.get(int(fields["xyzt_units"]) & 7, 1.0)
    if scale != 1.0:
        notes += ("lengths converted to millimetres",)
        found[:3] *= scale
    return _sound(found), oriented, sform is not None or bool((fields["pixdim"][1:3] != 0).all()), notes


def _sound(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(affine).all():
        raise DecodeError("non_finite", "the orientation holds NaN or infinite numbers", field="srow_x")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        raise DecodeError("corrupt", "an axis of the volume has no length", field="srow_x")
    if abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-6:
        raise DecodeError("corrupt", "the axes of the volume lie in one plane", field="srow_x")
    return affine


def _zooms(
    fields: np.void, sides: tuple[int, int, int], sform: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the spacing along (i, j, k), mended as nibabel mends it: no sign, and 1 for 0."""
    zooms = fields["pixdim"][1:4].astype(np.float64)
    if not np.isfinite(zooms).all():
        if sform is None:
            raise DecodeError("non_finite", "the spacing is not a finite number", field="pixdim")
        return np.linalg.norm(sform[:3, :3], axis=0), ("the spacing is not a finite number; that of sform was used",)
    zooms = np.abs(zooms)
    missing = bool((zooms[: 2 if sides[2] == 1 else 3] == 0).any())
    zooms[zooms == 0] = 1
    return zooms, (NO_SPACING,) if missing else ()


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
