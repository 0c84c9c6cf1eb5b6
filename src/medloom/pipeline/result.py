"""What a whole run gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["RunResult"]


@dataclass(frozen=True)
class RunResult:
    """A run from images to a bundle, or to where it was stopped.

    Args:
        folder: The run directory.
        prepared: Facts of the preparation, as in ``prepare.json``.
        training: Facts of the training, as in ``training.json``; empty if it has not begun.
        summary: What was measured, as in ``evaluation/summary.json``; empty if the run was stopped before.
        bundle: The bundle; None if the run was stopped before.
        pages: The pages for people.
        set_aside: One line for each input that was set aside. They may hold names of patients: keep them nowhere.
        stopped: Why the run was stopped before its end; None if it was not. The same call goes on from there.
    """

    folder: Path
    prepared: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    bundle: Path | None = None
    pages: tuple[Path, ...] = ()
    set_aside: tuple[str, ...] = ()
    stopped: str | None = None

    @property
    def phantom(self) -> bool:
        """Whether the images were phantoms, so that the metrics say nothing about people."""
        return bool(self.prepared.get("phantom"))

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types, without what may name patients."""
        return {
            "run": str(self.folder),
            "phantom": self.phantom,
            "bundle": None if self.bundle is None else str(self.bundle),
            "pages": [str(page) for page in self.pages],
            "prepared": self.prepared,
            "training": self.training,
            "summary": self.summary,
        }
