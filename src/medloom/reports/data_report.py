"""The data report: what ``prepare`` found, as one HTML page."""

from __future__ import annotations

from pathlib import Path

from medloom import __version__
from medloom.files import read_json, write_text
from medloom.reports.html import render

__all__ = ["write_data_report"]


def write_data_report(run_dir: Path) -> Path:
    """Write ``data_report.html`` from the facts that ``prepare`` left in the run directory.

    Args:
        run_dir: The run directory with ``prepare.json`` and ``data_report/``.

    Returns:
        The path of the page.
    """
    prepared = read_json(run_dir / "prepare.json")
    page = render("data_report.html", phantom=bool(prepared["phantom"]), version=__version__, prepared=prepared)
    path = run_dir / "data_report.html"
    write_text(path, page)
    return path
