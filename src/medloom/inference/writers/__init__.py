"""Predictions of many files as files: one writer for each family of answers, chosen through ``KINDS``."""

from __future__ import annotations

from collections.abc import Iterable

from medloom.errors import UserError
from medloom.inference.writers.base import (
    FOR_ONE_FILE,
    TABLE,
    Answered,
    Asked,
    FileResult,
    Outcome,
    Summary,
    Tally,
    Writer,
)
from medloom.inference.writers.forms import FormFiles, check_forms
from medloom.inference.writers.labels import LabelWriter
from medloom.inference.writers.masks import MaskWriter
from medloom.registry import UNCERTAINTIES, check_name, names_for
from medloom.targets import Target

__all__ = [
    "FOR_ONE_FILE",
    "KINDS",
    "TABLE",
    "Answered",
    "Asked",
    "FileResult",
    "FormFiles",
    "Outcome",
    "Summary",
    "Tally",
    "Writer",
    "check_forms",
    "check_uncertainty",
    "summary",
]

KINDS: dict[str, Writer] = {
    "masks": MaskWriter(),
    "binary": LabelWriter("probability"),
    "multi-class": LabelWriter("probability"),
    "multi-label": LabelWriter("probability"),
    "regression": LabelWriter("value"),
}
"""What writes the predictions of each kind."""


def check_uncertainty(uncertainty: str, target: Target) -> None:
    """Refuse an uncertainty of each pixel that there is none of.

    Args:
        uncertainty: A name of ``medloom.registry.UNCERTAINTIES``; empty for none.
        target: What is predicted.

    Raises:
        UserError: If there is no such uncertainty, or the answer is no mask.
    """
    if not uncertainty:
        return
    measures = names_for(UNCERTAINTIES, target.kind)
    if not measures:
        raise UserError(
            "an uncertainty of each pixel is there for masks alone; of labels `expected` and `review` in the table "
            "say how sure an answer is, where the bundle knows"
        )
    check_name("uncertainty", uncertainty, measures)


def summary(target: Target, results: Iterable[FileResult]) -> Summary:
    """Return what was found in all images together.

    Args:
        target: What was predicted.
        results: What came of them.
    """
    tally = Tally()
    for result in results:
        tally.add(result)
    return KINDS[target.kind].summary(target, tally)
