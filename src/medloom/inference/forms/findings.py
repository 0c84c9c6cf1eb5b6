"""A finding as a report states it, whatever kind of answer it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from medloom.inference.answers import Prediction, VolumeAnswer

__all__ = ["Finding", "Reported"]


@dataclass(frozen=True)
class Finding:
    """What is said of one class.

    Args:
        name: Of the class, label or target.
        figures: Numbers by a key of ``codes.FIGURES``.
        present: Whether it was decided to be there; None where nothing is decided.
        segment: Number of its segment, for masks.
        plane: Number of the one slice that it is about, from 0; None for all.
    """

    name: str
    figures: Mapping[str, float]
    present: bool | None = None
    segment: int | None = None
    plane: int | None = None


@dataclass(frozen=True)
class Reported:
    """How a report speaks of one family of answers.

    Args:
        findings: From an answer to what is said of each class.
        slices: From an answer to how many images it is to; None where it is to none as it was taken, because the model
            looks along another plane.
    """

    findings: Callable[[Prediction | VolumeAnswer], list[Finding]]
    slices: Callable[[Prediction | VolumeAnswer], int | None]
