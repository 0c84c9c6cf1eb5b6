"""What is searched by default for each kind of answer: the one table by which this room tells kinds apart."""

from __future__ import annotations

__all__ = ["KINDS"]

KINDS: dict[str, str] = {
    "masks": "masks",
    "binary": "labels",
    "multi-class": "labels",
    "multi-label": "labels",
    "regression": "numbers",
}
"""Name of a space in ``medloom.registry.SPACES``."""
