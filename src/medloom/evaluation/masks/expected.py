"""How good masks are to be expected, beside how good they were."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from medloom.evaluation.quality import BAD_DICE, EXPECTED, Achieved, Rated, fit_quality, review_facts
from medloom.inference.answers.certainty import OF_MASKS

__all__ = ["achieved_dice", "learned", "review_of", "with_expected"]

Certainty = Mapping[str, tuple[float, ...]]
"""How sure the prediction of each sample is."""

_MEASURE = "dice"


def achieved_dice(table: pd.DataFrame) -> Achieved:
    """Return how good the mask of each image was: its Dice coefficient, of several classes their mean.

    Args:
        table: Rows of ``cases.csv``; an empty image that was left empty counts 1.
    """
    images = table.groupby("sample_id", sort=False).agg(dice=("dice", "mean"), patient=("patient_id", "first"))
    dice = images["dice"].to_numpy(float)
    return Achieved(dice, dice < BAD_DICE, images["patient"].to_numpy(), f"Dice below {BAD_DICE:g}")


def learned(table: pd.DataFrame, certainty: Certainty) -> Rated:
    """Learn on the validation images how good a mask is to be expected.

    Args:
        table: Rows of ``cases.csv``.
        certainty: Of each sample.
    """
    cases = table[table["split"] == "validation"]
    numbers = [certainty[str(sample)] for sample in cases["sample_id"].unique()]
    return fit_quality(_MEASURE, OF_MASKS, np.array(numbers, float), achieved_dice(cases))


def with_expected(table: pd.DataFrame, certainty: Certainty, rated: Rated) -> pd.DataFrame:
    """Return the table with the column ``expected``; as it is where nothing says it."""
    if rated.quality is None:
        return table
    expected = {sample: rated.quality.expected(numbers) for sample, numbers in certainty.items()}
    return table.assign(**{EXPECTED: table["sample_id"].map(expected).astype(float)})


def review_of(table: pd.DataFrame, resamples: int) -> dict[str, object]:
    """Return what a review of the least trusted masks finds; see ``review_facts``.

    Args:
        table: Rows of ``cases.csv``, of one split.
        resamples: Resamples of the patients.
    """
    if EXPECTED not in table:
        return {}
    expected = table.groupby("sample_id", sort=False)[EXPECTED].first().to_numpy(float)
    return review_facts(table, achieved_dice(table), expected, resamples)
