"""The last stage: pages for people."""

from __future__ import annotations

from pathlib import Path

from medloom.evaluation.parts import read_summary
from medloom.events import Events, FileMade, StageBegun, StageEnded
from medloom.pipeline.identity import check_trained
from medloom.pipeline.measuring import newest_measured
from medloom.pipeline.runs import Run
from medloom.reports import write_data_report, write_run_report

__all__ = ["report"]

_VALIDATION_PAGE = "validation_report.html"


def report(run: Run, *, events: Events | None = None) -> list[Path]:
    """Write the pages from the facts that the stages left.

    Args:
        run: The run.
        events: Told of each page.

    Returns:
        The pages.

    Raises:
        DataError: If the run does not stand on what was trained on.
    """
    events = events or Events()
    events.emit(StageBegun("report", run.folder))
    check_trained(run)
    pages = [write_data_report(run.folder), *_run_reports(run)]
    for page in pages:
        events.emit(FileMade(page))
    events.emit(StageEnded("report", run.folder))
    return pages


def _run_reports(run: Run) -> list[Path]:
    """The page of the run; validation alone, where it was measured beside test, has one of its own."""
    shown = newest_measured(run)
    pages = [write_run_report(run.folder, shown.part, changed=shown.changed)]
    if shown.part == "test" and read_summary(run.folder, "validation"):
        pages.append(write_run_report(run.folder, "validation", page=_VALIDATION_PAGE))
    return pages
