"""Whose image it is, as far as a file's name says."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["HINT", "PatientPattern", "alike", "without_fractions"]

HINT = "Name what says it in data.labels.patient or data.labels.patient_pattern."
"""What a recipe for labels does about images whose patient is not known."""

_WHOLE = re.compile(r"(\d+)\.0+")
_SET = re.compile(r"\\[^/]|\[[^\]]*\]")
"""What of a pattern is an escaped character, but for a slash, or a set of characters."""


class PatientPattern:
    """Finds the patient in a file's name, or with a pattern that has a slash, in its path.

    The patient is the first group of the pattern and nothing else, in whatever folder the file is: two people who are
    taken for one only make the split coarser, but one person who is taken for two is in training and in test. Where a
    number is used twice for different people, put what tells them apart into the group:
    ``(person\\d+|(?:NORMAL2-)?IM-\\d+)``.

    Args:
        pattern: Regular expression with one group, searched in the file's name, or with a slash outside of brackets in
            the whole path; None: every file is a patient.

    Example:
        >>> PatientPattern(r"person(\\d+)_")("val/PNEUMONIA/person83_bacteria_407.jpeg")
        '83'
        >>> PatientPattern(r"(patient\\d+)/")("train/patient00001/study1/view1_frontal.jpg")
        'patient00001'
    """

    def __init__(self, pattern: str | None) -> None:
        self._expression = re.compile(pattern) if pattern else None
        self._in_path = "/" in _SET.sub("", pattern or "")

    def __call__(self, path: str) -> str:
        """Return the patient; the whole path where the pattern is not found, which is a patient of its own."""
        if self._expression is None:
            return path
        found = self._expression.search(path if self._in_path else path.rpartition("/")[2])
        return (found.group(1) if found else "") or path

    def finds(self, path: str) -> bool:
        """Return whether the pattern says whose image a file is."""
        return self(path) != path

    @property
    def source(self) -> str:
        """What says whose an image is; empty without a pattern."""
        return "data.labels.patient_pattern" if self._expression else ""


def without_fractions(names: Iterable[str]) -> dict[str, str]:
    """Return what each number written as ``3.0`` is to be called where the same one is written as ``3`` too.

    Spreadsheets write a column of whole numbers so where it has a blank.

    Example:
        >>> without_fractions(["3", "3.0", "7.0"])
        {'3.0': '3'}
    """
    there = set(names)
    found = ((name, _WHOLE.fullmatch(name)) for name in sorted(there))
    return {name: match[1] for name, match in found if match and match[1] in there}


def alike(names: Iterable[str]) -> int:
    """Return how many names may be another's: the same but for case, leading zeros or ``.0``.

    Example:
        >>> alike(["1", "001", "2", "x7", "X07"])
        2
    """
    different = set(names)
    plain = {re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"\.0+$", "", name.strip().casefold())) for name in different}
    return len(different) - len(plain)
