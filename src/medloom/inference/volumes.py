"""Volumes through a network of slices: each slice predicted by itself, the mask in the volume's own geometry."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medloom.imaging import Image, Volume
from medloom.inference.answers.masks import MaskPrediction
from medloom.inference.metadata import Metadata
from medloom.inference.predictor import Predictor

__all__ = ["VolumePrediction", "predict_volume", "slices_of"]

_MM3_PER_ML = 1000.0
_NO_SPACING = "the file states no spacing along an axis"


@dataclass(frozen=True, eq=False)
class VolumePrediction:
    """What the model says about one volume, in that volume's own geometry.

    Args:
        mask: ``(D, H, W)`` uint8 class index, 0 = background: slice, row, column, as ``Volume.voxels``.
        probability: Largest foreground probability of any voxel, before small regions are erased.
        area_px: Foreground voxels, the sum of those of the slices.
        volume_ml: Their volume in millilitres, or None if the file does not say how large its voxels are.
    """

    mask: NDArray[np.uint8]
    probability: float
    area_px: int
    volume_ml: float | None

    @property
    def has_foreground(self) -> bool:
        """Whether the mask holds any foreground."""
        return self.area_px > 0


def predict_volume(predictor: Predictor, volume: Volume, metadata: Metadata | None = None) -> VolumePrediction:
    """Predict a volume slice by slice; only the mask of one slice at a time is wider than the result.

    Args:
        predictor: A model for masks, of one channel or of grey repeated as colours.
        volume: Its slices are what ``decode`` gives for the pages of the same file.
        metadata: Values by column, for a model that takes some.

    Returns:
        The mask, with the shape of ``volume.voxels``: ``write_nifti(mask, volume.affine)`` lies upon the volume.

    Raises:
        InputError: If a slice is not what this model takes.

    Example:
        >>> volume = read_nifti_volume(Path("scan.nii.gz").read_bytes())  # doctest: +SKIP
        >>> predict_volume(medloom.load("model.tar.gz"), volume).volume_ml  # doctest: +SKIP
        12.7
    """
    mask = np.empty(volume.voxels.shape, np.uint8)
    largest = 0.0
    for number, image in enumerate(slices_of(volume)):
        prediction = MaskPrediction.of(predictor.predict(image, metadata=metadata))
        mask[number] = prediction.mask
        largest = max(largest, prediction.probability)
    area_px = int(np.count_nonzero(mask))
    return VolumePrediction(mask, largest, area_px, _volume_ml(volume, area_px))


def slices_of(volume: Volume) -> Iterator[Image]:
    """Yield each slice as an image, in order."""
    spacing_mm = None if _NO_SPACING in volume.notes else volume.spacing_mm[1:]
    for plane in volume.voxels:
        yield Image(plane[..., np.newaxis], volume.format, spacing_mm, volume.notes)


def _volume_ml(volume: Volume, voxels: int) -> float | None:
    """The determinant is the volume of one voxel, also where the axes are sheared."""
    if _NO_SPACING in volume.notes:
        return None
    volume_ml = voxels * abs(float(np.linalg.det(volume.affine[:3, :3]))) / _MM3_PER_ML
    return round(volume_ml, 6) if math.isfinite(volume_ml) else None
