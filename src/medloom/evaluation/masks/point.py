"""Choosing the operating point on the validation set.

The rule: of all pairs of a threshold and a smallest region with a false positive rate on empty cases of at most
``max_false_positive_rate``, the one with the best balance, which is the mean Dice over cases with foreground minus the
false positive rate. If no pair has so low a rate, the best balance among the pairs with the lowest. Dice alone would
spend the whole allowance of false positives on a small gain, and exceed the allowance on patients it has not seen.

Balances that the validation set cannot tell apart count as equal: those within one standard error of the difference
to the best, taken over the patients by the jackknife, and those within 0.005 in any case. Of equal pairs, the
threshold nearest to 0.5, then the smaller region, then fewer false positives: the simplest point within one standard
error, as pruning does it (Breiman et al., Classification and Regression Trees, 1984, section 3.4.3). With few patients
the best pair of a grid of hundreds is otherwise that of these patients' chance. A value that the recipe fixes is not
searched.

With several classes, Dice is that of each class that a case holds, and an empty case holds none: a point decides what
is foreground, not which class, so it cannot help that a class is taken for another, and must not be chosen as if it
could.

Every case is seen once and forgotten: what is kept is one sum for each patient and pair.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medloom.inference import MaskPoint
from medloom.inference.postprocess import Threshold, decided
from medloom.metrics import dice_from_counts
from medloom.recipe.kinds.masks import MasksEvaluate
from medloom.targets import IGNORED, foreground_of

__all__ = ["MIN_REGIONS_PX", "THRESHOLDS", "GridChoice", "PointSearch", "choose_point", "rule_in_words"]

Floats64 = NDArray[np.float64]
Counts = NDArray[np.int64]

THRESHOLDS = (*(round(0.05 * step, 2) for step in range(1, 20)), 0.97, 0.98, 0.99)
"""Thresholds that ``auto`` tries."""

MIN_REGIONS_PX = (0, 5, 10, 20, 30, 40, 50, 75, 100, 150, 200, 300, 400)
"""Smallest regions, in pixels of the network's image, that ``auto`` tries."""

_RULE = (
    "nearest to 0.5 of the points within one standard error of the best mean Dice over validation cases with "
    "foreground minus the false positive rate, among the points with a false positive rate of at most {limit} on empty "
    "validation cases, or else among those with the lowest"
)

_FURTHER = (
    "then for each class the nearest to that within one standard error of the best, with the others as they were, and "
    "all of them together only where they are better than one for all by more than one standard error"
)

TOLERANCE = 0.005
"""Points this close to the best balance count as equal."""

_CLOSE = 1e-9
"""What rounding may add to a difference."""

_EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True, eq=False)
class GridChoice:
    """The operating point and the grid that it was chosen from.

    Args:
        point: The operating point.
        dice_foreground: Mean Dice over cases with foreground and their classes, (thresholds, sizes); NaN without such
            a case.
        false_positive_rate: Share of empty cases with a prediction, same shape; NaN without an empty case.
        thresholds: Thresholds of the rows.
        min_regions_px: Smallest regions of the columns.
        within_limit: Whether the point keeps to the highest false positive rate that is allowed.
        foreground_cases: Number of cases with foreground; each class of a case counts.
        empty_cases: Number of cases without foreground of any class.
    """

    point: MaskPoint
    dice_foreground: Floats64
    false_positive_rate: Floats64
    thresholds: tuple[Threshold, ...]
    min_regions_px: tuple[int, ...]
    within_limit: bool
    foreground_cases: int
    empty_cases: int

    def search(self) -> dict[str, Any]:
        """Return everything but the point as plain JSON types; ``thresholds`` is of the point where it has several."""
        several = isinstance(self.point.threshold, tuple)
        return {
            "within_limit": self.within_limit,
            "foreground_cases": self.foreground_cases,
            "empty_cases": self.empty_cases,
            "tried" if several else "thresholds": list(self.thresholds),
            "min_regions_px": list(self.min_regions_px),
            "dice_foreground": _rows(self.dice_foreground),
            "false_positive_rate": _rows(self.false_positive_rate),
        }


@dataclass(eq=False)
class _Sums:
    """Sums over the cases of one patient, or of several, for every pair."""

    dice: Floats64
    false_positives: Floats64
    foreground_cases: int = 0
    empty_cases: int = 0

    def minus(self, other: _Sums) -> _Sums:
        return _Sums(
            self.dice - other.dice,
            self.false_positives - other.false_positives,
            self.foreground_cases - other.foreground_cases,
            self.empty_cases - other.empty_cases,
        )

    def means(self) -> tuple[Floats64, Floats64]:
        return self.dice / max(1, self.foreground_cases), self.false_positives / max(1, self.empty_cases)

    def balance(self) -> Floats64:
        dice, rate = self.means()
        return dice - rate


def _total(parts: Iterable[_Sums], shape: tuple[int, int]) -> _Sums:
    total = _Sums(np.zeros(shape), np.zeros(shape))
    for part in parts:
        total.dice += part.dice
        total.false_positives += part.false_positives
        total.foreground_cases += part.foreground_cases
        total.empty_cases += part.empty_cases
    return total


class PointSearch:
    """Adds up, case by case, what every pair of threshold and smallest region would give.

    Args:
        thresholds: Thresholds to try, 0..1; all of them one for all classes, or all one for each class.
        min_regions_px: Smallest regions to try, in pixels of the network's image.
    """

    def __init__(
        self, thresholds: Iterable[Threshold] = THRESHOLDS, min_regions_px: Iterable[int] = MIN_REGIONS_PX
    ) -> None:
        self.thresholds: tuple[Threshold, ...] = tuple(sorted(thresholds))
        self.min_regions_px = tuple(sorted(min_regions_px))
        # What any of several thresholds calls foreground, the lowest does; of several for each class that is not known.
        self._lowest = self.thresholds if isinstance(self.thresholds[0], tuple) else self.thresholds[:1]
        self._shape = (len(self.thresholds), len(self.min_regions_px))
        self._patients: dict[str, _Sums] = {}

    def add(self, truth_hw: NDArray[np.uint8], probabilities_khw: NDArray[np.float32], patient: str) -> None:
        """Add one case on the network's grid.

        Args:
            patient: Whose it is.
            truth_hw: True class index, (h, w) uint8; ``IGNORED`` where it counts nowhere. Such pixels belong to the
                regions whose size decides whether they are kept, as they do when the model is used, and count in
                nothing else.
            probabilities_khw: (K, h, w) float32 as the network gave them.
        """
        predicted, overlap = self._areas(truth_hw, probabilities_khw)
        sums = self._patients.setdefault(patient, _Sums(np.zeros(self._shape), np.zeros(self._shape)))
        for index in range(len(predicted)):
            truth_px = int(np.count_nonzero(truth_hw == index + 1))
            if truth_px:
                sums.dice += dice_from_counts(overlap[index], truth_px, predicted[index])
                sums.foreground_cases += 1
        if not foreground_of(truth_hw).any():
            sums.false_positives += predicted.any(axis=0)
            sums.empty_cases += 1

    def best(self, max_false_positive_rate: float, near: float = 0.5) -> GridChoice:
        """Choose by the rule of this module.

        Args:
            max_false_positive_rate: Largest share of empty cases in which anything may be predicted, 0..1.
            near: Of equal thresholds, those nearest to it are taken.

        Returns:
            The choice.
        """
        whole = _total(self._patients.values(), self._shape)
        dice, rate = whole.means()
        allowed = max(max_false_positive_rate, float(rate.min()))
        behind, error = self._behind_best(whole, rate <= allowed)
        rows, columns = np.nonzero((rate <= allowed) & (behind <= np.maximum(error, TOLERANCE) + _CLOSE))
        away = np.abs(np.asarray(self.thresholds) - near).reshape(len(self.thresholds), -1).sum(axis=1)[rows].round(6)
        first = np.lexsort((rows, rate[rows, columns], columns, away))[0]
        point = MaskPoint(self.thresholds[rows[first]], self.min_regions_px[columns[first]])
        return GridChoice(
            point=point,
            dice_foreground=dice if whole.foreground_cases else np.full_like(dice, np.nan),
            false_positive_rate=rate if whole.empty_cases else np.full_like(rate, np.nan),
            thresholds=self.thresholds,
            min_regions_px=self.min_regions_px,
            within_limit=allowed == max_false_positive_rate,
            foreground_cases=whole.foreground_cases,
            empty_cases=whole.empty_cases,
        )

    def _behind_best(self, whole: _Sums, allowed: NDArray[np.bool_]) -> tuple[Floats64, Floats64]:
        """By how much each pair's balance is behind the best allowed one, and the standard error of that."""
        balance = whole.balance()
        at = np.unravel_index(np.where(allowed, balance, -np.inf).argmax(), balance.shape)
        without = [whole.minus(one).balance() for one in self._patients.values()] if len(self._patients) > 1 else []
        if not without:
            return balance[at] - balance, np.zeros_like(balance)
        behind = np.stack([one[at] - one for one in without])
        count = len(behind)
        return balance[at] - balance, np.sqrt((count - 1) / count * ((behind - behind.mean(axis=0)) ** 2).sum(axis=0))

    def _areas(self, truth_hw: NDArray[np.uint8], probabilities_khw: NDArray[np.float32]) -> tuple[Counts, Counts]:
        """Predicted pixels and overlap with the truth, (classes, thresholds, sizes)."""
        shape = (max(1, len(probabilities_khw) - 1), len(self.thresholds), len(self.min_regions_px))
        predicted, overlap = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        window = _window(np.any([decided(probabilities_khw, one)[0] for one in self._lowest], axis=0))
        seen, truth = probabilities_khw[(slice(None), *window)], truth_hw[window]
        known = truth != IGNORED
        for row, threshold in enumerate(self.thresholds if truth.size else ()):
            foreground, classes = decided(seen, threshold)
            if not foreground.any():
                continue
            labels, found = ndimage.label(foreground, _EIGHT)
            keep = np.bincount(labels.ravel()) >= np.asarray(self.min_regions_px)[:, None]
            for index in range(shape[0]):
                ours = (classes == index + 1) & known
                predicted[index, row] = keep[:, 1:] @ _areas_of(labels, ours, found)
                overlap[index, row] = keep[:, 1:] @ _areas_of(labels, ours & (truth == index + 1), found)
        return predicted, overlap


def choose_point(
    cases: Iterable[tuple[NDArray[np.uint8], NDArray[np.float32], str]], evaluate: MasksEvaluate
) -> GridChoice:
    """Choose the operating point on validation cases.

    Args:
        cases: True class index (h, w), probabilities (K, h, w) and patient of each case, on the network's grid;
            may be a generator, is read once and not kept.
        evaluate: Fixed values of the recipe and the highest false positive rate.

    Returns:
        The choice, with the grid of Dice and false positive rates.
    """
    search = PointSearch(
        _thresholds(evaluate), MIN_REGIONS_PX if evaluate.min_region_px == "auto" else (evaluate.min_region_px,)
    )
    for truth_hw, probabilities_khw, patient in cases:
        search.add(truth_hw, probabilities_khw, patient)
    return search.best(evaluate.max_false_positive_rate)


def _thresholds(evaluate: MasksEvaluate) -> tuple[Threshold, ...]:
    """What is tried: of a recipe that asks for one for each class, first those that all of them share."""
    given = evaluate.threshold
    if isinstance(given, dict):
        return (tuple(given.values()),)
    return THRESHOLDS if isinstance(given, str) else (given,)


def rule_in_words(evaluate: MasksEvaluate) -> str:
    """Return the rule of the recipe in words."""
    fixed = [key for key in ("threshold", "min_region_px") if not isinstance(getattr(evaluate, key), str)]
    given = f"fixed in the recipe: {' and '.join(fixed)}" if fixed else ""
    searched = _RULE.format(limit=f"{100 * evaluate.max_false_positive_rate:g} %") if len(fixed) < 2 else ""
    further = _FURTHER if evaluate.threshold == "per-class" else ""
    return "; ".join(filter(None, (given, searched, further)))


def _window(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Smallest window that holds everything set; an empty one if nothing is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _areas_of(labels: NDArray[Any], within: NDArray[np.bool_], found: int) -> Counts:
    """Pixels of each region inside ``within``, (found,)."""
    return np.bincount(labels[within], minlength=found + 1)[1:]


def _rows(grid: Floats64) -> list[list[float | None]]:
    return [[None if np.isnan(value) else round(float(value), 6) for value in row] for row in grid]
