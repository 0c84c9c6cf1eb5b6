"""Choosing the operating point on the validation set.

The rule: of all pairs of a threshold and a smallest lesion with at most ``max_false_alarms`` false alarms on
empty cases, the one with the best balance, which is the mean Dice over cases with a lesion minus the share of
false alarms. If no pair has so few, the best balance among the pairs with the fewest. Dice alone would spend the
whole allowance of false alarms on a small gain, and pay more than the allowance on patients it has not seen.

Balances that the validation set cannot tell apart count as equal: those within one standard error of the difference
to the best, taken over the patients by the jackknife, and those within 0.005 in any case. Of equal pairs, the
threshold nearest to 0.5, then the smaller lesion, then fewer false alarms: the simplest point within one standard
error, as pruning does it (Breiman et al., Classification and Regression Trees, 1984, section 3.4.3). With few patients
the best pair of a grid of hundreds is otherwise that of these patients' chance. A value that the recipe fixes is not
searched.

With several classes, Dice is that of each class that a case holds, and an empty case holds none: a point decides what
is lesion, not which, so it cannot help that a class is taken for another, and must not be chosen as if it could.

Every case is seen once and forgotten: what is kept is one sum for each patient and pair.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medloom.inference import OperatingPoint, lesion_probability
from medloom.metrics import dice_from_counts
from medloom.recipe import EvaluateConfig

__all__ = ["MIN_LESIONS_PX", "RULE", "THRESHOLDS", "Choice", "PointSearch", "choose_operating_point"]

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

THRESHOLDS = (*(round(0.05 * step, 2) for step in range(1, 20)), 0.97, 0.98, 0.99)
"""Thresholds that ``auto`` tries."""

MIN_LESIONS_PX = (0, 5, 10, 20, 30, 40, 50, 75, 100, 150, 200, 300, 400)
"""Smallest lesions, in pixels of the network's image, that ``auto`` tries."""

RULE = (
    "nearest to 0.5 of the points within one standard error of the best mean Dice over validation cases with a lesion "
    "minus the share of false alarms, among the points with at most {limit} false alarms on empty validation cases, "
    "or else among those with the fewest"
)

TOLERANCE = 0.005
"""Points this close to the best balance count as equal."""

_CLOSE = 1e-9
"""What rounding may add to a difference."""

_EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True, eq=False)
class Choice:
    """The operating point and the grid that it was chosen from.

    Args:
        point: The operating point.
        dice_lesion: Mean Dice over cases with a lesion and their classes, (thresholds, sizes); NaN without such a case.
        false_alarm_rate: Share of empty cases with a prediction, same shape; NaN without an empty case.
        thresholds: Thresholds of the rows.
        min_lesions_px: Smallest lesions of the columns.
        within_limit: Whether the point keeps to the largest share of false alarms.
        lesion_cases: Number of cases with a lesion; each class of a case counts.
        empty_cases: Number of cases without a lesion of any class.
    """

    point: OperatingPoint
    dice_lesion: Floats
    false_alarm_rate: Floats
    thresholds: tuple[float, ...]
    min_lesions_px: tuple[int, ...]
    within_limit: bool
    lesion_cases: int
    empty_cases: int

    def plain(self) -> dict[str, Any]:
        """Return the choice as plain JSON types."""
        return {
            "threshold": self.point.threshold,
            "min_lesion_px": self.point.min_lesion_px,
            "within_limit": self.within_limit,
            "lesion_cases": self.lesion_cases,
            "empty_cases": self.empty_cases,
            "thresholds": list(self.thresholds),
            "min_lesions_px": list(self.min_lesions_px),
            "dice_lesion": _rows(self.dice_lesion),
            "false_alarm_rate": _rows(self.false_alarm_rate),
        }


@dataclass(eq=False)
class _Sums:
    """Sums over the cases of one patient, or of several, for every pair."""

    dice: Floats
    alarms: Floats
    lesion_cases: int = 0
    empty_cases: int = 0

    def minus(self, other: _Sums) -> _Sums:
        return _Sums(
            self.dice - other.dice,
            self.alarms - other.alarms,
            self.lesion_cases - other.lesion_cases,
            self.empty_cases - other.empty_cases,
        )

    def means(self) -> tuple[Floats, Floats]:
        return self.dice / max(1, self.lesion_cases), self.alarms / max(1, self.empty_cases)

    def balance(self) -> Floats:
        dice, alarms = self.means()
        return dice - alarms


def _total(parts: Iterable[_Sums], shape: tuple[int, int]) -> _Sums:
    total = _Sums(np.zeros(shape), np.zeros(shape))
    for part in parts:
        total.dice += part.dice
        total.alarms += part.alarms
        total.lesion_cases += part.lesion_cases
        total.empty_cases += part.empty_cases
    return total


class PointSearch:
    """Adds up, case by case, what every pair of threshold and smallest lesion would give.

    Args:
        thresholds: Thresholds to try, 0..1.
        min_lesions_px: Smallest lesions to try, in pixels of the network's image.
    """

    def __init__(
        self, thresholds: Iterable[float] = THRESHOLDS, min_lesions_px: Iterable[int] = MIN_LESIONS_PX
    ) -> None:
        self.thresholds = tuple(sorted(thresholds))
        self.min_lesions_px = tuple(sorted(min_lesions_px))
        self._shape = (len(self.thresholds), len(self.min_lesions_px))
        self._patients: dict[str, _Sums] = {}

    def add(self, truth_hw: NDArray[np.uint8], probabilities_khw: NDArray[np.float32], patient: str) -> None:
        """Add one case on the network's grid.

        Args:
            patient: Whose it is.
            truth_hw: True class index, (h, w) uint8.
            probabilities_khw: (K, h, w) float32 as the network gave them.
        """
        predicted, overlap = self._areas(truth_hw, probabilities_khw)
        sums = self._patients.setdefault(patient, _Sums(np.zeros(self._shape), np.zeros(self._shape)))
        for index in range(len(predicted)):
            truth_px = int(np.count_nonzero(truth_hw == index + 1))
            if truth_px:
                sums.dice += dice_from_counts(overlap[index], truth_px, predicted[index])
                sums.lesion_cases += 1
        if not truth_hw.any():
            sums.alarms += predicted.any(axis=0)
            sums.empty_cases += 1

    def best(self, max_false_alarms: float) -> Choice:
        """Choose by the rule of this module.

        Args:
            max_false_alarms: Largest share of empty cases in which anything may be predicted, 0..1.

        Returns:
            The choice.
        """
        whole = _total(self._patients.values(), self._shape)
        dice, alarms = whole.means()
        allowed = max(max_false_alarms, float(alarms.min()))
        behind, error = self._behind_best(whole, alarms <= allowed)
        rows, columns = np.nonzero((alarms <= allowed) & (behind <= np.maximum(error, TOLERANCE) + _CLOSE))
        away = np.abs(np.asarray(self.thresholds)[rows] - 0.5).round(6)
        first = np.lexsort((rows, alarms[rows, columns], columns, away))[0]
        point = OperatingPoint(self.thresholds[rows[first]], self.min_lesions_px[columns[first]])
        return Choice(
            point=point,
            dice_lesion=dice if whole.lesion_cases else np.full_like(dice, np.nan),
            false_alarm_rate=alarms if whole.empty_cases else np.full_like(alarms, np.nan),
            thresholds=self.thresholds,
            min_lesions_px=self.min_lesions_px,
            within_limit=allowed == max_false_alarms,
            lesion_cases=whole.lesion_cases,
            empty_cases=whole.empty_cases,
        )

    def _behind_best(self, whole: _Sums, allowed: NDArray[np.bool_]) -> tuple[Floats, Floats]:
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
        shape = (max(1, len(probabilities_khw) - 1), len(self.thresholds), len(self.min_lesions_px))
        predicted, overlap = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        lesion = lesion_probability(probabilities_khw)
        window = _window(lesion >= self.thresholds[0])
        lesion, truth = lesion[window], truth_hw[window]
        classes = _classes(probabilities_khw[(slice(None), *window)])
        for row, threshold in enumerate(self.thresholds):
            labels, found = ndimage.label(lesion >= threshold, _EIGHT)
            if not found:
                break  # nor is there anything above a higher threshold
            keep = np.bincount(labels.ravel()) >= np.asarray(self.min_lesions_px)[:, None]
            for index in range(shape[0]):
                ours = classes == index + 1
                predicted[index, row] = keep[:, 1:] @ _areas_of(labels, ours, found)
                overlap[index, row] = keep[:, 1:] @ _areas_of(labels, ours & (truth == index + 1), found)
        return predicted, overlap


def choose_operating_point(
    cases: Iterable[tuple[NDArray[np.uint8], NDArray[np.float32], str]], config: EvaluateConfig
) -> Choice:
    """Choose the operating point on validation cases.

    Args:
        cases: True class index (h, w), probabilities (K, h, w) and patient of each case, on the network's grid;
            may be a generator, is read once and not kept.
        config: Fixed values of the recipe and the largest share of false alarms.

    Returns:
        The choice, with the grid of Dice and false alarms.
    """
    search = PointSearch(
        THRESHOLDS if config.threshold == "auto" else (config.threshold,),
        MIN_LESIONS_PX if config.min_lesion_px == "auto" else (config.min_lesion_px,),
    )
    for truth_hw, probabilities_khw, patient in cases:
        search.add(truth_hw, probabilities_khw, patient)
    return search.best(config.max_false_alarms)


def _window(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Smallest window that holds everything set; an empty one if nothing is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _classes(probabilities_khw: NDArray[np.float32]) -> NDArray[np.int64]:
    """Which foreground class a pixel would get."""
    if len(probabilities_khw) == 1 or not probabilities_khw.size:
        return np.ones(probabilities_khw.shape[1:], np.int64)
    best: Counts = probabilities_khw[1:].argmax(axis=0)
    return best + 1


def _areas_of(labels: NDArray[Any], within: NDArray[np.bool_], found: int) -> Counts:
    """Pixels of each region inside ``within``, (found,)."""
    return np.bincount(labels[within], minlength=found + 1)[1:]


def _rows(grid: Floats) -> list[list[float | None]]:
    return [[None if np.isnan(value) else round(float(value), 6) for value in row] for row in grid]
