"""The last stage: pages for people."""

from __future__ import annotations

from pathlib import Path

from medloom.events import Events, FileMade, StageBegun, StageEnded
from medloom.pipeline.identity import check_trained
from medloom.pipeline.runs import Run
from medloom.reports import write_data_report, write_run_report

__all__ = ["report"]


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
    pages = [write_data_report(run.folder), write_run_report(run.folder)]
    for page in pages:
        events.emit(FileMade(page))
    events.emit(StageEnded("report", run.folder))
    return pages
