"""A split that the files come in: respected, repaired or ignored."""

from __future__ import annotations

import numpy as np
import pandas as pd

from medloom.data.splits.assign import divide, split_folds, split_patients
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
    parts. With folds, the published test part is held out of all of them. ``ignore``, a split file, or a set without a
    split is left to ``split_patients``.

    Args:
        frame: As for ``split_patients``, with the column ``published`` (train, validation, test or empty).
        rule: How to divide, and what the published split is worth.

    Returns:
        The frame with ``split`` and ``fold``; the rows that were dropped; sentences for the report.

    Raises:
        DataError: If a patient is in several published parts and they are to be respected, naming each; if test or
            train is not there; or if a part is to be held out beside the published test part.
    """
    published = frame["published"]
    if rule.published == "ignore" or rule.given or not (published != "").any():
        divided = split_patients(frame, rule)
        return divided, frame[:0], share_warnings(divided, rule)
    absent = [split for split in ("train", "test") if not (published == split).any()]
    if absent:
        raise DataError(
            f"the published split has no {' and no '.join(absent)} part; set split.published=ignore to draw a new one"
        )
    if rule.published == "respect" and rule.by == "patient":
        _refuse_shared(frame)
    if rule.folds is not None:
        return _in_folds(frame, rule)
    return _respected(frame, rule) if rule.published == "respect" else _repaired(frame, rule)


def _in_folds(frame: pd.DataFrame, rule: SplitRule) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """The published test part is held out, and the folds divide the rest."""
    if rule.hold_out:
        raise DataError(
            "the published test part is what no fold sees; leave out split.hold_out, or set split.published=ignore"
        )
    rest, leaking, dropped = _without_leaks(frame, rule)
    test = (rest["published"] == "test").to_numpy()
    notes = [f"The published test part ({counted(int(test.sum()), 'sample')}) is held out; the folds divide the rest."]
    return split_folds(rest, rule, test), leaking, [*notes, *dropped]


def _respected(frame: pd.DataFrame, rule: SplitRule) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
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
    rest, leaking, dropped = _without_leaks(frame, rule)
    moved = int((frame["published"] == "validation").sum())
    notes = [
        f"The published validation part ({counted(moved, 'sample')}) was joined to train and another drawn by patients."
    ]
    return _drawn(rest, rule), leaking, [*notes, *dropped]


def _without_leaks(frame: pd.DataFrame, rule: SplitRule) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Leave out of train and validation who is in the published test part: what stays, what goes, and a sentence."""
    test = frame["published"] == "test"
    leaking = ~test & frame["patient_id"].isin(frame.loc[test, "patient_id"])
    if rule.by == "sample" or not leaking.any():
        return frame, frame[:0], []
    dropped, patients = int(leaking.sum()), frame.loc[leaking, "patient_id"].nunique()
    note = (
        f"{counted(dropped, 'sample')} of {counted(patients, 'patient')} "
        f"{'was' if dropped == 1 else 'were'} dropped from train and validation, because the published "
        "test part has samples of the same people."
    )
    return frame[~leaking], frame[leaking], [note]


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
