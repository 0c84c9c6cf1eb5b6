"""From words to numbers: what kind of label a column holds, which classes there are, and the label of each sample.

Every layout of classification reads its labels as words and asks here what they mean, so that a folder, a CSV and an
array are understood by the same rules.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from medloom.data.layouts.base import Item, Listing, Problem
from medloom.data.metadata import as_number, is_blank
from medloom.errors import DataError, RecipeError
from medloom.recipe import LabelsConfig
from medloom.wording import counted, nearest

__all__ = ["LabelError", "Meaning", "clean", "understand"]

_MOST_CLASSES = 20
"""Up to so many different whole numbers or words are taken for classes, if the recipe does not say."""

_SHOWN = 12
_SINGLE = ("binary", "multi-class")


class LabelError(ValueError):
    """A label that does not fit; the message names neither the file nor the line."""


@dataclass(frozen=True)
class Meaning:
    """What the labels of a set mean.

    Args:
        kind: ``binary``, ``multi-class``, ``multi-label`` or ``real``.
        classes: In order; of two, the second is the positive one. The targets for ``multi-label``, none for ``real``.
        targets: Names of the columns or of the vector's entries.
        notes: Which words were taken for a class that is written otherwise.
    """

    kind: str
    classes: tuple[str, ...]
    targets: tuple[str, ...]
    notes: tuple[str, ...] = field(default=(), repr=False)

    def numbers(self, words: Sequence[str]) -> tuple[float, ...]:
        """Return the label of one sample.

        Args:
            words: One for each target, as :func:`clean` leaves them.

        Returns:
            The class's index, or a number for each target.

        Raises:
            LabelError: Saying what is wrong with the first word that does not fit.
        """
        if self.kind in _SINGLE:
            return (float(self._index(words[0])),)
        return tuple(self._number(word, target) for word, target in zip(words, self.targets, strict=True))

    def listing(self, items: Iterable[Item], problems: Iterable[Problem], notes: Iterable[str]) -> Listing:
        """Return what a layout found, with what its labels mean."""
        return Listing(tuple(items), tuple(problems), (*notes, *self.notes), self.kind, self.classes, self.targets)

    def _index(self, word: str) -> int:
        if word in self.classes:
            return self.classes.index(word)
        if is_blank(word):
            raise LabelError(f"no label in {self.targets[0]}")
        name = _class_of(word, self.classes)
        if name is not None:
            return self.classes.index(name)
        expected = ", ".join(self.classes[:_SHOWN])
        raise LabelError(f"unknown class {word!r}; expected one of {expected}{nearest(word, self.classes)}")

    def _number(self, word: str, target: str) -> float:
        if is_blank(word):
            raise LabelError(f"no value for target {target}")
        value = as_number(word)
        if value is None:
            raise LabelError(f"target {target} is no finite number")
        if self.kind == "multi-label" and value not in (0.0, 1.0):
            raise LabelError(f"target {target} is neither 0 nor 1")
        return value


def understand(rows: Sequence[Sequence[str]], config: LabelsConfig, targets: Sequence[str]) -> Meaning:
    """Find out what labels mean, from all of them.

    The recipe's ``labels.kind`` decides where it says something. With ``auto``, one target with two different whole
    numbers or words is binary; with up to 20 different ones it is multi-class; other numbers are real. Several
    targets of 0 and 1 are multi-label, other numbers real. Blanks do not count. Words that differ in case only are
    one class, in the spelling of the recipe or the most frequent one, and a note says so.

    Args:
        rows: The words of each sample, one for each target.
        config: The recipe's ``data.labels``.
        targets: Names of the targets.

    Returns:
        Kind, classes and targets.

    Raises:
        RecipeError: If the recipe's kind cannot be with so many targets.
        DataError: If the labels cannot be of that kind, or there is nothing to tell apart.

    Example:
        >>> understand([["0"], ["1"], ["0"]], LabelsConfig(), ("level",))
        Meaning(kind='binary', classes=('0', '1'), targets=('level',))
    """
    kind: str = config.kind
    if kind in _SINGLE and len(targets) > 1:
        raise RecipeError(f"data.labels.kind: {kind} takes one target; data.labels.targets has {len(targets)}")
    words = [[word for word in row if not is_blank(word)] for row in rows]
    counts = Counter(word for row in words for word in row)
    if not counts:
        raise DataError("no sample has a label; look at data.labels.targets")
    if kind == "auto":
        kind = _kind_of_one(set(counts), config) if len(targets) == 1 else _kind_of_several(set(counts))
    if kind in _SINGLE:
        classes = _classes(kind, counts, config)
        return Meaning(kind, classes, tuple(targets), tuple(_spelling_notes(counts, classes)))
    return Meaning(kind, tuple(targets) if kind == "multi-label" else (), tuple(targets))


def clean(text: str) -> str:
    """Return a word without surrounding blanks, its accents in one form (Unicode NFC)."""
    return unicodedata.normalize("NFC", text).strip()


def _kind_of_one(different: set[str], config: LabelsConfig) -> str:
    if config.classes:
        return "binary" if len(config.classes) == 2 else "multi-class"
    numbers = [as_number(word) for word in different]
    finite = [number for number in numbers if number is not None]
    if len(finite) == len(different) and not all(number.is_integer() for number in finite):
        return "real"
    classes = {_folded(word) for word in different}
    if len(classes) <= _MOST_CLASSES:
        return "binary" if len(classes) == 2 else "multi-class"
    # A typing error among many numbers is a problem of its line and makes no classes of the others.
    if len(finite) >= 0.9 * len(different):
        return "real"
    raise DataError(
        f"the labels are {len(different)} different words; set data.labels.kind=multi-class if these are classes, "
        "or name the right column in data.labels.targets"
    )


def _kind_of_several(different: set[str]) -> str:
    return "multi-label" if {as_number(word) for word in different} <= {0.0, 1.0} else "real"


def _classes(kind: str, counts: Mapping[str, int], config: LabelsConfig) -> tuple[str, ...]:
    if config.classes:
        classes = tuple(clean(name) for name in config.classes)
        if len(set(map(_plain, classes))) != len(classes):
            raise RecipeError("data.labels.classes: a class is there twice")
    else:
        classes = tuple(sorted(_spellings(counts), key=_order))
    named = ", ".join(classes[:_SHOWN]) + (" and more" if len(classes) > _SHOWN else "")
    if len(classes) < 2:
        raise DataError(f"there is one class only ({named}); a classifier needs two")
    if kind == "binary" and len(classes) != 2:
        raise DataError(f"data.labels.kind is binary and there are {len(classes)} classes: {named}")
    return classes


def _spellings(counts: Mapping[str, int]) -> list[str]:
    """The most frequent spelling of each class."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for word, count in counts.items():
        found[_folded(word)][_plain(word)] += count
    return [min(spelt, key=lambda name: (-spelt[name], name)) for spelt in found.values()]


def _class_of(word: str, classes: Sequence[str]) -> str | None:
    """The class that a word means: the one that is written so, or the only one that differs in case alone."""
    same = [name for name in classes if _plain(name) == _plain(word)]
    alike = same or [name for name in classes if _folded(name) == _folded(word)]
    return alike[0] if len(alike) == 1 else None


def _spelling_notes(counts: Mapping[str, int], classes: Sequence[str]) -> Iterator[str]:
    plain = {_plain(name) for name in classes}
    for word, count in sorted(counts.items()):
        name = _class_of(word, classes)
        if name is not None and _plain(word) not in plain:
            images = counted(count, "image")
            yield f"{word!r} ({images}) is taken for the class {name!r}: the names differ in case only."


def _folded(word: str) -> str:
    return _plain(word).casefold()


def _plain(word: str) -> str:
    """``1.0`` is the class 1, as a program that knows blanks writes it; ``01`` stays the word that it is."""
    number = as_number(word)
    decimal = "." in word or "e" in word.lower()
    return str(int(number)) if decimal and number is not None and number.is_integer() else word


def _order(word: str) -> tuple[float, str]:
    """Numbers by their value, then words."""
    number = as_number(word)
    return (math.inf if number is None else number), word
