"""NIfTI-1 and NIfTI-2 in one file (``.nii``, ``.nii.gz``): header first, then exactly the voxels it announces.

Axes: NIfTI stores voxel (i, j, k) with i running fastest, so the same bytes in the order of C are (k, j, i). That is
how they come out, nothing is turned or flipped: slice D = k, row H = j, column W = i. A page of `decode` is the plane
of one k, with row j and column i; a `Volume` has ``voxels[k, j, i]``, and its affine takes ``(i, j, k, 1)`` to
millimetres exactly as in the file. `write_nifti` is the inverse of both.

Source: NIfTI-1.1 and NIfTI-2 standards (nifti1.h, nifti2.h); the choice of the affine is that of nibabel.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.errors import DecodeError
from medloom.files import write_bytes
from medloom.imaging import nifti_header
from medloom.imaging.checks import check_encoded, check_header, choose_page, guard
from medloom.imaging.geometry import Grid
from medloom.imaging.nifti_file import GZIP, beginning, bytes_between, check_length, most_bytes
from medloom.imaging.nifti_header import AGREE_MM, DTYPES, Layout, read_layout
from medloom.imaging.types import DEFAULT_BUDGET, Budget, Format, Header, Image, NanPolicy, Pixels, Volume

__all__ = [
    "FORMAT",
    "codec",
    "decode",
    "inspect",
    "read_nifti_volume",
    "write_nifti",
]


def codec() -> str:
    """Name and version of what decodes it."""
    return f"NumPy {np.__version__}, zlib {zlib.ZLIB_RUNTIME_VERSION}"


def inspect(data: bytes, budget: Budget, /) -> Header:
    """Parse the header, check type and budget, and count the bytes that are really there."""
    layout, header = _read(data, budget)
    check_length(data, layout)
    return header


def decode(data: bytes, page: int | None, budget: Budget, /) -> Image:
    """Return one slice: pixels (H, W, 1) with row j and column i of the file, scaled if the file says so."""
    layout, header = _read(data, budget)
    number = choose_page(page, header.pages)
    first = layout.start + number * layout.plane_bytes
    stored, more = bytes_between(data, layout, first, first + layout.plane_bytes)
    pixels = _meaning(np.frombuffer(stored, layout.stored), layout).reshape(header.shape)
    affine = _grid(layout).plane(number).affine if layout.oriented else None
    return Image(pixels, "nifti", layout.plane_spacing, (*layout.notes, *more), affine=affine, slices=header.pages)


def grids(data: bytes, budget: Budget, /) -> tuple[Grid, ...]:
    """Return where the voxels lie; empty where the file states no orientation."""
    layout, _ = _read(data, budget)
    return (_grid(layout),) if layout.oriented else ()


def is_volume(data: bytes, budget: Budget, /) -> bool:
    """Return whether it has several slices."""
    return _read(data, budget)[0].sides[2] > 1


def _grid(layout: Layout) -> Grid:
    return Grid(layout.affine, layout.sides)


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
        stored, more = bytes_between(data, layout, layout.start, layout.end)
        voxels = _meaning(np.frombuffer(stored, layout.stored), layout).reshape(
            header.pages, header.height, header.width
        )
        if (
            nan_policy == "reject"
            and voxels.dtype.kind == "f"
            and not all(np.isfinite(plane).all() for plane in voxels)
        ):
            raise DecodeError("non_finite", "the volume holds NaN or infinite voxels", hint="Replace them by a number.")
    return Volume(
        voxels, layout.spacing, layout.affine, "nifti", (*layout.notes, *more), layout.plane_spacing, layout.oriented
    )


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
    if voxels.ndim != 3 or 0 in voxels.shape or voxels.dtype.name not in DTYPES.values():
        raise ValueError(
            f"{voxels.dtype} {voxels.shape} cannot be written as NIfTI; expected (D, H, W) of bool or one of "
            f"{', '.join(DTYPES.values())}"
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
    image = kind(voxels.T, affine, dtype=voxels.dtype)  # nibabel asks for the 64-bit types by name
    header = image.header
    header.set_xyzt_units("mm")
    header.set_sform(affine, code=1)
    header.set_qform(affine, code=1, strip_shears=True)
    if not np.allclose(header.get_qform(), affine, atol=AGREE_MM):
        header.set_qform(None, code=0)  # a sheared affine has no quaternion
    header.set_slope_inter(1, 0)
    return bytes(image.to_bytes())


def _read(data: bytes, budget: Budget) -> tuple[Layout, Header]:
    """Understand the header and compare all that it announces with the budget and with what is there."""
    layout = read_layout(beginning(data))
    width, height, depth = layout.sides
    header = check_header(Header("nifti", height, width, 1, layout.dtype, depth), len(data), budget)
    # To inflate a page is to inflate what lies before it: the volume, and its extensions, must be within the budget.
    nbytes = max(header.nbytes * depth, layout.end)
    if nbytes > budget.max_decoded_bytes:
        raise DecodeError("too_large", f"it would decode to {nbytes} bytes; the limit is {budget.max_decoded_bytes}")
    if nbytes > budget.ratio_above_bytes and nbytes > budget.max_ratio * len(data):
        raise DecodeError("too_large", f"{len(data)} bytes would decode to {nbytes}; the limit is {budget.max_ratio}:1")
    if layout.end > most_bytes(data):
        raise DecodeError("truncated", f"the header announces {layout.end} bytes; so many cannot be there", field="dim")
    return layout, header


def _meaning(stored: Pixels, layout: Layout) -> Pixels:
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


FORMAT = Format(
    name="nifti",
    magics=(*nifti_header.MAGICS, (0, GZIP), *nifti_header.PAIR_MAGICS),
    suffixes=(".nii", ".nii.gz"),
    content_types=("application/x-nifti", "application/gzip", "application/x-gzip"),
    codec=codec,
    inspect=inspect,
    decode=decode,
    read_volume=read_nifti_volume,
    is_volume=is_volume,
    grids=grids,
)
