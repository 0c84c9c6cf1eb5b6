"""2.5-D: which slices lie beside which, so that a network is given them as further channels.

One rule, for training, evaluation and every answer. A slice lies in a stack at a place. Beyond an end the end slice is
repeated. Where a slice is missing, the next one towards the slice that is looked at stands in for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from medloom.errors import DataError
from medloom.wording import counted

if TYPE_CHECKING:  # a server has no tables, and need not wait for them
    import pandas as pd

__all__ = [
    "By",
    "OrderError",
    "Spot",
    "Surroundings",
    "context_of",
    "gathered",
    "joined_ids",
    "numbered",
    "rows_beside",
    "surroundings",
]

By = Literal["position", "page", "name"]
"""What says where a slice lies: its place in the patient, its page in a file, or the number in its name."""

Rows = NDArray[np.int64]

_NUMBER = re.compile(r"(\d{1,15})")
_SAME_PLACE_MM, _LEAST_STEP = 1e-3, 0.01
_MOST_GAPS = 0.5
"""Share of the steps from one number to the next that may miss one; with more they are no numbers of slices."""


class OrderError(DataError):
    """Nothing says in which order slices lie."""


@dataclass(frozen=True)
class Spot:
    """Where a slice lies.

    Args:
        stack: What tells its stack from others.
        place: Where along it: millimetres, a page, or a number.
        by: What says so.
    """

    stack: tuple[str, ...]
    place: float
    by: By


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Which slices are seen with which.

    Args:
        index: ``(N, 2k + 1)`` numbers of the slices that are seen with each, from the lowest place to the highest, the
            slice itself in the middle.
        missing: ``(N,)`` whether a slice between others is missing among them.
        stacks: How many stacks there are.
    """

    index: Rows
    missing: NDArray[np.bool_]
    stacks: int


def surroundings(spots: Sequence[Spot], reach: int) -> Surroundings:
    """Find the slices beside each slice.

    From one slice of a stack to the next it is one page, one number, or the most common distance in millimetres.

    Args:
        spots: Where each slice lies.
        reach: k, how many on either side.

    Raises:
        OrderError: If two slices of a stack are at one place, no stack has two slices, or most of the numbers in names
            are missing: they are then no numbers of slices.

    Example:
        >>> spots = [Spot(("a",), place, "page") for place in (0, 1, 2, 4)]
        >>> surroundings(spots, 1).index.tolist()
        [[0, 0, 1], [0, 1, 2], [1, 2, 2], [3, 3, 3]]
    """
    stacks: dict[tuple[str, ...], list[int]] = {}
    for number, spot in enumerate(spots):
        stacks.setdefault((spot.by, *spot.stack), []).append(number)
    index = np.empty((len(spots), 2 * reach + 1), np.int64)
    missing = np.zeros(len(spots), np.bool_)
    steps: list[NDArray[np.int64]] = []
    for members in stacks.values():
        rows, slots = _slots([spots[number] for number in members], np.array(members, np.int64))
        index[rows], missing[rows] = _beside(rows, slots, reach)
        if spots[members[0]].by == "name":
            steps.append(np.diff(slots))
    if spots and max(map(len, stacks.values())) == 1:
        raise OrderError("no two images are known to be slices of one stack")
    _check_numbers(steps)
    return Surroundings(index, missing, len(stacks))


def _slots(spots: Sequence[Spot], rows: Rows) -> tuple[Rows, NDArray[np.int64]]:
    """Put the slices of a stack in order, each at a whole number of steps from the first."""
    places = np.array([spot.place for spot in spots])
    order = np.argsort(places, kind="stable")
    steps = np.diff(places[order])
    if len(steps) and steps.min() <= _SAME_PLACE_MM:
        what = {"position": "at one place in the patient", "page": "one page", "name": "of one number"}[spots[0].by]
        raise OrderError(f"two slices of one stack are {what}; expected each slice once in a stack")
    usual = _usual(steps) if spots[0].by == "position" and len(steps) else 1.0
    apart = np.maximum(np.rint(steps / usual), 1).astype(np.int64)
    return rows[order], np.concatenate([np.zeros(1, np.int64), np.cumsum(apart)])


def _usual(steps: NDArray[np.float64]) -> float:
    """The most common of several distances; those within a hundredth of the middle one are the same."""
    middle = float(np.median(steps))
    found, counts = np.unique((steps / middle).round(2), return_counts=True)
    return max(float(found[counts.argmax()]), _LEAST_STEP) * middle


def _beside(rows: Rows, slots: NDArray[np.int64], reach: int) -> tuple[Rows, NDArray[np.bool_]]:
    """The slices beside each of a stack, and whether one between others is missing among them."""
    index = np.empty((len(rows), 2 * reach + 1), np.int64)
    missing = np.zeros(len(rows), np.bool_)
    for offset in range(-reach, reach + 1):
        wanted = slots + offset
        # The next one towards the slice itself: the first above where it looks down, the last below where it looks up.
        found = np.searchsorted(slots, wanted) if offset < 0 else np.searchsorted(slots, wanted, side="right") - 1
        index[:, offset + reach] = rows[found]
        missing |= (slots[found] != wanted) & (wanted >= slots[0]) & (wanted <= slots[-1])
    return index, missing


def _check_numbers(steps: Sequence[NDArray[np.int64]]) -> None:
    every = np.concatenate(steps) if steps else np.zeros(0, np.int64)
    gaps = int((every > 1).sum())
    if gaps > _MOST_GAPS * len(every):
        raise OrderError(
            f"the numbers in the names of files are not those of consecutive slices: from one to the next, "
            f"{gaps:,} of {counted(len(every), 'step')} leave some out"
        )


def numbered(names: Sequence[str]) -> list[tuple[tuple[str, ...], float] | None]:
    """Find the number of each slice in its name: the last number that differs among names that are else alike.

    Args:
        names: Of one folder, without the suffix.

    Returns:
        For each name what its stack has in common, and the number; None for a name without one.

    Example:
        >>> numbered(["a_2_of_9", "a_10_of_9", "b"])
        [(('a_', '_of_', '', '9'), 2.0), (('a_', '_of_', '', '9'), 10.0), None]
    """
    parts = [_NUMBER.split(name) for name in names]
    alike: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for part in parts:
        alike.setdefault(tuple(part[::2]), []).append(tuple(part[1::2]))
    place = {texts: _differing(numbers) for texts, numbers in alike.items()}
    found: list[tuple[tuple[str, ...], float] | None] = []
    for part in parts:
        texts, numbers = tuple(part[::2]), part[1::2]
        at = place[texts]
        found.append(((*texts, *numbers[:at], *numbers[at + 1 :]), float(int(numbers[at]))) if numbers else None)
    return found


def _differing(numbers: Sequence[tuple[str, ...]]) -> int:
    """The last place at which names have different numbers; the last of all where they have none."""
    columns = list(zip(*numbers, strict=True))
    differing = [place for place, column in enumerate(columns) if len(set(map(int, column))) > 1]
    return differing[-1] if differing else len(columns) - 1


def context_of(catalogue: pd.DataFrame) -> list[list[str]]:
    """Return the samples that are seen with each row of a catalogue, itself not among them; empty without context."""
    if "context" not in catalogue:
        return [[] for _ in range(len(catalogue))]
    cells = catalogue["context"].fillna("").tolist()
    return [[str(sample) for sample in json.loads(cell)] if cell else [] for cell in cells]


def rows_beside(
    catalogue: pd.DataFrame, rows_of: Callable[[Sequence[str]], Rows], count: int, reach: int
) -> Rows | None:
    """Return the rows of a store that are seen with each of its rows, ``(count, 2k + 1)``; None without context.

    Args:
        catalogue: With ``sample_id`` and ``context``.
        rows_of: Gives the rows of samples, such as ``store.rows``.
        count: Rows of the store.
        reach: k, as the recipe says.

    Raises:
        DataError: If the catalogue was prepared with another k.
    """
    if not reach:
        return None
    found = context_of(catalogue)
    if any(len(beside) != 2 * reach for beside in found):
        raise DataError(f"the catalogue was not prepared with data.context={reach}; run `medloom prepare` again")
    rows = np.repeat(np.arange(count)[:, None], 2 * reach + 1, axis=1)
    whole = [[*beside[:reach], own, *beside[reach:]] for own, beside in zip(catalogue["sample_id"], found, strict=True)]
    own = rows_of(catalogue["sample_id"].tolist())
    rows[own] = rows_of([name for names in whole for name in names]).reshape(len(whole), -1)
    return rows


def gathered(array: Any, rows: Any, context: Any | None) -> Any:  # noqa: ANN401 - NumPy's or torch's, all three alike
    """Return rows of an array, and with context those beside them as further channels.

    Args:
        array: ``(N, C, ...)``, of NumPy or torch.
        rows: ``(M,)``.
        context: ``(N, 2k + 1)`` rows that are seen with each; None without.

    Returns:
        ``(M, C, ...)``, or ``(M, (2k + 1) * C, ...)``: the channels of the lowest slice first.

    Example:
        >>> gathered(np.array([[1], [2], [3]]), np.array([1]), np.array([[0, 0, 1], [0, 1, 2], [1, 2, 2]])).tolist()
        [[1, 2, 3]]
    """
    if context is None:
        return array[rows]
    found = array[context[rows]]
    return found.reshape(len(found), -1, *array.shape[2:])


def joined_ids(index: Rows, names: Sequence[str]) -> Iterable[str]:
    """Return the column ``context`` of a catalogue: a JSON list of the samples beside each."""
    reach = index.shape[1] // 2
    for row in index:
        yield json.dumps([names[place] for place in (*row[:reach], *row[reach + 1 :])])
