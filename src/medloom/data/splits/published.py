"""A split that the files come in: respected, repaired or ignored."""

from __future__ import annotations

import numpy as np
import pandas as pd

from medloom.data.splits.assign import divide, split_patients
from medloom.data.splits.given import SPLITS
from medloom.data.splits.rule import SplitRule
from medloom.data.splits.warnings import share_warnings
from medloom.errors import DataError
from medloom.wording import counted

__all__ = ["split_as_published"]

_SMALL_VALIDATION = 30


def split_as_published(frame: pd.DataFrame, rule: SplitRule) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Divide samples, with respect for the split that they come in.

    ``respect`` takes it as it is, and draws validation patients from train where none are published. ``repair`` joins
    the published validation part to train and draws validation patients from both, never from test; what the joint
    part holds of patients of the published test part is dropped, so that test stays as it is and no patient is in two
    parts. ``ignore``, a split file, or a set without a split is left to ``split_patients``.

    Args:
        frame: As for ``split_patients``, with the column ``published`` (train, validation, test or empty).
        rule: How to divide, and what the published split is worth.

    Returns:
        The frame with ``split`` and ``fold``; the rows that were dropped; sentences for the report.

    Raises:
        DataError: If a patient is in several published parts and they are to be respected, naming each; if test or
            train is not there; or if folds are wanted of a set that has a test part.
    """
    published = frame["published"]
    if rule.published == "ignore" or rule.given or not (published != "").any():
        divided = split_patients(frame, rule)
        return divided, frame[:0], share_warnings(divided, rule)
    if rule.folds is not None:
        raise DataError(
            "the files come in a split and split.folds divides all patients anew; set split.published=ignore to do so"
        )
    absent = [split for split in ("train", "test") if not (published == split).any()]
    if absent:
        raise DataError(
            f"the published split has no {' and no '.join(absent)} part; set split.published=ignore to draw a new one"
        )
    if rule.published == "respect":
        return _respected(frame, rule)
    return _repaired(frame, rule)


def _respected(frame: pd.DataFrame, rule: SplitRule) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    if rule.by == "patient":
        _refuse_shared(frame)
    validation = int((frame["published"] == "validation").sum())
    if validation == 0:
        note = "No validation part is published: its patients were drawn from train."
        return _drawn(frame, rule), frame[:0], [note]
    notes = []
    if validation < _SMALL_VALIDATION:
        notes.append(
            f"The published validation part has {counted(validation, 'sample')} only, too few to choose anything by; "
            "split.published=repair draws another from train."
        )
    return frame.assign(split=frame["published"], fold=-1), frame[:0], notes


def _repaired(frame: pd.DataFrame, rule: SplitRule) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    test = frame["published"] == "test"
    leaking = ~test & frame["patient_id"].isin(frame.loc[test, "patient_id"])
    if rule.by == "sample":
        leaking &= False
    moved = int((frame["published"] == "validation").sum())
    notes = [
        f"The published validation part ({counted(moved, 'sample')}) was joined to train and another drawn by patients."
    ]
    if leaking.any():
        dropped, patients = int(leaking.sum()), frame.loc[leaking, "patient_id"].nunique()
        notes.append(
            f"{counted(dropped, 'sample')} of {counted(patients, 'patient')} "
            f"{'was' if dropped == 1 else 'were'} dropped from train and validation, because the published "
            "test part has samples of the same people."
        )
    return _drawn(frame[~leaking], rule), frame[leaking], notes


def _drawn(frame: pd.DataFrame, rule: SplitRule) -> pd.DataFrame:
    """Test as published; a new validation part drawn from the rest."""
    test = (frame["published"] == "test").to_numpy()
    share = rule.validation / (rule.train + rule.validation)
    parts = divide(frame[~test], rule, np.array([1 - share, share]))
    split = np.full(len(frame), "test", dtype=object)
    split[~test] = np.array(SPLITS[:2], dtype=object)[parts]
    return frame.assign(split=split, fold=-1)


def _refuse_shared(frame: pd.DataFrame) -> None:
    """Name every patient that is in several published parts."""
    parts = frame.groupby("patient_id")["published"].nunique()
    shared = [str(patient) for patient in parts.index[parts > 1]]
    if not shared:
        return
    problems = []
    for patient in shared:
        rows = frame[frame["patient_id"] == patient]
        counts = [(split, int((rows["published"] == split).sum())) for split in SPLITS]
        where = ", ".join(f"{count} in {split}" for split, count in counts if count)
        examples = rows.sort_values("image").groupby("published")["image"].first()
        problems.append(f"patient {patient}: {where}; such as {' and '.join(examples)}")
    found = counted(len(shared), "patient is", "patients are")
    raise DataError(
        f"{found} in more than one published part; set split.published=repair, which keeps test as it is and drops "
        "their other images, or split.published=ignore, which draws a new split",
        problems,
    )
