"""Choosing the operating point on the validation set.

The rule: of all pairs of a threshold and a smallest lesion with at most ``max_false_alarms`` false alarms on
empty cases, the one with the best balance, which is the mean Dice over cases with a lesion minus the share of
false alarms. If no pair has so few, the best balance among the pairs with the fewest. Dice alone would spend the
whole allowance of false alarms on a small gain, and pay more than the allowance on patients it has not seen.

Balances within 0.005 count as equal, since a validation set cannot tell them apart; of equal pairs, the
threshold nearest to 0.5, then the smaller lesion, then fewer false alarms. A value that the recipe fixes is not
searched.

Every case is seen once and forgotten: what is kept is one sum for each pair.
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
    "best mean Dice over validation cases with a lesion minus the share of false alarms, among the points with at "
    "most {limit} false alarms on empty validation cases, or else among those with the fewest"
)

TOLERANCE = 0.005
"""Points this close to the best balance count as equal."""

_EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True, eq=False)
class Choice:
    """The operating point and the grid that it was chosen from.

    Args:
        point: The operating point.
        dice_lesion: Mean Dice over cases with a lesion, (thresholds, sizes); NaN without such a case.
        false_alarm_rate: Share of empty cases with a prediction, same shape; NaN without an empty case.
        thresholds: Thresholds of the rows.
        min_lesions_px: Smallest lesions of the columns.
        within_limit: Whether the point keeps to the largest share of false alarms.
        lesion_cases: Number of cases with a lesion.
        empty_cases: Number of empty cases.
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
        shape = (len(self.thresholds), len(self.min_lesions_px))
        self._dice, self._alarms = np.zeros(shape), np.zeros(shape)
        self._lesion_cases = self._empty_cases = 0

    def add(self, truth_hw: NDArray[np.uint8], probabilities_khw: NDArray[np.float32]) -> None:
        """Add one case on the network's grid.

        Args:
            truth_hw: True class index, (h, w) uint8.
            probabilities_khw: (K, h, w) float32 as the network gave them.
        """
        predicted, overlap = self._areas(truth_hw, probabilities_khw)
        for index in range(len(predicted)):
            truth_px = int(np.count_nonzero(truth_hw == index + 1))
            if truth_px:
                self._dice += dice_from_counts(overlap[index], truth_px, predicted[index])
                self._lesion_cases += 1
            else:
                self._alarms += predicted[index] > 0
                self._empty_cases += 1

    def best(self, max_false_alarms: float) -> Choice:
        """Choose by the rule of this module.

        Args:
            max_false_alarms: Largest share of empty cases in which anything may be predicted, 0..1.

        Returns:
            The choice.
        """
        dice = self._dice / max(1, self._lesion_cases)
        alarms = self._alarms / max(1, self._empty_cases)
        allowed = max(max_false_alarms, float(alarms.min()))
        balance = dice - alarms
        best = balance[alarms <= allowed].max()
        rows, columns = np.nonzero((alarms <= allowed) & (balance >= best - TOLERANCE))
        away = np.abs(np.asarray(self.thresholds)[rows] - 0.5).round(6)
        first = np.lexsort((rows, alarms[rows, columns], columns, away))[0]
        point = OperatingPoint(self.thresholds[rows[first]], self.min_lesions_px[columns[first]])
        return Choice(
            point=point,
            dice_lesion=dice if self._lesion_cases else np.full_like(dice, np.nan),
            false_alarm_rate=alarms if self._empty_cases else np.full_like(alarms, np.nan),
            thresholds=self.thresholds,
            min_lesions_px=self.min_lesions_px,
            within_limit=allowed == max_false_alarms,
            lesion_cases=self._lesion_cases,
            empty_cases=self._empty_cases,
        )

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
    cases: Iterable[tuple[NDArray[np.uint8], NDArray[np.float32]]], config: EvaluateConfig
) -> Choice:
    """Choose the operating point on validation cases.

    Args:
        cases: True class index (h, w) and probabilities (K, h, w) of each case, on the network's grid; may be
            a generator, is read once and not kept.
        config: Fixed values of the recipe and the largest share of false alarms.

    Returns:
        The choice, with the grid of Dice and false alarms.
    """
    search = PointSearch(
        THRESHOLDS if config.threshold == "auto" else (config.threshold,),
        MIN_LESIONS_PX if config.min_lesion_px == "auto" else (config.min_lesion_px,),
    )
    for truth_hw, probabilities_khw in cases:
        search.add(truth_hw, probabilities_khw)
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
