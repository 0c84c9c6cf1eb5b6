"""The catalogue: a table with one row a sample, which every later stage reads instead of walking folders."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.data.sources import Source
from medloom.errors import DataError
from medloom.files import sha256_bytes, write_text

__all__ = [
    "COLUMNS",
    "image_files",
    "is_prepared",
    "join_files",
    "join_labels",
    "join_meta",
    "labels_of",
    "matches",
    "meta_of",
    "read_catalogue",
    "read_samples",
    "write_catalogue",
]

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
    "foreground_px",
    "labels",
    "meta",
    "split",
    "fold",
    "context",
)
"""``sample_id`` and ``patient_id`` are pseudonyms; ``image`` and ``mask`` are paths inside the source and the only
columns that may hold a patient's name. ``frame`` is the page, slice or frame of these files, counted from 0;
``sha256`` is of the file, or of its hash and the page. ``foreground_px`` counts foreground pixels of the mask as it
came; ``fold`` is -1 without folds. Without masks ``mask`` is empty and ``foreground_px`` 0; ``labels`` is a JSON
list of numbers (the class's index, or a number for each target; null where it is unknown) and ``meta`` a JSON object
of words, both empty where there are none. ``context`` is a JSON list of the samples that are seen beside each, from the
lowest place to the highest; without ``data.context`` the file does not have it."""

_LATE = ("labels", "meta", "context")
"""Columns that a catalogue may lack; empty there."""

_NUMBERS = ("frame", "height", "width", "channels", "foreground_px", "fold")


def write_catalogue(catalogue: pd.DataFrame, path: Path) -> None:
    """Write a catalogue as CSV, atomically, with the columns of ``COLUMNS``."""
    whole = _with_late(catalogue).loc[:, list(COLUMNS)]
    if not whole["context"].any():
        whole = whole.drop(columns="context")
    write_text(path, whole.to_csv(index=False, lineterminator="\n"))


def read_catalogue(path: Path) -> pd.DataFrame:
    """Read a catalogue; identifiers stay strings (``007`` is not 7).

    Raises:
        DataError: If the file is missing or lacks a column.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise DataError(f"cannot read the catalogue {path.name}: run `medloom prepare` first") from error
    catalogue = _with_late(pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False))
    missing = [column for column in COLUMNS if column not in catalogue.columns]
    if missing:
        raise DataError(f"the catalogue {path.name} lacks {', '.join(missing)}; run `medloom prepare` again")
    return catalogue.astype(dict.fromkeys(_NUMBERS, "int64"))


def read_samples(path: Path) -> pd.DataFrame:
    """Read a table with some of the columns of a catalogue; identifiers stay strings.

    Raises:
        DataError: If the file cannot be read.
    """
    try:
        table = pd.read_csv(io.StringIO(path.read_text("utf-8")), dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path.name}") from error
    return table.astype({column: "int64" for column in _NUMBERS if column in table})


def join_files(files: Sequence[str]) -> str:
    """Put the files of one image into a cell: a path, or a JSON list where each channel has its own file.

    Those of its mask in the same way: a list where several are joined.
    """
    return files[0] if len(files) == 1 else json.dumps(list(files), ensure_ascii=False)


def image_files(cell: str) -> list[str]:
    """Take the files of one image out of a cell; an empty path stands for a missing channel."""
    return [str(name) for name in json.loads(cell)] if cell.startswith("[") else [cell]


def join_labels(labels: Sequence[float] | None) -> str:
    """Put the labels of one image into a cell; whole numbers are written as such, and null for an unknown one."""
    if labels is None:
        return ""
    known = [None if math.isnan(label) else label for label in labels]
    return json.dumps([int(label) if label is not None and float(label).is_integer() else label for label in known])


def join_meta(meta: Mapping[str, str]) -> str:
    """Put the metadata of one image into a cell."""
    return json.dumps(dict(meta), ensure_ascii=False) if meta else ""


def labels_of(catalogue: pd.DataFrame) -> NDArray[np.float64]:
    """Return the labels of a catalogue.

    Args:
        catalogue: With the column ``labels``.

    Returns:
        ``(N, T)`` float64: the class's index where T is 1 and there are classes, else a number for each target. NaN
        where a label is unknown.

    Raises:
        DataError: If a sample has no labels, or another number of them than the first.

    Example:
        >>> labels_of(pd.DataFrame({"labels": ["[1]", "[0]"]})).tolist()
        [[1.0], [0.0]]
    """
    cells = catalogue["labels"].tolist()
    if not all(cells):
        raise DataError("the catalogue has samples without labels; run `medloom prepare` again")
    rows = [json.loads(cell) for cell in cells]
    if len({len(row) for row in rows}) > 1:
        raise DataError("the catalogue's samples have different numbers of labels; run `medloom prepare` again")
    return np.array(rows, np.float64).reshape(len(rows), -1)


def meta_of(catalogue: pd.DataFrame) -> list[dict[str, str]]:
    """Return the metadata of each sample as text; an empty mapping where there is none."""
    cells = catalogue["meta"].tolist()
    return [{str(key): str(value) for key, value in json.loads(cell).items()} if cell else {} for cell in cells]


def hash_of(hashes: Sequence[str], page: int | None) -> str:
    """Return the column ``sha256``: of the file, of several files' hashes, or of that and the page."""
    whole = hashes[0] if len(hashes) == 1 else digest(list(hashes))
    return whole if page is None else digest([whole, page])


def digest(value: object) -> str:
    """Return the SHA-256 of a value of plain JSON types."""
    return sha256_bytes(json.dumps(value, sort_keys=True).encode())


def matches(row: pd.Series, source: Source) -> bool:
    """Return whether a source holds the image of a row of the catalogue, byte for byte.

    Args:
        row: A row of the catalogue.
        source: Where its files may be.

    Raises:
        DataError: If a file cannot be read.
        OSError: The same.
    """
    hashes = [sha256_bytes(source.read(name)) if name else "" for name in image_files(row["image"])]
    return is_prepared({str(key): value for key, value in row.items()}, hashes)


def is_prepared(row: Mapping[str, Any], hashes: Sequence[str]) -> bool:
    """Return whether files are those of a row of the catalogue.

    Args:
        row: The row.
        hashes: SHA-256 of each file, empty for a channel without one.
    """
    return row["sha256"] in (hash_of(hashes, None), hash_of(hashes, int(row["frame"])))


def _with_late(catalogue: pd.DataFrame) -> pd.DataFrame:
    return catalogue.assign(**{column: "" for column in _LATE if column not in catalogue.columns})
