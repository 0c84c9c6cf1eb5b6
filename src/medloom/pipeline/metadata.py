"""How a run's metadata become numbers, fitted on its training rows: ``table.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medloom import data
from medloom.data import TableEncoding
from medloom.files import read_json, write_json
from medloom.pipeline.runs import Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_encoding", "write_encoding"]

_FILE = "table.json"


def write_encoding(run: Run, catalogue: pd.DataFrame) -> None:
    """Fit the encoding on the training rows, where the network takes metadata."""
    path = run.folder / _FILE
    path.unlink(missing_ok=True)
    plain = run.recipe.plain()
    if plain["model"].get("metadata", "none") != "none":
        rows = data.meta_of(catalogue[catalogue["split"] == "train"])
        columns = plain["data"]["labels"]["metadata"]
        write_json(path, TableEncoding.fit(rows, columns["numeric"], columns["categorical"]).plain())


def read_encoding(run: Run) -> TableEncoding | None:
    """Return how the run encodes metadata; None if its network takes none."""
    path = run.folder / _FILE
    return TableEncoding.from_plain(read_json(path)) if path.is_file() else None
