"""The catalogue: a table with one row a sample, which every later stage reads instead of walking folders."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from medloom.errors import DataError
from medloom.files import write_text

__all__ = ["COLUMNS", "image_files", "join_files", "read_catalogue", "write_catalogue"]

COLUMNS = (
    "sample_id",
    "patient_id",
    "image",
    "frame",
    "mask",
    "height",
    "width",
    "channels",
    "dtype",
    "sha256",
    "lesion_px",
    "split",
    "fold",
)
"""``sample_id`` and ``patient_id`` are pseudonyms; ``image`` and ``mask`` are paths inside the source and the
only columns that may hold a patient's name. ``lesion_px`` counts foreground pixels of the mask as it came;
``fold`` is -1 without folds."""

_NUMBERS = ("frame", "height", "width", "channels", "lesion_px", "fold")


def write_catalogue(catalogue: pd.DataFrame, path: Path) -> None:
    """Write a catalogue as CSV, atomically, with the columns of ``COLUMNS``."""
    write_text(path, catalogue.loc[:, list(COLUMNS)].to_csv(index=False, lineterminator="\n"))


def read_catalogue(path: Path) -> pd.DataFrame:
    """Read a catalogue; identifiers stay strings (``007`` is not 7).

    Raises:
        DataError: If the file is missing or lacks a column.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise DataError(f"cannot read the catalogue {path.name}: run `medloom prepare` first") from error
    catalogue = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    missing = [column for column in COLUMNS if column not in catalogue.columns]
    if missing:
        raise DataError(f"the catalogue {path.name} lacks {', '.join(missing)}; run `medloom prepare` again")
    return catalogue.astype(dict.fromkeys(_NUMBERS, "int64"))


def join_files(files: Sequence[str]) -> str:
    """Put the files of one image into a cell: a path, or a JSON list where each channel has its own file."""
    return files[0] if len(files) == 1 else json.dumps(list(files), ensure_ascii=False)


def image_files(cell: str) -> list[str]:
    """Take the files of one image out of a cell; an empty path stands for a missing channel."""
    return [str(name) for name in json.loads(cell)] if cell.startswith("[") else [cell]
