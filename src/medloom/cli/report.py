"""``medloom report``."""

from __future__ import annotations

from typing import Annotated

import typer

from medloom import pipeline
from medloom.cli.display import Display
from medloom.cli.options import RUNS, JsonOption, RunArgument, RunsOption
from medloom.cli.output import print_result
from medloom.events import Events

__all__ = ["command"]


def command(
    run: RunArgument,
    runs: RunsOption = RUNS,
    notebook: Annotated[
        bool,
        typer.Option("--notebook", help="Also a Jupyter notebook that makes each figure again from the run's files."),
    ] = False,
    pdf: Annotated[bool, typer.Option("--pdf", help="Also each page as PDF; needs Chromium or Chrome.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the pages of a run from the facts that its stages left: one self-contained HTML file each."""
    with (
        pipeline.opened_run(run, runs, command="report") as opened,
        Display() as display,
        pipeline.tracked(opened, Events([display])) as events,
    ):
        pages = pipeline.report(opened, events=events)
        further = [pipeline.report_notebook(opened)] if notebook else []
        further += pipeline.report_pdfs(pages) if pdf else []
    made = [str(path) for path in (*pages, *further)]
    print_result(
        {"pages": [str(page) for page in pages], "further": list(map(str, further))}, "\n".join(made), as_json=as_json
    )
