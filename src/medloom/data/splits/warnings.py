"""What a report must say about a split."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from medloom.data.splits.given import SPLITS
from medloom.data.splits.rule import SplitRule
from medloom.wording import counted

__all__ = ["FEWEST_PATIENTS", "few_patients", "share_warnings", "split_warnings"]

FEWEST_PATIENTS = 5
"""Of a class in a part; with fewer, metrics on it say little."""

_FAR = 0.25
"""A part may be as far from its share of samples, relative to it, before that is said."""


def split_warnings(rule: SplitRule) -> list[str]:
    """Return what the report must say about a rule, whatever is predicted.

    Args:
        rule: How the samples were divided.

    Returns:
        One sentence for each concern; empty when there is none.
    """
    if rule.given or rule.by == "patient":
        return []
    return [
        "The split is by sample, not by patient: samples of one patient may be in training and in test, "
        "and the metrics are then too good."
    ]


def share_warnings(catalogue: pd.DataFrame, rule: SplitRule) -> list[str]:
    """Return a sentence if a part is far from the share of samples that the rule wants for it, with the reason.

    Args:
        catalogue: With ``split`` and ``patient_id``.
        rule: How the samples were divided; a split that was given or published wants no shares.
    """
    if rule.given:
        return []
    wanted = rule.wanted
    counts = catalogue["split"].value_counts().reindex(list(SPLITS), fill_value=0)
    shares = counts / max(int(counts.sum()), 1)
    if all(abs(share - want) <= _FAR * want for share, want in zip(shares, wanted, strict=True)):
        return []
    parts = ", ".join(
        f"{split} {share:.0%} ({want:.0%})" for split, share, want in zip(SPLITS, shares, wanted, strict=True)
    )
    largest = int(catalogue["patient_id"].value_counts().max())
    why = f"Patients are not divided, and the largest has {largest:,} of {counted(len(catalogue), 'sample')}."
    return [f"The parts have other shares of the samples than wanted: {parts}.{f' {why}' if largest > 1 else ''}"]


def few_patients(split: str, counts: Mapping[str, int], one: str = "patient") -> list[str]:
    """Return a sentence for each label that no patient of a part has, and one for those that few have.

    Args:
        split: The part.
        counts: How many patients have each label.
        one: What is counted: ``image`` where no patient is known.

    Example:
        >>> few_patients("test", {"sick": 0, "well": 31})
        ['No patient in test has the label sick: metrics on it say nothing there.']
        >>> few_patients("test", {"sick": 1, "pale": 3})
        ['Fewer than 5 patients in test have the labels sick (1), pale (3): metrics on them say little there.']
    """
    said = [
        f"No {one} in {split} has the label {name}: metrics on it say nothing there."
        for name, count in counts.items()
        if count == 0
    ]
    few = [f"{name} ({count})" for name, count in counts.items() if 0 < count < FEWEST_PATIENTS]
    if few:
        label, them = ("label", "it") if len(few) == 1 else ("labels", "them")
        said.append(
            f"Fewer than {FEWEST_PATIENTS} {one}s in {split} have the {label} {', '.join(few)}: metrics on {them} "
            "say little there."
        )
    return said
