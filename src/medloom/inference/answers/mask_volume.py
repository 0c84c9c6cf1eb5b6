"""A mask for a whole volume, in that volume's own geometry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medloom.imaging import Volume
from medloom.imaging.grids import known_spacing
from medloom.imaging.nifti import write_nifti
from medloom.inference.answers.base import DIGITS, GZIP, JSON, NIFTI, Point, Rating, places_said, remarks
from medloom.inference.answers.figures import ClassFigures, MaskAnswer, figures, measure
from medloom.inference.novelty import Novelty
from medloom.targets import Target

__all__ = ["VolumePrediction", "voxel_ml"]

_MM3_PER_ML = 1000.0


@dataclass(frozen=True, eq=False)
class VolumePrediction(MaskAnswer):
    """What the model says about each voxel of one volume, in that volume's own geometry.

    Args:
        target: What is predicted; its names are the classes, the background first.
        mask: ``(D, H, W)`` uint8 class index, 0 = background: slice, row, column, as ``Volume.voxels``;
            ``value_mask`` has the values of the training masks.
        affine: That of the volume: takes ``(column, row, slice, 1)`` to RAS+ millimetres.
        point: What turned probabilities into the mask.
        slice_px: ``(D, C)`` voxels of each class in each slice, the background included.
        probability: Largest foreground probability of any voxel, before small regions are erased.
        probabilities: The same for each foreground class.
        voxel_ml: Volume of a voxel in millilitres, or None if the file does not say how large its voxels are.
        warnings: How slices are unlike the images of the training, a sentence each.
        notes: What decoding did to the volume that a careful reader should know.
        ratings: How good the mask of each slice is to be expected; empty where the model cannot say.
        novelties: How far each slice is from those of the training; empty where the model cannot say.
    """

    target: Target
    mask: NDArray[np.uint8]
    affine: NDArray[np.float64]
    point: Point
    slice_px: NDArray[np.int64]
    probability: float
    probabilities: NDArray[np.float64]
    voxel_ml: float | None = None
    forms: ClassVar[tuple[str, ...]] = (JSON, NIFTI, GZIP)
    unit: ClassVar[str] = "voxels"
    volume: ClassVar[bool] = True
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    ratings: tuple[Rating, ...] = ()
    novelties: tuple[Novelty, ...] = ()

    @cached_property
    def by_class(self) -> dict[str, ClassFigures]:
        """Voxels, volume and largest probability of each foreground class, by its name."""
        return figures(self.target, self.slice_px.sum(axis=0), self.probabilities, voxel_ml=self.voxel_ml)

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

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types: the figures of each class, and how many voxels of it each slice has."""
        depth, height, width = self.mask.shape
        return {
            "slices": depth,
            "height": height,
            "width": width,
            "affine": self.affine.tolist(),
            "foreground": self.has_foreground,
            "probability": round(self.probability, DIGITS),
            "area_px": self.area_px,
            "volume_ml": self.volume_ml,
            "voxel_ml": measure(1, self.voxel_ml),
            "masks": [self._class(name, found) for name, found in self.by_class.items()],
            "operating_point": self.point.plain(),
            "classes": list(self.target.names),
            **self._quality(),
            **places_said(self.novelties),
            **remarks(self.notes, self.warnings),
        }

    @property
    def review(self) -> tuple[int, ...]:
        """Slices at which a person is to look, by their number from 0."""
        return tuple(number for number, one in enumerate(self.ratings) if one.review)

    def _quality(self) -> dict[str, Any]:
        if not self.ratings:
            return {}
        measure = self.ratings[0].measure
        expected = [one.expected for one in self.ratings]
        return {"quality": {f"slices_{measure}": expected, "review": bool(self.review), "slices": list(self.review)}}

    def encode(self, form: str = JSON, **more: object) -> bytes:
        """Return JSON, or the mask as NIfTI in the geometry of the volume, with the values of ``value_mask``.

        Args:
            form: ``application/json``, ``application/x-nifti``, or ``application/gzip`` for compressed NIfTI.
            more: Further keys of the JSON.

        Raises:
            ValueError: For another form.
        """
        if form == JSON:
            return json.dumps({**self.plain(), **more}, allow_nan=False).encode()
        if form in (NIFTI, GZIP):
            return write_nifti(self.value_mask, self.affine, compress=form == GZIP)
        raise ValueError(f"the mask of a volume cannot be encoded as {form}; expected {JSON}, {NIFTI} or {GZIP}")

    def _class(self, name: str, found: ClassFigures) -> dict[str, Any]:
        slices = self.slice_px[:, found.index].tolist()
        return {"class": name, **found.plain(), "volume_ml": found.volume_ml, "slices_px": slices}


def voxel_ml(volume: Volume) -> float | None:
    """Return the volume of one voxel in millilitres, or None where the file does not say how large it is."""
    if known_spacing(volume) is None:
        return None
    # the determinant is the volume of one voxel, also where the axes are sheared
    return abs(float(np.linalg.det(volume.affine[:3, :3]))) / _MM3_PER_ML
