"""Whose the images are, as far as the numbers in their names say.

Of ``person12_bacteria_3`` the first number that differs between files is the patient and the last one counts that
patient's images. What a pattern repeats of a name are marks and words that many files share; every other word becomes
"any letters", so that no one's name gets into a recipe.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Numbering", "numbering", "template"]

_DIGITS = re.compile(r"(\d+)")
_MOST_SHAPES = 12
_FEWEST = 5
"""Fewer different numbers are sites or scanners rather than patients."""

_KNOWN_WORDS = frozenset(
    {"case", "exam", "im", "image", "img", "no", "normal", "normal2", "p", "pat", "patient", "person", "pid", "pt"}
    | {"s", "scan", "sub", "subj", "subject", "train", "test", "tcga", "study", "series"}
)


@dataclass(frozen=True)
class Numbering:
    """A number in the names that seems to say whose an image is.

    Args:
        pattern: Regular expression with one group that finds it in a file's name.
        patients: How many different ones there are.
        images: In how many files it was found.
    """

    pattern: str
    patients: int
    images: int


def numbering(stems: Sequence[str]) -> Numbering | None:
    """Find the patient in names of files, for a regular expression.

    Args:
        stems: Names without folder and suffix.

    Returns:
        What was found; None if no number repeats as those of patients with several images do.

    Example:
        >>> names = [f"person{patient}_bacteria_{image}" for patient in range(9) for image in range(2)]
        >>> numbering(names)
        Numbering(pattern='^(person\\\\d+)', patients=9, images=18)
    """
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for texts, rows in _shapes(stems).items():
        place = _patient_place(texts, rows)
        if place is not None:
            for row in rows:
                found[_before(texts, row, place)][row[place]] += 1
    people = sum(map(len, found.values()))
    images = sum(counts.total() for counts in found.values())
    if len(found) > _MOST_SHAPES or people < _FEWEST or people == images:
        return None
    heads = sorted(found, key=lambda head: (-len(head), head))
    pattern = "|".join(dict.fromkeys(f"{_expression(head)}\\d+" for head in heads))
    return Numbering(f"^({pattern})", people, images)


def template(stems: Sequence[str]) -> tuple[str, str] | None:
    """Find what stands before the patient and between patient and sample, for a pattern of files.

    Args:
        stems: Names without folder and suffix.

    Returns:
        The two texts; None unless all names are alike but for their numbers.

    Example:
        >>> template([f"patient{p}_slice_{s}" for p in range(9) for s in range(3)])
        ('', '_slice_')
    """
    shapes = _shapes(stems)
    if len(shapes) != 1:
        return None
    ((texts, rows),) = shapes.items()
    place = _patient_place(texts, rows)
    between = texts[place + 1] if place is not None else ""
    if place is None or not between or len({row[place] for row in rows}) < _FEWEST:
        return None
    before = _before(texts, rows[0], place)
    if len({row[place] for row in rows}) == len(rows) or "{" in before + between:
        return None
    if between in before:  # else the patient may begin with the word before the number
        return (before, between) if _expression(before) == _escaped(before) else None
    return "", between


def _shapes(stems: Sequence[str]) -> dict[tuple[str, ...], list[tuple[str, ...]]]:
    """Names that are alike but for their numbers: the texts between the numbers, and the numbers of each name."""
    found: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
    for stem in stems:
        parts = _DIGITS.split(stem)
        found[tuple(parts[::2])].append(tuple(parts[1::2]))
    return found


def _patient_place(texts: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> int | None:
    """Which number is the patient: the first that differs, if another one follows."""
    places = (place for place in range(len(texts) - 1) if len({row[place] for row in rows}) > 1)
    first = next(places, None)
    return first if first is not None and first < len(texts) - 2 else None


def _before(texts: tuple[str, ...], row: tuple[str, ...], place: int) -> str:
    """The text up to a number; the numbers in it are the same in every name."""
    return "".join(text + number for text, number in zip(texts[:place], row[:place], strict=True)) + texts[place]


def _expression(head: str) -> str:
    """A regular expression for a text in which only words that say nothing about a person stay as they are."""
    parts = re.split(r"([^\W\d_]+)", head)
    return "".join(
        part if part.lower() in _KNOWN_WORDS else "[^\\W\\d_]+" if part.isalpha() else _escaped(part) for part in parts
    )


def _escaped(text: str) -> str:
    return "".join(mark if mark.isalnum() or mark in "_- " else re.escape(mark) for mark in text)
