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
        outside: Columns with a number outside what any member of the model saw in training.
        said: A sentence for each column in ``unknown`` or ``outside``; no value is repeated.
    """

    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    said: tuple[str, ...] = ()

    def plain(self) -> dict[str, list[str]]:
        """Return plain JSON types."""
        return {"missing": list(self.missing), "unknown": list(self.unknown), "outside": list(self.outside)}


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
    foreign = [table.foreign(words) for table in tables]
    # What one member of the model saw is known to it.
    shared = {name: text for name, text in foreign[0].items() if all(name in one for one in foreign)}
    numeric = {part.column for part in tables[0].numeric}
    return MetadataGaps(
        missing,
        tuple(name for name in shared if name not in numeric),
        tuple(name for name in shared if name in numeric),
        tuple(f"metadata {name}: {text}" for name, text in shared.items()),
    )


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
