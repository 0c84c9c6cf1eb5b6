"""Slices that a network sees with those beside them, wherever they come from; ordered as by ``medloom.data.context``.

Shapes: C channels of a slice, h and w of the network's image, k slices on either side.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medloom.data.context import Spot, Surroundings, surroundings
from medloom.errors import InputError, UserError
from medloom.inference.prepared import Prepared

__all__ = ["Surrounded", "alone", "in_order", "joined"]

_MISSING = "a slice beside it is missing: the next one towards it was taken twice"


@dataclass(frozen=True, eq=False)
class Surrounded:
    """Gives each slice of a stack as the network sees it; threads may share one.

    A slice is prepared once, and kept until all that are seen with it have been asked for.

    Args:
        prepare: Prepares a slice by its number.
        beside: Which slices are seen with which.
    """

    prepare: Callable[[int], Prepared]
    beside: Surroundings
    _kept: dict[int, Prepared] = field(default_factory=dict)
    _asked: Counter[int] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def _seen_by(self) -> NDArray[np.int64]:
        """How often each slice is seen with others or itself."""
        return np.bincount(self.beside.index.ravel(), minlength=len(self.beside.index))

    def __call__(self, number: int) -> Prepared:
        """Return a slice with those beside it.

        Raises:
            UserError: If it cannot be used.
            InputError: If one of those beside it cannot.
        """
        numbers = self.beside.index[number].tolist()
        with self._lock:
            try:
                whole = self._joined(number, numbers)
            finally:
                self._let_go(numbers)
        return replace(whole, warnings=(*whole.warnings, _MISSING)) if self.beside.missing[number] else whole

    def _joined(self, number: int, numbers: Sequence[int]) -> Prepared:
        own = self._one(number)
        try:
            return joined([own if one == number else self._one(one) for one in numbers])
        except UserError as error:
            raise InputError(f"a slice that is seen beside it cannot be used: {error}") from error

    def _let_go(self, numbers: Sequence[int]) -> None:
        self._asked.update(numbers)
        for one in numbers:
            if self._asked[one] >= self._seen_by[one]:
                self._kept.pop(one, None)

    def _one(self, number: int) -> Prepared:
        if number not in self._kept:
            self._kept[number] = self.prepare(number)
        return self._kept[number]


def in_order(count: int, reach: int, *, upwards: bool = True) -> Surroundings:
    """Return which of so many slices, which follow one another, are seen with which.

    Args:
        count: How many there are.
        reach: k.
        upwards: Whether the first is the lowest.
    """
    if not reach:
        return Surroundings(np.arange(count)[:, None], np.zeros(count, np.bool_), 1)
    step = 1.0 if upwards else -1.0
    return surroundings([Spot((), step * number, "page") for number in range(count)], reach)


def joined(slices: Sequence[Prepared]) -> Prepared:
    """Return the middle one of several slices as the network sees it, with the others as further channels.

    Args:
        slices: 2k + 1 of them, the lowest first.
    """
    middle = slices[len(slices) // 2]
    if len(slices) == 1:
        return middle
    planes: NDArray[np.float32] = np.concatenate([one.network_input for one in slices])
    return replace(middle, network_input=planes, slices=len(slices))


def alone(reach: int) -> InputError:
    """Return what is said of an image that comes without the slices beside it."""
    return InputError(
        f"this model sees each slice with {reach} on either side of it, and this is one image alone; expected a whole "
        "volume (NIfTI, enhanced DICOM, a folder or zip with a DICOM series, a TIFF of several pages) without a page, "
        "or a folder or zip with the numbered slices of one patient; in Python also predict_slices"
    )
