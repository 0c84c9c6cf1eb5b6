"""The last stage: pages for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medloom.errors import UserError
from medloom.evaluation.parts import read_summary
from medloom.events import Events, FileMade, StageBegun, StageEnded
from medloom.pipeline.identity import check_trained
from medloom.pipeline.measuring import newest_measured
from medloom.pipeline.runs import Run
from medloom.reports import print_page, write_checklists, write_data_report, write_notebook, write_run_report

__all__ = ["report", "report_notebook", "report_pdfs"]

_VALIDATION_PAGE = "validation_report.html"


def report(run: Run, *, events: Events | None = None) -> list[Path]:
    """Write the pages from the facts that the stages left.

    Args:
        run: The run.
        events: Told of each page.

    Returns:
        The pages; the checklists, to which that of the run leads, are not among them.

    Raises:
        DataError: If the run does not stand on what was trained on.
    """
    events = events or Events()
    events.emit(StageBegun("report", run.folder))
    check_trained(run)
    beside = write_checklists(run.folder, newest_measured(run).part)
    pages = [write_data_report(run.folder), *_run_reports(run)]
    for page in (*pages, beside):
        events.emit(FileMade(page))
    events.emit(StageEnded("report", run.folder))
    return pages


def report_notebook(run: Run) -> Path:
    """Write a notebook that makes each figure of the report again from the files of the run.

    Args:
        run: The run; it must have been measured.

    Raises:
        UserError: If it was not.
    """
    shown = newest_measured(run)
    if not read_summary(run.folder, shown.part):
        raise UserError(f"--notebook: {run.folder} was not measured yet; run `medloom evaluate` first")
    return write_notebook(run.folder, shown.part)


def report_pdfs(pages: Sequence[Path]) -> list[Path]:
    """Print pages to PDF beside them.

    Args:
        pages: As ``report`` returns them.

    Raises:
        UserError: If no Chromium is there.
    """
    return [print_page(page) for page in pages]


def _run_reports(run: Run) -> list[Path]:
    """The page of the run; validation alone, where it was measured beside test, has one of its own."""
    shown = newest_measured(run)
    pages = [write_run_report(run.folder, shown.part, changed=shown.changed)]
    if shown.part == "test" and read_summary(run.folder, "validation"):
        pages.append(write_run_report(run.folder, "validation", page=_VALIDATION_PAGE))
    return pages
