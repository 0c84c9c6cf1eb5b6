"""What the values of true and of predicted masks mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medloom.errors import DataError, UserError

__all__ = ["Meaning", "as_classes", "class_values", "meaning_of", "values_in"]

_BACKGROUND = "background"
_MOST_CLASSES = 256
_MOST_SHOWN = 10
_BLACK_AND_WHITE = {1, 255}


@dataclass(frozen=True)
class Meaning:
    """What pixel values mean.

    Args:
        names: Names of the classes, the background first.
        true: Class index of each value in the true masks.
        predicted: The same for the predicted ones.
        warnings: What was assumed.
    """

    names: tuple[str, ...]
    true: dict[int, int]
    predicted: dict[int, int]
    warnings: tuple[str, ...] = ()


def class_values(classes: Sequence[str]) -> dict[str, int]:
    """Return the value of each class by its name: ``NAME=VALUE``, or by their order from 0 on.

    Args:
        classes: The background first; empty if nothing is known.

    Raises:
        UserError: If a value is no whole number, some have none, or a name or value comes twice.

    Example:
        >>> class_values(["background=0", "core=1", "enhancing=4"])
        {'background': 0, 'core': 1, 'enhancing': 4}
    """
    parts = [name.rpartition("=") for name in classes]
    if not any(separator for _, separator, _ in parts):
        found = {name: value for value, name in enumerate(classes)}
    elif all(name.strip() and value.strip().isdecimal() for name, _, value in parts):
        found = {name.strip(): int(value) for name, _, value in parts}
    else:
        raise UserError(f"--classes is {','.join(classes)}; expected NAME,NAME,... or NAME=VALUE,NAME=VALUE,...")
    if len(found) != len(classes) or len(set(found.values())) != len(classes):
        raise UserError(f"--classes is {','.join(classes)}; a name or a value comes twice")
    return found


def meaning_of(true: set[int], predicted: set[int], classes: Sequence[str]) -> Meaning:
    """Say what the values that were found mean.

    Where each side holds 0 and one other value, that value is the foreground, whatever it is. Otherwise a value means
    the same on both sides.

    Args:
        true: Values in the true masks.
        predicted: Values in the predicted ones.
        classes: Names of the classes with or without their values, the background first; see ``class_values``.

    Raises:
        DataError: For values of no class.
        UserError: For classes that cannot be understood.
    """
    known = class_values(classes)
    named = any("=" in name for name in classes)
    if len(classes) in (0, 2) and not named and all(len(seen - {0}) <= 1 for seen in (true, predicted)):
        return _foreground(true, predicted, tuple(known) or (_BACKGROUND, "foreground"))
    found = true | predicted
    if not known:
        known = {_BACKGROUND: 0, **{f"class {value}": value for value in sorted(found - {0})}}
    if len(known) > _MOST_CLASSES:
        raise DataError(f"the masks hold {len(known)} values; expected at most {_MOST_CLASSES} classes")
    if others := sorted(found - set(known.values())):
        shown = ", ".join(map(str, others[:_MOST_SHOWN]))
        raise DataError(
            f"the masks hold the values {shown}, which belong to no class; name each class with its value, such as "
            "--classes background=0,core=1,enhancing=4"
        )
    index = {value: number for number, value in enumerate(known.values())}
    return Meaning(tuple(known), index, index)


def _foreground(true: set[int], predicted: set[int], names: tuple[str, ...]) -> Meaning:
    sides = [{value: int(value != 0) for value in seen | {0}} for seen in (true, predicted)]
    both = (true - {0}) | (predicted - {0})
    warnings: tuple[str, ...] = ()
    if len(both) > 1 and both != _BLACK_AND_WHITE:
        (first,), (second,) = true - {0}, predicted - {0}
        warnings = (
            f"True masks hold the value {first} beside 0 and predicted ones {second}: both were taken for the one "
            "class. If they are different classes, name them with their values in --classes.",
        )
    return Meaning(names, sides[0], sides[1], warnings)


def as_classes(values: NDArray[np.uint16], meaning: dict[int, int]) -> NDArray[np.uint8]:
    """Return the class index of each value."""
    table = np.zeros(max(meaning) + 1, np.uint8)
    table[list(meaning)] = list(meaning.values())
    return table[values]


def values_in(planes: Iterable[NDArray[np.uint16]]) -> set[int]:
    """Return the values that planes hold; each plane by itself, for counting takes eight bytes a pixel."""
    return {value for plane in planes for value in np.flatnonzero(np.bincount(plane.ravel())).tolist()}
