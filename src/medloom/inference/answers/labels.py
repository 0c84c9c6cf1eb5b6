"""Labels of the whole image: one of two classes, one of several, any of several labels, or numbers.

Shapes: N images, K outputs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from medloom.imaging import Volume
from medloom.inference.answers.base import (
    DIGITS,
    JSON,
    PROBABILITIES,
    Difference,
    Kinded,
    Point,
    Prediction,
    Rating,
    check_keys,
    compare_probabilities,
    is_share,
    npy_bytes,
    place_said,
    remarks,
)
from medloom.inference.answers.certainty import (
    OF_CLASSES,
    OF_LABELS,
    OF_TWO,
    class_certainty,
    label_certainty,
    two_class_certainty,
)
from medloom.inference.metadata import MetadataGaps
from medloom.inference.novelty import Novelty
from medloom.inference.prepared import Prepared
from medloom.inference.views import View
from medloom.targets import Target
from medloom.transforms.preprocess import Preprocess

__all__ = [
    "BINARY",
    "MULTI_CLASS",
    "MULTI_LABEL",
    "REGRESSION",
    "LabelAnswer",
    "LabelAnswers",
    "LabelPoint",
    "LabelPrediction",
    "LabelVolumePrediction",
]

Floats32 = NDArray[np.float32]

_EVEN = 0.5


@dataclass(frozen=True)
class LabelPoint(Kinded):
    """Where a probability becomes a decision.

    Args:
        thresholds: Probability from which the positive class, or each label, is decided, 0..1; empty for several
            classes, of which the likeliest is taken, and for numbers.

    Raises:
        ValueError: If one does not lie between 0 and 1.
    """

    thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for threshold in self.thresholds:
            if not 0.0 <= threshold <= 1.0:
                raise ValueError(f"a threshold is {threshold}; it must lie between 0 and 1")

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"thresholds": list(self.thresholds)}


class LabelAnswer(Kinded):
    """What the labels of an image and those of a volume have in common.

    ``volume`` is whether they are those of a volume.
    """

    volume: ClassVar[bool]

    @property
    def axis(self) -> int:
        """Axis of the volume's voxels along which it was cut; 0 for the slices as they are stored, and for an image."""
        return 0

    @property
    def images(self) -> tuple[LabelPrediction, ...]:
        """What the model says about each slice; of an image about itself."""
        raise NotImplementedError


@dataclass(frozen=True)
class LabelPrediction(LabelAnswer):
    """What the model says about one image.

    Args:
        names: Classes or targets in order.
        scores: Probability of each class in 0..1 (of both for two classes), of each label, or the numbers.
        decision: Name of the decided class; names of the labels that are on; empty for numbers.
        point: The thresholds.
        gaps: What the metadata left open; None if the model takes none.
        probabilities: ``(K,)`` float32 as the network gave them.
        says: Gives the JSON of these labels without what is said of metadata.
        warnings: How the image or its metadata are unlike those of the training, a sentence each.
        notes: What decoding did to the image that a careful reader should know, such as turn it.
        quality: How likely the decision is to be right; None where the model cannot say.
        novelty: How far the image is from those of the training; None where the model cannot say.
    """

    names: tuple[str, ...]
    scores: tuple[float, ...]
    decision: tuple[str, ...]
    point: LabelPoint
    gaps: MetadataGaps | None
    probabilities: Floats32 = field(compare=False)
    says: Callable[[LabelPrediction], dict[str, Any]] = field(compare=False, repr=False)
    forms: ClassVar[tuple[str, ...]] = (JSON,)
    volume: ClassVar[bool] = False
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    quality: Rating | None = None
    novelty: Novelty | None = None

    def placed(self, novelty: Novelty) -> Self:
        """Return it with how far the image is from those of the training, and a warning if that is far."""
        return replace(self, novelty=novelty, warnings=(*self.warnings, *novelty.warnings))

    def rated(self, rating: Rating) -> Self:
        """Return it with how likely its decision is to be right."""
        return replace(self, quality=rating)

    @property
    def images(self) -> tuple[LabelPrediction, ...]:
        """Itself alone."""
        return (self,)

    @property
    def by_name(self) -> dict[str, float]:
        """Score of each class, label or target, to six digits behind the point."""
        return {name: round(score, DIGITS) for name, score in zip(self.names, self.scores, strict=True)}

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types.

        Of a model that takes metadata they say as well which columns were ``missing`` (left out or blank), which had a
        category ``unknown`` to it and which a number ``outside`` what training saw. ``warnings`` are there where an
        image or its metadata are unlike those of the training, ``notes`` where decoding did more than read the pixels.
        """
        metadata = {} if self.gaps is None else {"metadata": self.gaps.plain()}
        quality = {} if self.quality is None else {"quality": self.quality.plain()}
        said = {**place_said(self.novelty), **remarks(self.notes, self.warnings)}
        return {**self.says(self), **metadata, **quality, **said}

    def encode(self, form: str = JSON, **more: object) -> bytes:
        """Return JSON.

        Args:
            form: ``application/json``; there is no other.
            more: Further keys.

        Raises:
            ValueError: For another form.
        """
        return _json(self.plain(), form, more)

    def golden(self) -> dict[str, bytes]:
        """Return what the network gave, by file name."""
        return {PROBABILITIES: npy_bytes(self.probabilities)}

    def difference(self, golden: Mapping[str, bytes], tolerance: float) -> Difference:
        """Compare it with what ``golden`` returned earlier.

        Raises:
            VerifyError: If it differs by more than ``tolerance``.
        """
        return Difference(compare_probabilities(self.probabilities, golden, tolerance))


@dataclass(frozen=True)
class LabelVolumePrediction(LabelAnswer):
    """What the model says about each slice of one volume.

    Args:
        slices: The predictions, in the order of the slices.
        axis: Axis of the volume's voxels along which they were cut; 0 for the slices as they are stored.
    """

    slices: tuple[LabelPrediction, ...]
    axis: int = 0
    forms: ClassVar[tuple[str, ...]] = (JSON,)
    volume: ClassVar[bool] = True

    @property
    def images(self) -> tuple[LabelPrediction, ...]:
        """What the model says about each slice."""
        return self.slices

    @property
    def novelties(self) -> tuple[Novelty, ...]:
        """How far each slice is from those of the training; empty where the model cannot say."""
        return tuple(one.novelty for one in self.slices if one.novelty is not None)

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types: what there is of an image, for each slice; ``axis`` where it is not the first."""
        axis = {"axis": self.axis} if self.axis else {}
        return {"slices": [one.plain() for one in self.slices], **axis}

    def encode(self, form: str = JSON, **more: object) -> bytes:
        """Return JSON.

        Args:
            form: ``application/json``; there is no other.
            more: Further keys.

        Raises:
            ValueError: For another form.
        """
        return _json(self.plain(), form, more)


Scores = Sequence[float]
Names = tuple[str, ...]


@dataclass(frozen=True)
class LabelAnswers:
    """How labels of one kind are made.

    Args:
        thresholds: From the number of names to the number of thresholds.
        decide: From names, scores and thresholds to the names that are decided.
        says: See ``LabelPrediction``.
        rule: What ``scores`` and ``decide`` do, in words.
        scores: From what the network gave to a score for each name.
        certain_by: What the numbers are called that say how sure an answer is; empty where nothing does.
        sure: From what the network gave, calibrated, and the thresholds to these numbers.
    """

    thresholds: Callable[[int], int]
    decide: Callable[[Names, Scores, Scores], Names]
    says: Callable[[LabelPrediction], dict[str, Any]]
    rule: Mapping[str, str]
    scores: Callable[[Scores], Scores] = tuple
    forms: tuple[str, ...] = LabelPrediction.forms
    volume_forms: tuple[str, ...] = LabelVolumePrediction.forms
    golden: tuple[str, ...] = (PROBABILITIES,)
    certain_by: tuple[str, ...] = ()
    sure: Callable[[Scores, Scores], tuple[float, ...]] = lambda scores, thresholds: ()

    @property
    def expects(self) -> str:
        """How likely the decision is to be right, where there is one."""
        return "correct" if self.certain_by else ""

    def certainty(self, answer: Floats32, point: Point) -> tuple[float, ...]:
        """Return how sure an answer is.

        Args:
            answer: ``(K,)`` float32.
            point: The operating point.
        """
        return self.sure([float(score) for score in answer], LabelPoint.of(point).thresholds)

    def at_least(self, preprocess: Preprocess) -> tuple[int, int] | None:
        """Return the same as for training: nothing is drawn on the image."""
        return preprocess.at_least

    def shape(self, batch: tuple[int, ...], outputs: int) -> tuple[int, ...]:
        """Return ``(N, K)``."""
        return batch[0], outputs

    def default_point(self, target: Target) -> LabelPoint:
        """Return thresholds of 0.5."""
        return LabelPoint((_EVEN,) * self.thresholds(len(target.names)))

    def point_from_plain(self, plain: Mapping[str, Any], target: Target) -> LabelPoint:
        """Take back what ``LabelPoint.plain`` returned.

        Raises:
            ValueError: If it is no such value, or the number of thresholds does not fit the target.
        """
        check_keys(plain, "thresholds")
        given, wanted = plain["thresholds"], self.thresholds(len(target.names))
        if not isinstance(given, (list, tuple)) or not all(map(is_share, given)):
            raise ValueError(f"thresholds are {given!r}; expected a list of numbers between 0 and 1")
        if len(given) != wanted:
            raise ValueError(f"{len(given)} thresholds for {target.kind}; expected {wanted}")
        return LabelPoint(tuple(map(float, given)))

    def steps(self, target: Target, point: Point) -> dict[str, Any]:
        """Return the rule in words and numbers."""
        return {"mean": "over the views", **self.rule, "digits": DIGITS}

    def mean(self, seen: Iterable[tuple[View, Floats32]]) -> Floats32:
        """Return the mean over the views."""
        total: Floats32 | np.float32 = np.float32(0.0)
        count = 0
        for _, answer in seen:
            total, count = total + answer, count + 1
        return np.asarray(total / np.float32(count), np.float32)

    def finish(
        self, answer: Floats32, prepared: Prepared, *, target: Target, point: Point, preprocess: Preprocess
    ) -> LabelPrediction:
        """Decide by the thresholds.

        Args:
            answer: ``(K,)`` float32.
            prepared: The image it belongs to, with what its metadata left open.
            target: Whose names are the classes or targets.
            point: The operating point.
            preprocess: Not needed here.
        """
        chosen = LabelPoint.of(point)
        scores = tuple(self.scores([float(score) for score in answer]))
        decision = self.decide(target.names, scores, chosen.thresholds)
        gaps, warnings = prepared.gaps, prepared.warnings
        notes = prepared.image.notes
        return LabelPrediction(target.names, scores, decision, chosen, gaps, answer, self.says, warnings, notes)

    def gather(
        self, volume: Volume, slices: Iterable[Prediction], *, axis: int, target: Target, point: Point
    ) -> LabelVolumePrediction:
        """Return the labels of every slice."""
        return LabelVolumePrediction(tuple(map(LabelPrediction.of, slices)), axis)


def _json(plain: dict[str, Any], form: str, more: Mapping[str, object]) -> bytes:
    if form != JSON:
        raise ValueError(f"labels cannot be encoded as {form}; expected {JSON}")
    return json.dumps({**plain, **more}, allow_nan=False).encode()


def _none(names: int) -> int:
    return 0


def _one(names: int) -> int:
    return 1


def _each(names: int) -> int:
    return names


def _both(scores: Scores) -> Scores:
    return (1.0 - scores[0], scores[0])


def _second_from_threshold(names: Names, scores: Scores, thresholds: Scores) -> Names:
    return (names[int(scores[1] >= thresholds[0])],)


def _likeliest(names: Names, scores: Scores, thresholds: Scores) -> Names:
    return (names[int(np.argmax(scores))],)


def _all_from_threshold(names: Names, scores: Scores, thresholds: Scores) -> Names:
    rows = zip(names, scores, thresholds, strict=True)
    return tuple(name for name, score, limit in rows if score >= limit)


def _nothing(names: Names, scores: Scores, thresholds: Scores) -> Names:
    return ()


def _one_class(prediction: LabelPrediction) -> dict[str, Any]:
    return _decided(prediction, prediction.decision[0])


def _several_labels(prediction: LabelPrediction) -> dict[str, Any]:
    return _decided(prediction, list(prediction.decision))


def _numbers(prediction: LabelPrediction) -> dict[str, Any]:
    return {"values": prediction.by_name}


def _decided(prediction: LabelPrediction, decision: str | list[str]) -> dict[str, Any]:
    return {
        "probabilities": prediction.by_name,
        "decision": decision,
        "operating_point": prediction.point.plain(),
        "classes": list(prediction.names),
    }


_AS_GIVEN = "p[k]"

BINARY = LabelAnswers(
    _one,
    _second_from_threshold,
    _one_class,
    {"scores": "1 - p[0], p[0]", "decision": "the second class where scores[1] >= thresholds[0]"},
    _both,
    certain_by=OF_TWO,
    sure=lambda scores, thresholds: two_class_certainty(scores, thresholds[0]),
)
MULTI_CLASS = LabelAnswers(
    _none,
    _likeliest,
    _one_class,
    {"scores": _AS_GIVEN, "decision": "the largest score, the first of equals"},
    certain_by=OF_CLASSES,
    sure=lambda scores, thresholds: class_certainty(scores),
)
MULTI_LABEL = LabelAnswers(
    _each,
    _all_from_threshold,
    _several_labels,
    {"scores": _AS_GIVEN, "decision": "each label k where scores[k] >= thresholds[k]"},
    certain_by=OF_LABELS,
    sure=label_certainty,
)
REGRESSION = LabelAnswers(_none, _nothing, _numbers, {"scores": _AS_GIVEN, "decision": "none"})
