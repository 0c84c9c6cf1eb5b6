"""By how much the headlines of one network exceed those of another on the same images, with intervals.

Each is a mean or a ratio of sums over cases, so the difference is one too, of the differences case by case.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.evaluation.masks.summary import patient_table
from medloom.metrics import Estimate, bootstrap_mean, bootstrap_ratio

__all__ = ["paired_differences"]

_KEYS = ["sample_id", "class"]


def paired_differences(ours: pd.DataFrame, theirs: pd.DataFrame, resamples: int) -> dict[str, dict[str, Any]]:
    """Return ours minus theirs for each headline, over the same resamples of the patients.

    Args:
        ours: Rows of the per-case table, of one split.
        theirs: Rows of the same cases by another network.
        resamples: Resamples of the patients; 0 gives no intervals.

    Raises:
        ValueError: If the cases are not the same.
    """
    ours, theirs = (table.sort_values(_KEYS).reset_index(drop=True) for table in (ours, theirs))
    if not ours[_KEYS].equals(theirs[_KEYS]):
        raise ValueError("expected two tables of the same cases")
    our_people, their_people = patient_table(ours), patient_table(theirs)
    found = {
        "dice_foreground": _mean_of(ours, theirs, "dice", resamples, foreground=True),
        "false_positive_rate": _mean_of(ours, theirs, "false_positive", resamples),
        "patient_dice_foreground": _mean_of(our_people, their_people, "dice", resamples, foreground=True),
        "region_sensitivity": bootstrap_ratio(
            ours["regions_found"] - theirs["regions_found"], ours["regions"], ours["patient_id"], resamples
        ),
    }
    return {name: estimate.plain() for name, estimate in found.items()}


def _mean_of(
    ours: pd.DataFrame, theirs: pd.DataFrame, column: str, resamples: int, *, foreground: bool = False
) -> Estimate:
    apart: NDArray[np.float64] = ours[column].to_numpy(float) - theirs[column].to_numpy(float)
    if foreground:
        apart = np.where(ours["truth_px"] > 0, apart, np.nan)
    return bootstrap_mean(apart, ours["patient_id"], resamples)
