"""A volume: voxels with the place in the patient where each of them lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medloom.imaging.types import Pixels

__all__ = ["Volume"]


@dataclass(frozen=True, eq=False)
class Volume:
    """Slices of one size in one orientation, equally far apart.

    Args:
        voxels: Array (D, H, W) in its native dtype: slice, row, column. It is C-contiguous, so a slice is a view.
        spacing_mm: Distance in millimetres between neighbours along the axes of ``voxels``: slice, row, column.
        affine: Matrix (4, 4) of float64 that takes ``(column, row, slice, 1)`` to millimetres in the patient, with
            x growing to the right, y to the front and z to the head (RAS+, the convention of NIfTI). Column first
            because NIfTI counts so: ``nibabel.Nifti1Image(volume.voxels.T, volume.affine)`` is the same volume.
        format: Format it came in.
        notes: What a careful reader should know.
        plane_spacing_mm: Row and column spacing as `decode` gives it for a slice; None where the file does not say.

    Example:
        >>> volume = Volume(np.zeros((3, 4, 5), np.int16), (2.0, 1.0, 1.0), np.diag([1.0, 1.0, 2.0, 1.0]), "nifti")
        >>> (volume.affine @ [4, 3, 2, 1])[:3].tolist()
        [4.0, 3.0, 4.0]

    Source: NIfTI-1 standard, "3D image (volume) orientation and location in space".
    """

    voxels: Pixels
    spacing_mm: tuple[float, float, float]
    affine: NDArray[np.float64]
    format: str
    notes: tuple[str, ...] = ()
    plane_spacing_mm: tuple[float, float] | None = None
