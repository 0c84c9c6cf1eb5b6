"""Labels of an image, or of each slice of a volume, from JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.client.ratings import novelty, rating
from medloom.inference.answers import KINDS
from medloom.inference.answers.labels import LabelAnswers, LabelPoint, LabelPrediction, LabelVolumePrediction
from medloom.inference.metadata import MetadataGaps
from medloom.targets import Target

__all__ = ["read"]


def read(
    target: Target, plain: Mapping[str, Any], parts: Mapping[str, NDArray[Any]]
) -> LabelPrediction | LabelVolumePrediction:
    """Return the labels that ``LabelPrediction.plain`` or ``LabelVolumePrediction.plain`` gave.

    Args:
        target: What the model predicts.
        plain: The JSON.
        parts: Not needed.

    Raises:
        KeyError: If something is missing.
        ValueError: If a value is impossible.
        TypeError: If it is of another type.
    """
    if "slices" in plain:
        return LabelVolumePrediction(tuple(_one(target, one) for one in plain["slices"]), int(plain.get("axis", 0)))
    return _one(target, plain)


def _one(target: Target, plain: Mapping[str, Any]) -> LabelPrediction:
    answers = KINDS[target.kind]
    if not isinstance(answers, LabelAnswers):
        raise TypeError(f"{target.kind} are no labels")
    said = plain["probabilities"] if "probabilities" in plain else plain["values"]
    scores = tuple(float(said[name]) for name in target.names)
    decision = plain.get("decision", [])
    return LabelPrediction(
        names=target.names,
        scores=scores,
        decision=(decision,) if isinstance(decision, str) else tuple(decision),
        point=LabelPoint.of(answers.point_from_plain(plain.get("operating_point", {"thresholds": []}), target)),
        gaps=_gaps(plain.get("metadata")),
        probabilities=np.array(scores[-target.outputs :], np.float32),
        says=answers.says,
        warnings=tuple(plain.get("warnings", ())),
        notes=tuple(plain.get("notes", ())),
        quality=rating(plain.get("quality")),
        novelty=novelty(plain.get("out_of_distribution")),
    )


def _gaps(plain: Mapping[str, Any] | None) -> MetadataGaps | None:
    return None if plain is None else MetadataGaps(*(tuple(plain[key]) for key in ("missing", "unknown", "outside")))
