"""What a DICOM object says of a mask: its planes, and the figures of each class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medloom.inference.answers import Prediction, VolumeAnswer
from medloom.inference.answers.figures import ClassFigures, MaskAnswer
from medloom.inference.answers.masks import MaskPoint, MaskPrediction
from medloom.inference.forms.findings import Finding, Reported
from medloom.metrics import label_components

__all__ = ["REPORTED", "planes", "shares"]


def planes(answer: Prediction | VolumeAnswer) -> NDArray[np.uint8]:
    """Return the class of each pixel, ``(D, H, W)``; D is 1 for an image."""
    return MaskAnswer.of(answer).planes


def shares(answer: Prediction | VolumeAnswer) -> NDArray[np.float32]:
    """Return the probability of each foreground class in an image, ``(1, H, W, C)``."""
    found = MaskPrediction.of(answer).probabilities
    foreground = found if len(found) == 1 else found[1:]
    return np.moveaxis(foreground, 0, -1)[None]


def _findings(answer: Prediction | VolumeAnswer) -> list[Finding]:
    """What is measured of each foreground class."""
    found = MaskAnswer.of(answer)
    point = MaskPoint.of(found.point)
    return [
        Finding(
            name,
            _figures(one, found.planes == one.index, found.unit, point.of_class(one.index)),
            one.area_px > 0,
            one.index,
        )
        for name, one in found.by_class.items()
    ]


def _slices(answer: Prediction | VolumeAnswer) -> int | None:
    return len(planes(answer))


def _figures(one: ClassFigures, where: NDArray[np.bool_], unit: str, threshold: float) -> dict[str, float]:
    """What is not known, such as an area without spacing, is left out."""
    sizes = {"area_mm2": one.area_mm2, "volume_ml": one.volume_ml}
    regions = label_components(_cropped(where))[1]
    return {
        **{name: size for name, size in sizes.items() if size is not None},
        unit: one.area_px,
        "regions": regions,
        "probability": one.probability,
        "threshold": threshold,
    }


def _cropped(where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cut out the box that holds all there is: labels of a whole volume would take four times its memory."""
    found = [np.flatnonzero(where.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    if not len(found[0]):
        return where[:0]
    return where[tuple(slice(one[0], one[-1] + 1) for one in found)]


REPORTED = Reported(_findings, _slices)
"""How a report speaks of masks."""
