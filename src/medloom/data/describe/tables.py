"""Tables beside the data report."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medloom.files import write_text

__all__ = ["write_table"]


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, numbers with seven digits that count."""
    write_text(path, table.to_csv(index=False, lineterminator="\n", float_format="%.7g"))
