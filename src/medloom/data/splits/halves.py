"""What was held out of all folds, in two: patients by whom something is chosen, and patients who judge it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.data.splits.assign import divide
from medloom.data.splits.rule import SplitRule

__all__ = ["choosing_half"]


def choosing_half(rows: pd.DataFrame, rule: SplitRule) -> NDArray[np.bool_]:
    """Return which samples are of the half that chooses; the others judge.

    Divided as everything else: by patient, stratified where the rule says so, the same for the same rows and seed.

    Args:
        rows: The samples that were held out, as ``split_patients`` takes them.
        rule: How the folds were divided.

    Raises:
        DataError: If there are fewer than two patients.
    """
    chooses: NDArray[np.bool_] = divide(rows, replace(rule, folds=None), np.array([0.5, 0.5])) == 0
    return chooses
