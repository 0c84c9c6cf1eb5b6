"""What a DICOM report says of labels: the probability of each with its threshold, or the numbers."""

from __future__ import annotations

from medloom.inference.answers import Prediction, VolumeAnswer
from medloom.inference.answers.labels import LabelAnswer, LabelPrediction
from medloom.inference.forms.findings import Finding, Reported

__all__ = ["REPORTED"]


def _findings(answer: Prediction | VolumeAnswer) -> list[Finding]:
    """What is said of each class, label or target; of a volume for each slice, by its number from 0."""
    found = LabelAnswer.of(answer)
    return [
        one for number, image in enumerate(found.images) for one in _of_image(image, number if found.volume else None)
    ]


def _slices(answer: Prediction | VolumeAnswer) -> int | None:
    found = LabelAnswer.of(answer)
    return len(found.images) if found.axis == 0 else None


def _of_image(found: LabelPrediction, plane: int | None) -> list[Finding]:
    decides = bool(found.decision or found.point.thresholds)
    return [
        Finding(
            name,
            {("probability" if decides else "value"): score, **_threshold(found, index)},
            name in found.decision if decides else None,
            plane=plane,
        )
        for index, (name, score) in enumerate(zip(found.names, found.scores, strict=True))
    ]


def _threshold(found: LabelPrediction, index: int) -> dict[str, float]:
    """The threshold of a label; of two classes, that of the second, which is the one that is decided by it."""
    thresholds = found.point.thresholds
    if len(thresholds) == len(found.names):
        return {"threshold": thresholds[index]}
    return {"threshold": thresholds[0]} if len(thresholds) == 1 and index == 1 else {}


REPORTED = Reported(_findings, _slices)
"""How a report speaks of labels."""
