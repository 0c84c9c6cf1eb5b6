"""Files of class values as arrays with their place in the patient, whatever format they come in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.data.checks import UnfitError, value_plane
from medloom.imaging import FILE_BUDGET, Image, Volume, decode, inspect, read_frames, read_volume, sniff
from medloom.imaging.dicom_seg import SEGMENTATION_BUDGET, read_segmentation
from medloom.imaging.geometry import Grid
from medloom.imaging.grids import brought_to, known_grid, known_spacing, painted_on, reaching
from medloom.imaging.npy import read_array

__all__ = ["LARGEST", "LabelMap", "on_one_grid", "read_labels"]

LARGEST = 65535
"""Largest value of a class."""

_MOST_CHANNELS = 4
_SHOWN_DIGITS = 4

Values = NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class LabelMap:
    """The classes of the pixels of an image, or of the voxels of a volume.

    Args:
        values: (D, H, W) uint16; an image has D = 1.
        grid: Where the voxels lie in the patient; None where the file does not say.
        spacing_mm: Distance of neighbours along the axes of ``values``; None where it is not known. That of slices is
            1 for an image.
        partial: Whether there is background beyond its slices, as in a segmentation without empty ones.
    """

    values: Values
    grid: Grid | None = None
    spacing_mm: tuple[float, float, float] | None = None
    partial: bool = False

    @property
    def used(self) -> tuple[Values, tuple[float, ...] | None]:
        """The array without axes of one voxel, (D, H, W) or (H, W), and the spacing of those that stay."""
        kept = [axis for axis, side in enumerate(self.values.shape) if side > 1]
        kept = kept if len(kept) > 1 else [1, 2]
        shape = [self.values.shape[axis] for axis in kept]
        spacing = None if self.spacing_mm is None else tuple(self.spacing_mm[axis] for axis in kept)
        return self.values.reshape(shape), spacing

    def __str__(self) -> str:
        """Its sides, and where it is known, its place in the patient."""
        depth, height, width = self.values.shape
        sides = f"{height}x{width}" if depth == 1 else f"{depth}x{height}x{width}"
        if self.grid is None:
            return sides
        first = ", ".join(f"{place:.{_SHOWN_DIGITS}g}" for place in self.grid.affine[:3, 3])
        return f"{depth} slices of {self.grid}, the first voxel at ({first}) mm"


def read_labels(data: bytes) -> LabelMap:
    """Read a file of class values.

    Args:
        data: NIfTI, DICOM segmentation, PNG, TIFF with one page or several, DICOM image, or NPY with the axes
            (row, column) or (slice, row, column).

    Raises:
        DecodeError: If it is no such file.
        UnfitError: If it holds colours, fractions, or numbers that are no values of classes.
    """
    segmentation = read_segmentation(data, budget=SEGMENTATION_BUDGET)
    if segmentation is not None:
        grid = segmentation.grid
        return LabelMap(segmentation.values, grid, grid.spacing_mm[::-1], partial=True)
    volume = read_volume(data, budget=FILE_BUDGET) or read_frames(data, budget=FILE_BUDGET)
    if volume is not None:
        return _of_volume(volume)
    if sniff(data) == "npy" and (array := read_array(data)).ndim == 3 and array.shape[2] > _MOST_CHANNELS:
        return LabelMap(_whole(array))
    pages = inspect(data, budget=FILE_BUDGET).pages
    images = [decode(data, page=page, budget=FILE_BUDGET) for page in (range(pages) if pages > 1 else (None,))]
    if len({image.pixels.shape[:2] for image in images}) > 1:
        raise UnfitError("size", "its pages differ in size; expected slices of one volume")
    values = np.stack([_whole(value_plane(image)) for image in images])
    return LabelMap(values, images[0].grid, _image_spacing(images[0])) if pages == 1 else LabelMap(values)


def on_one_grid(truth: LabelMap, predicted: LabelMap) -> tuple[LabelMap, LabelMap]:
    """Return true and predicted classes in one order: voxels are moved by their place in the patient.

    That is the order of the truth, unless only the prediction is whole.

    Raises:
        UnfitError: If they lie on different grids, naming both, or if one of two volumes does not say where it lies.
    """
    if predicted.grid is None or truth.grid is None:
        return truth, _as_stored(predicted, truth)
    if not truth.partial and not predicted.partial:
        return truth, _moved(predicted, truth.grid, truth, predicted)
    grid = predicted.grid if truth.partial and not predicted.partial else truth.grid
    if truth.partial and predicted.partial:
        grid = reaching(truth.grid, predicted.grid)
    return _moved(truth, grid, truth, predicted), _moved(predicted, grid, truth, predicted)


def _moved(labels: LabelMap, onto: Grid, truth: LabelMap, predicted: LabelMap) -> LabelMap:
    if labels.grid is None:
        raise ValueError("labels without a place were moved")
    move = painted_on if labels.partial else brought_to
    moved = move(labels.values, labels.grid, onto)
    if moved is None:
        raise UnfitError(
            "grid",
            f"it lies on another grid than its prediction: {truth}; its prediction {predicted}. Resample one of them "
            "to the other first, labels by the nearest voxel",
        )
    known = truth.spacing_mm is not None and predicted.spacing_mm is not None
    return LabelMap(moved, onto, onto.spacing_mm[::-1] if known else None)


def _as_stored(predicted: LabelMap, truth: LabelMap) -> LabelMap:
    if predicted.values.shape != truth.values.shape:
        raise UnfitError("size", f"{truth}, its prediction {predicted}")
    one_is_placed = (predicted.grid is None) != (truth.grid is None)
    if one_is_placed and len(truth.values) > 1:
        which = "the prediction" if predicted.grid is None else "the truth"
        raise UnfitError(
            "grid", f"{which} does not say where its voxels lie in the patient and the other does; write it as NIfTI"
        )
    return replace(predicted, spacing_mm=truth.spacing_mm or predicted.spacing_mm)


def _of_volume(volume: Volume) -> LabelMap:
    return LabelMap(_whole(volume.voxels), known_grid(volume), known_spacing(volume))


def _image_spacing(image: Image) -> tuple[float, float, float] | None:
    return None if image.spacing_mm is None else (1.0, *image.spacing_mm)


def _whole(values: NDArray[Any]) -> Values:
    """Whole numbers from 0 to ``LARGEST``, whatever type they are stored in."""
    if not 0 <= values.min() <= values.max() <= LARGEST:  # NaN compares as false
        raise UnfitError("values", f"numbers below 0 or above {LARGEST}; expected class values")
    whole = values.astype(np.uint16)
    if (whole != values).any():
        raise UnfitError("values", "fractions; expected class values")
    return whole
