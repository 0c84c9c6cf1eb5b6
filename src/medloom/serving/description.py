"""What a model takes and gives, for whoever writes a client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medloom.data.metadata import TableEncoding
from medloom.inference import Predictor
from medloom.inference.fingerprint import Fingerprint
from medloom.packaging import Manifest
from medloom.serving.answers import media_types
from medloom.serving.problems import ACCEPTED

__all__ = ["describe", "image_forms", "volume_forms"]


def describe(predictor: Predictor, manifest: Manifest, max_body_bytes: int) -> dict[str, Any]:
    """Return what a request may hold and what its answer says, as plain JSON types.

    Args:
        predictor: What answers.
        manifest: The bundle's manifest.
        max_body_bytes: Largest body that is taken.
    """
    return {
        "model": {
            "name": manifest.name,
            "phantom": manifest.phantom,
            "digest": manifest.algorithm.identity,
            "medloom": manifest.medloom,
        },
        "target": predictor.target.plain(),
        "operating_point": predictor.point.plain(),
        "views": predictor.views,
        "channels": list(predictor.channels),
        "page": manifest.input.page,
        "context": predictor.context,
        "metadata": _columns(predictor.tables),
        "content_types": list(ACCEPTED),
        "answers": list(image_forms(predictor)),
        "volume_answers": list(volume_forms(predictor)),
        "max_body_bytes": max_body_bytes,
        "fingerprint": _fingerprint(predictor.fingerprint),
    }


def _fingerprint(known: Fingerprint | None) -> dict[str, Any] | None:
    """Against what each image is tested; None where nothing can be said."""
    if known is None:
        return None
    plain = {"images": known.images, "held_out": known.held_out, "false_alarms": known.false_alarms}
    return {**plain, "embedding": known.embedding is not None}


def image_forms(predictor: Predictor) -> tuple[str, ...]:
    """Return the media types of an answer to one image; with context there is none, only those of volumes."""
    return media_types(predictor.target.kind, volume=predictor.context > 0)


def volume_forms(predictor: Predictor) -> tuple[str, ...]:
    """Return the media types of an answer to a volume."""
    return media_types(predictor.target.kind, volume=True)


def _columns(tables: Sequence[TableEncoding]) -> list[dict[str, Any]]:
    """Metadata columns; the categories are those that any member of the model saw in training."""
    if not tables:
        return []
    ranges: dict[str, list[float]] = {part.column: [] for part in tables[0].numeric}
    for number in (part for table in tables for part in table.numeric):
        ranges[number.column] += number.range or ()
    numbers = [
        {"column": name, "type": "number", **({"range": [min(seen), max(seen)]} if seen else {})}
        for name, seen in ranges.items()
    ]
    words: dict[str, set[str]] = {part.column: set() for part in tables[0].categorical}
    for part in (part for table in tables for part in table.categorical):
        words.setdefault(part.column, set()).update(part.categories)
    return [
        *numbers,
        *({"column": name, "type": "category", "categories": sorted(seen)} for name, seen in words.items()),
    ]
