"""What the network gives becomes an answer: one file for each family of kinds, chosen through ``KINDS``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medloom.inference.answers.base import (
    GZIP,
    JSON,
    NIFTI,
    NPY,
    PNG,
    Answers,
    Difference,
    Point,
    Prediction,
    VolumeAnswer,
)
from medloom.inference.answers.labels import BINARY, MULTI_CLASS, MULTI_LABEL, REGRESSION
from medloom.inference.answers.masks import MaskAnswers
from medloom.targets import Target

__all__ = [
    "GZIP",
    "JSON",
    "KINDS",
    "NIFTI",
    "NPY",
    "PNG",
    "Answers",
    "Difference",
    "Point",
    "Prediction",
    "VolumeAnswer",
    "default_point",
    "point_from_plain",
]

KINDS: dict[str, Answers] = {
    "masks": MaskAnswers(),
    "binary": BINARY,
    "multi-class": MULTI_CLASS,
    "multi-label": MULTI_LABEL,
    "regression": REGRESSION,
}
"""How an answer of each kind is made."""


def default_point(target: Target) -> Point:
    """Return the operating point of a target for which none was chosen."""
    return KINDS[target.kind].default_point(target)


def point_from_plain(plain: Mapping[str, Any], target: Target) -> Point:
    """Take back what ``Point.plain`` returned, such as from a bundle.

    Raises:
        ValueError: If it is no operating point of this target.
    """
    return KINDS[target.kind].point_from_plain(plain, target)
