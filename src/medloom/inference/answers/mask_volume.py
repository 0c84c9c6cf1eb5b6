"""A mask for a whole volume, in that volume's own geometry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medloom.inference.answers.figures import ClassFigures, figures, in_values, measure
from medloom.targets import Target

__all__ = ["VolumePrediction"]


@dataclass(frozen=True, eq=False)
class VolumePrediction:
    """What the model says about each voxel of one volume, in that volume's own geometry.

    Args:
        target: What is predicted; its names are the classes, the background first.
        mask: ``(D, H, W)`` uint8 class index, 0 = background: slice, row, column, as ``Volume.voxels``;
            ``value_mask`` has the values of the training masks.
        affine: That of the volume: takes ``(column, row, slice, 1)`` to RAS+ millimetres.
        slice_px: ``(D, C)`` voxels of each class in each slice, the background included.
        probability: Largest foreground probability of any voxel, before small regions are erased.
        probabilities: The same for each foreground class.
        voxel_ml: Volume of a voxel in millilitres, or None if the file does not say how large its voxels are.
    """

    target: Target
    mask: NDArray[np.uint8]
    affine: NDArray[np.float64]
    slice_px: NDArray[np.int64]
    probability: float
    probabilities: NDArray[np.float64]
    voxel_ml: float | None = None

    @cached_property
    def by_class(self) -> dict[str, ClassFigures]:
        """Voxels, volume and largest probability of each foreground class, by its name."""
        return figures(self.target, self.slice_px.sum(axis=0), self.probabilities, voxel_ml=self.voxel_ml)

    @property
    def value_mask(self) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """The mask as it is written: with the recipe's ``mask_values``; class indices in older bundles."""
        return in_values(self.mask, self.target)

    @property
    def area_px(self) -> int:
        """Foreground voxels, the sum of those of the slices."""
        return int(self.slice_px[:, 1:].sum())

    @property
    def volume_ml(self) -> float | None:
        """Their volume in millilitres, or None if the file does not say how large its voxels are."""
        return measure(self.area_px, self.voxel_ml, digits=6)

    @property
    def has_foreground(self) -> bool:
        """Whether the mask holds any foreground."""
        return self.area_px > 0
