"""Cross-validation inside the training and validation patients: the test patients stay what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from medloom.data.splits.assign import divide
from medloom.data.splits.rule import SplitRule

__all__ = ["validation_folds"]

_LEARNED = ("train", "validation")


def validation_folds(
    catalogue: pd.DataFrame, rule: SplitRule, count: int, strata: Sequence[str] | None = None
) -> list[pd.DataFrame]:
    """Return a catalogue for each fold, in which that fold validates and all others of training and validation train.

    Args:
        catalogue: With its split.
        rule: By what samples are divided, whether they are stratified, and the seed.
        count: How many folds there are.
        strata: What each sample is balanced by; None: whether it has foreground.

    Raises:
        DataError: If there are fewer patients than folds.

    Example:
        >>> names = {"sample_id": list("abc"), "patient_id": ["P1", "P2", "P3"], "foreground_px": [0, 0, 9]}
        >>> frame = pd.DataFrame({**names, "split": ["train", "validation", "test"]})
        >>> [sorted(fold["split"]) for fold in validation_folds(frame, SplitRule(), 2)]
        [['test', 'train', 'validation'], ['test', 'train', 'validation']]
    """
    known = catalogue if strata is None else catalogue.assign(stratum=list(strata))
    learned = catalogue["split"].isin(_LEARNED).to_numpy()
    parts = np.full(len(catalogue), -1, dtype=np.int64)
    parts[learned] = divide(known[learned], replace(rule, folds=None), np.full(count, 1 / count))
    given = catalogue["split"].to_numpy(dtype=object)
    names = (np.where(learned, np.where(parts == fold, "validation", "train"), given) for fold in range(count))
    return [catalogue.assign(split=split.astype(str)) for split in names]
