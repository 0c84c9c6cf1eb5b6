"""``medloom report``."""

from __future__ import annotations

from medloom import pipeline
from medloom.cli.display import Display
from medloom.cli.options import RUNS, JsonOption, RunArgument, RunsOption
from medloom.cli.output import print_result
from medloom.events import Events

__all__ = ["command"]


def command(run: RunArgument, runs: RunsOption = RUNS, as_json: JsonOption = False) -> None:
    """Write the pages of a run from the facts that its stages left: one self-contained HTML file each."""
    with (
        pipeline.opened_run(run, runs, command="report") as opened,
        Display() as display,
        pipeline.tracked(opened, Events([display])) as events,
    ):
        pages = [str(page) for page in pipeline.report(opened, events=events)]
    print_result({"pages": pages}, "\n".join(pages), as_json=as_json)
