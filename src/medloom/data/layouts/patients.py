"""Whose image it is, as far as a file's name says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

__all__ = ["PatientPattern"]


class PatientPattern:
    """Finds the patient in a file's name.

    The patient is the first group of the pattern and nothing else, in whatever folder the file is: two people who are
    taken for one only make the split coarser, but one person who is taken for two is in training and in test. Where a
    number is used twice for different people, put what tells them apart into the group:
    ``(person\\d+|(?:NORMAL2-)?IM-\\d+)``.

    Args:
        pattern: Regular expression with one group, searched in the file's name; None: every file is a patient.

    Example:
        >>> PatientPattern(r"person(\\d+)_")("val/PNEUMONIA/person83_bacteria_407.jpeg")
        '83'
    """

    def __init__(self, pattern: str | None) -> None:
        self._expression = re.compile(pattern) if pattern else None

    def __call__(self, path: str) -> str:
        """Return the patient; the whole path where the pattern is not found, which is a patient of its own."""
        found = self._expression.search(PurePosixPath(path).name) if self._expression else None
        return (found.group(1) if found else "") or path

    def notes(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return what a user should know about the patients of these files."""
        if self._expression is None:
            return (
                "No patient is known: every image counts as a patient of its own, and images of one patient may be in "
                "training and test; the metrics may be too good. See data.labels.patient and patient_pattern.",
            )
        listed = list(paths)
        alone = sum(self(path) == path for path in listed)
        if not alone:
            return ()
        return (
            f"data.labels.patient_pattern is not found in {alone} of {len(listed)} file names: each of these images "
            "counts as a patient of its own.",
        )
