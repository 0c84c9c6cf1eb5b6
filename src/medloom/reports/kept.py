"""What readers must know of a run that has its operating point from another one."""

from __future__ import annotations

from pathlib import Path

from medloom.reports.facts import read_facts

__all__ = ["KEPT", "kept_text"]

KEPT = "kept_point.json"
"""An operating point that a run has from another one, and what readers must know of that."""


def kept_text(run_dir: Path) -> str:
    """Return what readers must know of the point that a run keeps; empty if it chose its own."""
    return str(read_facts(run_dir / KEPT).get("text", ""))
