"""Metadata that come with an image: as numbers for the network, and what they left open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.data.metadata import TableEncoding, is_blank
from medloom.data.words import clean
from medloom.errors import InputError

__all__ = ["Metadata", "MetadataGaps", "encode", "gaps_of"]

Floats32 = NDArray[np.float32]
Metadata = Mapping[str, Any]
Tables = Sequence[TableEncoding]


@dataclass(frozen=True)
class MetadataGaps:
    """Metadata columns that told the model nothing about an image.

    Args:
        missing: Columns that were left out or blank.
        unknown: Columns with a category that no member of the model saw in training.
    """

    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def plain(self) -> dict[str, list[str]]:
        """Return plain JSON types."""
        return {"missing": list(self.missing), "unknown": list(self.unknown)}


def encode(tables: Tables, metadata: Sequence[Metadata]) -> Floats32 | None:
    """Return the numbers that the network sees.

    Args:
        tables: One for each member of the model, all of the same columns; empty if it takes no metadata.
        metadata: Values by column of each of N images; a missing one counts as blank.

    Returns:
        ``(N, F)``, or None if the model takes none.

    Raises:
        InputError: If a column is not known, or a value is not a number where one is expected.
    """
    if not tables:
        if any(metadata):
            raise InputError("this model takes no metadata; send the image alone")
        return None
    rows = [_row(one, tables[0].columns) for one in metadata]
    return np.concatenate([table.encode(rows) for table in tables], axis=1)


def gaps_of(tables: Tables, metadata: Metadata) -> MetadataGaps | None:
    """Return what the metadata of an image left open; None if the model takes none."""
    if not tables:
        return None
    words = {name: clean(text) for name, text in _row(metadata, tables[0].columns).items()}
    missing = tuple(name for name, word in words.items() if is_blank(word))
    parts = [part for table in tables for part in table.categorical]
    seen = {part.column for part in parts if words[part.column] in part.categories}
    columns = dict.fromkeys(part.column for part in parts)
    return MetadataGaps(missing, tuple(name for name in columns if name not in seen and name not in missing))


def _row(metadata: Metadata, columns: Sequence[str]) -> dict[str, str]:
    unknown = [name for name in metadata if name not in columns]
    if unknown:
        raise InputError(f"{len(unknown)} metadata column(s) are not known; this model takes {', '.join(columns)}")
    return {name: _text(metadata.get(name)) for name in columns}


def _text(value: object) -> str:
    """A value as a table holds it; nothing is blank."""
    if value is None:
        return ""
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value)
    raise InputError(f"a metadata value is {type(value).__name__}; expected text, a number or nothing")
