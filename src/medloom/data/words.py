"""Words of labels: which of them mean the same class, and in which order classes come."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from medloom.data.metadata import as_number
from medloom.wording import counted

__all__ = ["LabelError", "class_of", "clean", "folded", "in_order", "plain", "spelling_notes", "spellings"]


class LabelError(ValueError):
    """A label that does not fit; the message names neither the file nor the line."""


def clean(text: str) -> str:
    """Return a word without surrounding blanks, its accents in one form (Unicode NFC)."""
    return unicodedata.normalize("NFC", text).strip()


def plain(word: str) -> str:
    """Return the word for a class: ``1.0`` is the class 1, as a program that knows blanks writes it; ``01`` stays."""
    number = as_number(word)
    decimal = "." in word or "e" in word.lower()
    return str(int(number)) if decimal and number is not None and number.is_integer() else word


def folded(word: str) -> str:
    """Return the word without differences in case."""
    return plain(word).casefold()


def spellings(counts: Mapping[str, int]) -> list[str]:
    """Return the most frequent spelling of each class."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for word, count in counts.items():
        found[folded(word)][plain(word)] += count
    return [min(spelt, key=lambda name: (-spelt[name], name)) for spelt in found.values()]


def class_of(word: str, classes: Sequence[str]) -> str | None:
    """Return the class that a word means: the one that is written so, or the only one that differs in case alone."""
    same = [name for name in classes if plain(name) == plain(word)]
    alike = same or [name for name in classes if folded(name) == folded(word)]
    return alike[0] if len(alike) == 1 else None


def spelling_notes(counts: Mapping[str, int], classes: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each word that is taken for a class that is written otherwise."""
    written = {plain(name) for name in classes}
    for word, count in sorted(counts.items()):
        name = class_of(word, classes)
        if name is not None and plain(word) not in written:
            images = counted(count, "image")
            yield f"{word!r} ({images}) is taken for the class {name!r}: the names differ in case only."


def in_order(word: str) -> tuple[float, str]:
    """Return a sort key: numbers by their value, then words."""
    number = as_number(word)
    return (math.inf if number is None else number), word
