"""What a deployed model answered to samples of the catalogue, measured as the answers of the network itself are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from medloom.evaluation.driver import write_measured
from medloom.evaluation.family import Choice, Facts
from medloom.evaluation.gallery import write_gallery
from medloom.evaluation.kinds import KINDS
from medloom.evaluation.parts import Part
from medloom.evaluation.reading import Answer, Reading
from medloom.inference import Prediction

__all__ = ["Told", "measure_told", "measure_untold"]

_POINT = "Said by the model that answered."


@dataclass(frozen=True, eq=False)
class Told(Reading):
    """Reads samples; what was answered elsewhere stands where the network would be run.

    Args:
        answered: Gives the answer to a sample by its pseudonym.
    """

    answered: Callable[[str], Prediction] | None = None

    def answers(self, rows: pd.DataFrame) -> Iterator[Answer]:
        """Yield what was answered to each row, in this order; see ``Reading.answers``."""
        if self.answered is None:
            raise ValueError("nothing was answered elsewhere")
        for sample in self.samples(rows):
            told = self.answered(str(sample.row["sample_id"]))
            yield Answer(sample.row, sample.prepared, told.probabilities, told)


def measure_told(reading: Told, rows: pd.DataFrame, folder: Path, *, part: Part, over: str) -> Facts:
    """Measure what was answered elsewhere, at the operating point that the answers name, and draw the worst cases.

    Writes what an evaluation writes but for the operating point: ``cases.csv``, ``summary.json`` and the gallery.

    Args:
        reading: Reads samples and has the answers; at least one.
        rows: The rows of the catalogue that were answered, of one part.
        folder: Where to write.
        part: Which part they are of.
        over: What the intervals are over.

    Returns:
        The summary, as in ``summary.json``.
    """
    recipe, target = reading.recipe, reading.predictor.target
    if reading.answered is None:
        raise ValueError("nothing was answered elsewhere")
    family, first = KINDS[target.kind](target), reading.answered(str(rows.iloc[0]["sample_id"]))
    choice = family.fixed(first.point.plain(), _POINT)
    reading = replace(reading, predictor=replace(reading.predictor, calibration=None))
    table = family.measure_at(recipe, reading, rows, choice)
    summary = family.summary(table, choice, recipe.evaluate.bootstrap, over, part)
    write_measured(folder, family, table, summary)
    write_gallery(folder, family.gallery(recipe, reading, rows, table, None, part))
    return summary


def measure_untold(reading: Reading, rows: pd.DataFrame, choice: Choice, *, part: Part, over: str) -> Facts:
    """Return the summary of what the network itself says to the same rows; nothing is written.

    Args:
        reading: Reads samples and runs the network, which is not calibrated.
        rows: The rows.
        choice: The calibration and the operating point.
        part: Which part they are of.
        over: What the intervals are over.
    """
    recipe, target = reading.recipe, reading.predictor.target
    family = KINDS[target.kind](target)
    table = family.measure_at(recipe, reading, rows, choice)
    return family.summary(table, choice, recipe.evaluate.bootstrap, over, part)
