"""What the reports must know of a kind of answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medloom.reports.facts import Facts

__all__ = ["Section"]


@dataclass(frozen=True)
class Section:
    """What the reports say of one kind of answer.

    Args:
        measured: From the ``evaluation`` folder and its summary (empty if nothing was measured) to what the templates
            show: at least ``measured``, ``counts`` and ``counted_as``.
        words: From a summary to what was measured, in sentences for people who do not know the metrics.
        warnings: From a summary to what a reader must know before believing a metric.
        prepared: From ``prepare.json`` and the facts of the data report to what that report shows.
        template: The template of what was measured.
        cases: The template of the single cases; empty for none.
        notebook: The template of the cells of the notebook.
        training_note: What is said below the curves of the training.
    """

    measured: Callable[[Path, Facts], Facts]
    words: Callable[[Facts], list[str]]
    warnings: Callable[[Facts], list[str]]
    prepared: Callable[[Facts, Facts], Facts]
    template: str
    notebook: str
    cases: str = ""
    training_note: str = ""
