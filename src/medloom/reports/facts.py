"""What the stages wrote, read back; a stage that has not run wrote nothing."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from medloom.files import read_json

__all__ = ["Facts", "few_patients_warning", "read_facts", "read_test_rows"]

Facts = dict[str, Any]
"""Plain JSON types by name."""

_FEW_PATIENTS = 10


def read_facts(path: Path) -> Facts:
    """Return the facts of a stage, or nothing if it has not run."""
    facts: Facts = read_json(path) if path.is_file() else {}
    return facts


def read_test_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table that are of test cases, or nothing if there is no table."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as handle:
        return [row for row in csv.DictReader(handle) if row["split"] == "test"]


def few_patients_warning(patients: int) -> list[str]:
    """Return what a reader must know of figures on few test patients; nothing where there are enough."""
    if patients >= _FEW_PATIENTS:
        return []
    return [f"Only {patients} test patients: the intervals are wide and themselves uncertain."]
