"""Volumes through a network of slices: each slice predicted by itself, the mask in the volume's own geometry."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from medloom.imaging import Image, Volume
from medloom.inference.answers.figures import class_probabilities, count_classes
from medloom.inference.answers.mask_volume import VolumePrediction
from medloom.inference.answers.masks import MaskPrediction
from medloom.inference.metadata import Metadata
from medloom.inference.predictor import Predictor

__all__ = ["VolumePrediction", "known_spacing", "predict_volume", "slices_of"]

_MM3_PER_ML = 1000.0
_NO_SPACING = "the file states no spacing along an axis"


def predict_volume(predictor: Predictor, volume: Volume, metadata: Metadata | None = None) -> VolumePrediction:
    """Predict a volume slice by slice; only the mask of one slice at a time is wider than the result.

    Args:
        predictor: A model for masks, of one channel or of grey repeated as colours.
        volume: Its slices are what ``decode`` gives for the pages of the same file.
        metadata: Values by column, for a model that takes some.

    Returns:
        The mask, with the shape of ``volume.voxels``: ``write_nifti(value_mask, affine)`` lies upon the volume.

    Raises:
        InputError: If a slice is not what this model takes.

    Example:
        >>> volume = read_nifti_volume(Path("scan.nii.gz").read_bytes())  # doctest: +SKIP
        >>> predict_volume(medloom.load("model.tar.gz"), volume).volume_ml  # doctest: +SKIP
        12.7
    """
    target = predictor.target
    mask = np.empty(volume.voxels.shape, np.uint8)
    counts = np.zeros((len(mask), len(target.names)), np.int64)
    largest, probabilities = 0.0, np.zeros(len(target.foreground))
    for number, image in enumerate(slices_of(volume)):
        prediction = MaskPrediction.of(predictor.predict(image, metadata=metadata))
        mask[number] = prediction.mask
        counts[number] = count_classes(prediction.mask, target)
        largest = max(largest, prediction.probability)
        probabilities = np.maximum(probabilities, class_probabilities(prediction.probabilities))
    return VolumePrediction(target, mask, volume.affine, counts, largest, probabilities, _voxel_ml(volume))


def slices_of(volume: Volume) -> Iterator[Image]:
    """Yield each slice as an image, in order."""
    spacing = known_spacing(volume)
    spacing_mm = None if spacing is None else spacing[1:]
    for plane in volume.voxels:
        yield Image(plane[..., np.newaxis], volume.format, spacing_mm, volume.notes)


def known_spacing(volume: Volume) -> tuple[float, float, float] | None:
    """Return the distance of slices, rows and columns in mm, or None where the file does not state all of them."""
    return None if _NO_SPACING in volume.notes else volume.spacing_mm


def _voxel_ml(volume: Volume) -> float | None:
    """The determinant is the volume of one voxel, also where the axes are sheared."""
    if known_spacing(volume) is None:
        return None
    return abs(float(np.linalg.det(volume.affine[:3, :3]))) / _MM3_PER_ML
