"""Growing shares of the training patients, each within the next: what a learning curve is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medloom.data.splits.assign import strata_labels
from medloom.data.splits.rule import SplitRule
from medloom.errors import DataError
from medloom.wording import counted

__all__ = ["training_shares"]


def training_shares(
    catalogue: pd.DataFrame, rule: SplitRule, shares: Sequence[float], strata: Sequence[str] | None = None
) -> list[pd.DataFrame]:
    """Return the catalogue with a share of its training patients, for each share; validation and test stay whole.

    The patients are put into one order, at random by the rule's seed and with each stratum evenly spread over it, and a
    share is so many from its beginning. So every share lies within the next larger one; and where there are no more
    strata than patients in the smallest one, each has all of them.

    Args:
        catalogue: With its split.
        rule: By what samples are divided, whether they are stratified, and the seed.
        shares: Of the training patients, each above 0, at most 1, rising.
        strata: What each sample is balanced by; None: whether it has foreground.

    Returns:
        A catalogue for each share, without the training samples that are left out.

    Raises:
        DataError: If a share is less than one patient.

    Example:
        >>> names = {"sample_id": list("abcdef"), "patient_id": list("ABCDEF"), "foreground_px": [0, 9, 0, 9, 0, 9]}
        >>> frame = pd.DataFrame({**names, "split": ["train"] * 4 + ["validation", "test"]})
        >>> [len(one) for one in training_shares(frame, SplitRule(), [0.5, 1.0])]
        [4, 6]
    """
    known = catalogue if strata is None else catalogue.assign(stratum=list(strata))
    train, unit = known["split"] == "train", "sample_id" if rule.by == "sample" else "patient_id"
    whole = int(known.loc[train, unit].nunique())
    counts = [round(share * whole) for share in shares]
    if counts[0] < 1:
        what = counted(whole, f"training {rule.by}")
        raise DataError(f"a share of {shares[0]:g} of {what} is none; take larger shares")
    order = _ordered(known[train], unit, rule, counts[0])
    return [catalogue[~train | known[unit].isin(order[:count])].reset_index(drop=True) for count in counts]


def _ordered(pool: pd.DataFrame, unit: str, rule: SplitRule, fewest: int) -> list[str]:
    """Patients in the order in which they come in; each stratum evenly spread over it."""
    rng = np.random.default_rng(rule.seed)
    names = rng.permutation(np.unique(pool[unit].astype(str)))
    strata = _strata(pool, unit) if rule.stratify else dict.fromkeys(names, "")
    sizes = {stratum: sum(strata[name] == stratum for name in names) for stratum in set(strata.values())}
    first = 0.0 if len(sizes) <= fewest else 1.0  # else those of few patients would come before all others
    seen, places = dict.fromkeys(sizes, 0), {}
    for name in names:
        stratum = strata[name]
        places[name] = (seen[stratum] + first * rng.random()) / sizes[stratum]
        seen[stratum] += 1
    return sorted(places, key=lambda name: places[name])


def _strata(pool: pd.DataFrame, unit: str) -> dict[str, str]:
    """The stratum of each patient: of those that its samples are of, the one that fewest samples have."""
    labels = strata_labels(pool)
    often = labels.value_counts()
    rarest: dict[str, str] = {}
    for name, label in zip(pool[unit].astype(str), labels, strict=True):
        if name not in rarest or (often[label], label) < (often[rarest[name]], rarest[name]):
            rarest[name] = label
    return rarest
