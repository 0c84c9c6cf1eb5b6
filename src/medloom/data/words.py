"""Words of labels: which of them mean the same class, and in which order classes come."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from medloom.data.metadata import as_number
from medloom.wording import counted

__all__ = [
    "LabelError",
    "class_of",
    "clean",
    "folded",
    "in_order",
    "is_minus_one",
    "joined_note",
    "joined_words",
    "plain",
    "spelling_notes",
    "spellings",
]

_JOINED = re.compile(r"\s*[|;]\s*")


class LabelError(ValueError):
    """A label that does not fit; the message names neither the file nor the line."""


def clean(text: str) -> str:
    """Return a word without surrounding blanks, its accents in one form (Unicode NFC)."""
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).strip()


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


def joined_words(words: Iterable[str]) -> list[str]:
    """Return the words that are several labels of one image, such as ``Oedema|Effusion``.

    A bar or a semicolon alone does not make them so: one of the parts must be a label elsewhere.

    Example:
        >>> joined_words(["Oedema", "Effusion|Oedema", "grade I|II"])
        ['Effusion|Oedema']
    """
    parts = {word: [folded(part) for part in _JOINED.split(word) if part] for word in words}
    seen = Counter(part for found in parts.values() for part in set(found))
    return [word for word, found in parts.items() if len(found) > 1 and any(seen[part] > 1 for part in found)]


def joined_note(counts: Mapping[str, int]) -> Iterator[str]:
    """Yield a sentence where words are several labels of one image, which a class is not."""
    joined = sorted(joined_words(counts))
    if joined:
        images = counted(sum(counts[word] for word in joined), "image has", "images have")
        yield (
            f"{images} several labels in one word, such as {joined[0]!r}, and each such word counts as a class of its "
            "own. Where an image may have several labels, set target.kind=multi-label."
        )


def is_minus_one(word: str) -> bool:
    """Whether a word is the number -1, which stands for an uncertain label in some sets."""
    return as_number(word) == -1.0


def in_order(word: str) -> tuple[float, str]:
    """Return a sort key: numbers by their value, then words."""
    number = as_number(word)
    return (math.inf if number is None else number), word
