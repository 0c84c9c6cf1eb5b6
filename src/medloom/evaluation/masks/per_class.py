"""Choosing a threshold for each of several classes on the validation set.

First one for all of them, as in ``medloom.evaluation.masks.point``. From there each class by itself: every threshold of
the grid for it, the others as they were, by the same rule, in which equal points are those nearest to the shared one.
Then all that moved are tried together: a class gains pixels that another one loses, so what helps each alone may not
help together. The shared threshold stays unless they are better than it by more than one standard error.

The cases are read three times and none is kept: the probabilities of a validation set do not fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from medloom.evaluation.masks.point import THRESHOLDS, GridChoice, PointSearch, choose_point
from medloom.recipe.kinds.masks import MasksEvaluate

__all__ = ["PASSES", "choose_per_class"]

Cases = Iterable[tuple[NDArray[np.uint8], NDArray[np.float32], str]]

PASSES = 3
"""How often the cases are read."""


def choose_per_class(read: Callable[[], Cases], evaluate: MasksEvaluate, classes: int) -> GridChoice:
    """Choose the operating point with a threshold for each foreground class.

    Args:
        read: Gives the validation cases anew, as ``choose_point`` takes them.
        evaluate: The smallest region, if it is fixed, and the highest false positive rate.
        classes: Number of foreground classes, at least two.

    Returns:
        The choice; its thresholds are tuples, and all equal where one for all is as good.
    """
    limit = evaluate.max_false_positive_rate
    shared = choose_point(read(), evaluate).point
    near, sizes = shared.of_class(1), (shared.min_region_px,)
    begin = (near,) * classes
    alone = [PointSearch([_with(begin, at, one) for one in {*THRESHOLDS, near}], sizes) for at in range(classes)]
    for case in read():
        for search in alone:
            search.add(*case)
    best = [search.best(limit, near).point.of_class(at + 1) for at, search in enumerate(alone)]
    together = PointSearch({begin, tuple(best)}, sizes)
    for case in read():
        together.add(*case)
    return together.best(limit, near)


def _with(thresholds: tuple[float, ...], at: int, one: float) -> tuple[float, ...]:
    return (*thresholds[:at], one, *thresholds[at + 1 :])
