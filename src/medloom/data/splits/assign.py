"""From a rule to the columns ``split`` and ``fold``."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd

from medloom.data.splits.balance import balanced_parts
from medloom.data.splits.given import HELD_OUT, SPLITS, check_given_split
from medloom.data.splits.rule import SplitRule
from medloom.errors import DataError

__all__ = ["SPLITS", "divide", "split_folds", "split_patients", "strata_labels"]

IntArray = npt.NDArray[np.int64]

# From this number of units of one sample each, dealing them out is as good as a search.
_MANY = 1000

_ROUNDING = 1e-9


def split_patients(frame: pd.DataFrame, rule: SplitRule) -> pd.DataFrame:
    """Decide which samples train, validate and test.

    All samples of a patient go to the same part unless ``rule.by`` is ``sample``. The parts come close to the
    wanted shares of samples, with alike shares of samples that hold foreground, also with few patients of very
    different size. The same rows in any order and the same rule give the same split.

    Args:
        frame: One row a sample: ``sample_id``, ``patient_id``, ``foreground_px`` (pixels of any class but the
            background). A column ``stratum`` (any label), if present, is balanced instead of foreground or none;
            ``given_split`` is used, and needed, when ``rule.given``. A column ``kept``, if present, is the number of
            the part or fold in which a sample's patient stays; -1 for others. With folds, ``kept_split`` says the same
            of training and validation in this fold, and ``kept_out`` whether it stays held out.
        rule: How to divide.

    Returns:
        A copy with ``split`` (train, validation, test, and held-out beside folds) and ``fold`` (from 0; -1 where there
        are none).

    Raises:
        DataError: If there are fewer patients than parts, or the given split is incomplete, unknown or divides a
            patient; every problem is listed.

    Example:
        >>> names = {"sample_id": list("abc"), "patient_id": ["P1", "P2", "P3"]}
        >>> frame = pd.DataFrame({**names, "foreground_px": [0, 9, 0]})
        >>> sorted(split_patients(frame, SplitRule())["split"])
        ['test', 'train', 'validation']
    """
    result = frame.copy()
    if rule.given:
        return _given(result)
    if rule.folds is not None:
        return split_folds(result, rule, _held_out(result, rule))
    parts = divide(result, rule, np.array(rule.shares))
    return result.assign(split=np.array(SPLITS)[parts].astype(str), fold=-1)


def split_folds(frame: pd.DataFrame, rule: SplitRule, held_out: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """Divide samples into folds, and the others into training and validation of one of them.

    Args:
        frame: As for ``split_patients``.
        rule: How to divide.
        held_out: Which samples (N,) no fold sees.

    Returns:
        A copy with ``split`` (train, validation, test, held-out) and ``fold``, -1 for what is held out.

    Raises:
        DataError: If there are fewer patients than folds.
    """
    inside = frame[~held_out]
    parts = divide(inside, rule, np.array(rule.shares))
    split, fold = np.full(len(frame), HELD_OUT, dtype=object), np.full(len(frame), -1, dtype=np.int64)
    split[~held_out], fold[~held_out] = _split_of_fold(inside, parts, rule), parts
    return frame.assign(split=split.astype(str), fold=fold)


def _held_out(frame: pd.DataFrame, rule: SplitRule) -> npt.NDArray[np.bool_]:
    """Draw by patient what no fold sees, first of all and the same in every fold."""
    if not rule.hold_out:
        return np.zeros(len(frame), np.bool_)
    known = frame.drop(columns="kept", errors="ignore").rename(columns={"kept_out": "kept"})
    drawn: npt.NDArray[np.bool_] = divide(known, rule, np.array([1 - rule.hold_out, rule.hold_out])) == 1
    return drawn


def _given(frame: pd.DataFrame) -> pd.DataFrame:
    if "given_split" not in frame:
        raise DataError("split.file is set, but the samples carry no given_split")
    check_given_split(frame)
    return frame.assign(split=frame["given_split"].astype(str), fold=-1)


def _split_of_fold(frame: pd.DataFrame, parts: IntArray, rule: SplitRule) -> npt.NDArray[np.str_]:
    """Fold k tests; some of the next fold, or of the next ones, validate; the rest train.

    So nobody validates in more folds than must be, and every patient is learned from in most of them.
    """
    folds, fold = rule.folds or 1, rule.fold or 0
    among = math.ceil(rule.validation * folds - _ROUNDING)  # folds that have as many as are wanted
    place = (parts - fold) % folds
    split = np.where(place == 0, "test", "train").astype(object)
    pool = (place > 0) & (place <= among)
    split[pool] = _validating(frame[pool], rule, rule.validation * folds / among)
    return split.astype(str)


def _validating(pool: pd.DataFrame, rule: SplitRule, share: float) -> npt.NDArray[np.str_]:
    """Which samples of a pool train and which validate; all of them, where they are all that is wanted."""
    whole = share > 1 - _ROUNDING or pool[f"{rule.by}_id"].nunique() == 1
    if whole:
        return np.full(len(pool), "validation")
    known = pool.drop(columns="kept", errors="ignore").rename(columns={"kept_split": "kept"})
    validates = divide(known, rule, np.array([1 - share, share])) == 1
    return np.where(_with_every_stratum(known, rule, validates) if rule.stratify else validates, "validation", "train")


def _with_every_stratum(pool: pd.DataFrame, rule: SplitRule, validates: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Add to the samples that validate the smallest unit of each stratum that none of them is in.

    With few patients a share of them may lack a class, and then nothing can be chosen by it.
    """
    labels, units = strata_labels(pool).to_numpy(), pool[f"{rule.by}_id"].to_numpy()
    free = ~pool["kept"].eq(SPLITS.index("train")).to_numpy() if "kept" in pool else np.full(len(pool), True)
    for label in sorted(set(labels) - set(labels[validates])):
        names, sizes = np.unique(units[free & np.isin(units, units[free & (labels == label)])], return_counts=True)
        if len(names):
            validates = validates | (units == names[sizes.argmin()])
    return validates


def divide(frame: pd.DataFrame, rule: SplitRule, shares: npt.NDArray[np.float64]) -> IntArray:
    """Return the part of each row.

    Args:
        frame: As for ``split_patients``.
        rule: Says by what to divide, whether to stratify, and the seed.
        shares: Wanted share of each part ``(P,)``, adding up to 1; those of the rule do not count.

    Raises:
        DataError: If there are fewer patients than parts.
    """
    unit = frame["sample_id" if rule.by == "sample" else "patient_id"].astype(str)
    names, unit_of_row = np.unique(unit.to_numpy(dtype=str), return_inverse=True)
    if len(names) < len(shares):
        raise DataError(
            f"{len(names)} {rule.by}s cannot be divided into {len(shares)} parts; "
            f"at least {len(shares)} are needed, or fewer folds"
        )
    rng = np.random.default_rng(rule.seed)
    # Shuffling the units first keeps their names from deciding anything.
    order = rng.permutation(len(names))
    sizes, strata = _counts(frame, unit_of_row, len(names), stratify=rule.stratify)
    kept = _kept(frame, unit_of_row, len(names), len(shares))
    chosen = _shuffled_parts if sizes.max() == 1 and len(names) > _MANY else balanced_parts
    parts = np.empty(len(names), dtype=np.int64)
    parts[order] = chosen(sizes[order], strata[order], shares, rng, kept[order])
    return parts[unit_of_row]


def _kept(frame: pd.DataFrame, unit_of_row: IntArray, units: int, parts: int) -> IntArray:
    """The part in which each unit stays (U,), or -1: that of most of its samples that stay somewhere."""
    if "kept" not in frame:
        return np.full(units, -1, dtype=np.int64)
    rows = frame["kept"].to_numpy(dtype=np.int64)
    stays = (rows >= 0) & (rows < parts)
    votes = np.zeros((units, parts), dtype=np.int64)
    np.add.at(votes, (unit_of_row[stays], rows[stays]), 1)
    return np.where(votes.any(axis=1), votes.argmax(axis=1), -1)


def _counts(frame: pd.DataFrame, unit_of_row: IntArray, units: int, *, stratify: bool) -> tuple[IntArray, IntArray]:
    """Samples of each unit (U,), and of each unit in each stratum (U, K)."""
    sizes = np.bincount(unit_of_row, minlength=units)
    if not stratify:
        return sizes, np.zeros((units, 0), dtype=np.int64)
    label = strata_labels(frame)
    strata = [np.bincount(unit_of_row[(label == value).to_numpy()], minlength=units) for value in sorted(set(label))]
    return sizes, np.stack(strata, axis=1)


def strata_labels(frame: pd.DataFrame) -> pd.Series:
    """Return the stratum of each row (N,): its own column, or whether it has foreground."""
    return frame["stratum"].astype(str) if "stratum" in frame else (frame["foreground_px"] > 0).astype(str)


def _shuffled_parts(
    sizes: IntArray, strata: IntArray, shares: npt.NDArray[np.float64], rng: np.random.Generator, kept: IntArray
) -> IntArray:
    """Units of one sample each, already shuffled: deal out stratum after stratum, exact to one sample."""
    label = strata.argmax(axis=1) if strata.shape[1] else np.zeros(len(sizes), dtype=np.int64)
    order = np.argsort(label, kind="stable")
    order = order[kept[order] < 0]
    # A low-discrepancy sequence keeps the shares right within any run of the order, so in every stratum.
    places = (np.arange(len(order)) * 0.6180339887498949 + rng.random()) % 1.0
    borders = np.cumsum(shares)[:-1]
    parts = kept.copy()
    parts[order] = np.searchsorted(borders, places, side="right")
    return parts
