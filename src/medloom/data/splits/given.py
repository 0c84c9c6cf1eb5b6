"""A split that is given in a file."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd

from medloom.errors import DataError

__all__ = ["HELD_OUT", "SPLITS", "check_given_split", "parts_in", "read_given_split"]

SPLITS = ("train", "validation", "test")
"""The three parts, in order."""

HELD_OUT = "held-out"
"""The part of a run with folds that no fold sees: on it the ensemble of the folds is measured."""


def parts_in(splits: pd.Series) -> list[str]:
    """Return the parts that there are to speak of: the three, and what is held out beside folds if anything is."""
    return [*SPLITS, *([HELD_OUT] if (splits == HELD_OUT).any() else [])]


def read_given_split(path: Path) -> dict[str, str]:
    """Read a split file: CSV with the columns ``patient`` and ``split``.

    Names stay strings (``007`` is not 7); a byte-order mark and Windows line ends do no harm.

    Args:
        path: The file, in UTF-8.

    Returns:
        The split of each patient, by the name that the data set gives the patient.

    Raises:
        DataError: If the file cannot be read, a column is missing, a value is unknown, or a patient is named
            twice with different splits; every line concerned is listed.
    """
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True)
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error  # an OSError repeats the path
        raise DataError(f"cannot read the split file {path}: {reason}") from error
    if not {"patient", "split"} <= set(reader.fieldnames or ()):
        raise DataError(f"the split file {path} needs the columns patient and split, found {reader.fieldnames or []}")
    given: dict[str, str] = {}
    problems = [problem for line, row in rows if (problem := _take(given, line, row))]
    if problems:
        raise DataError(f"the split file {path} has {len(problems)} wrong lines", problems)
    return given


def _take(given: dict[str, str], line: int, row: dict[str, str | None]) -> str | None:
    """Enter one row, or say what is wrong with it."""
    patient, split = (row["patient"] or "").strip(), (row["split"] or "").strip().lower()
    if not patient:
        return f"line {line}: no patient"
    if split not in SPLITS:
        return f"line {line}: split {split!r} of patient {patient!r} is none of {', '.join(SPLITS)}"
    if given.setdefault(patient, split) != split:
        return f"line {line}: patient {patient!r} is {split} here and {given[patient]} above"
    return None


def check_given_split(frame: pd.DataFrame) -> None:
    """Refuse a ``given_split`` that is incomplete, unknown or divides a patient.

    Args:
        frame: With ``patient_id`` and ``given_split``.

    Raises:
        DataError: With every problem.
    """
    values = frame["given_split"].fillna("").astype(str)
    found = values.groupby(frame["patient_id"]).unique()
    problems = [
        problem for patient, splits in found.items() if (problem := _patient_problem(str(patient), set(splits)))
    ]
    problems += [f"no patient is in {split}" for split in SPLITS if not (values == split).any()]
    if problems:
        raise DataError("the given split does not fit the data; complete or correct the file in split.file", problems)


def _patient_problem(patient: str, splits: set[str]) -> str | None:
    if splits == {""}:
        return f"patient {patient} has no split"
    unknown = sorted(splits - set(SPLITS) - {""})
    if unknown:
        return f"patient {patient}: {', '.join(map(repr, unknown))} is none of {', '.join(SPLITS)}"
    if len(splits) > 1:
        return f"patient {patient} is in several splits: {', '.join(sorted(splits - {''}))}"
    return None
