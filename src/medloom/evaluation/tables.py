"""The per-case table as a file: the one source of every metric."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medloom.files import write_text

__all__ = ["BASELINE_PREFIX", "GROUP_PREFIX", "UNCALIBRATED", "read_cases", "write_table"]

GROUP_PREFIX = "group_"
"""Columns of the per-case table by which metrics are also taken."""

UNCALIBRATED = "uncalibrated_"
"""Columns of the per-case table with what there was before the calibration, such as ``uncalibrated_score``."""

BASELINE_PREFIX = "baseline_"
"""Columns of the per-case table with what a cheap model said, such as ``baseline_perceptron_score``."""


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, atomically."""
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def read_cases(path: Path) -> pd.DataFrame:
    """Read a per-case table; identifiers and groups stay words, so that a group may be called 1 or NA.

    Args:
        path: ``cases.csv`` of an evaluation.
    """
    columns = pd.read_csv(path, nrows=0).columns
    words = ["sample_id", "patient_id", *(name for name in columns if str(name).startswith(GROUP_PREFIX))]
    return pd.read_csv(path, dtype=dict.fromkeys(words, str), keep_default_na=False, na_values=[""])
