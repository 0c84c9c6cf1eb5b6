"""``medloom package``."""

from __future__ import annotations

from medloom import pipeline
from medloom.cli.display import Display
from medloom.cli.options import RUNS, JsonOption, RunArgument, RunsOption, SetOption
from medloom.cli.output import print_result
from medloom.events import Events
from medloom.extras import require

__all__ = ["command"]


def command(
    run: RunArgument, overrides: SetOption = None, runs: RunsOption = RUNS, as_json: JsonOption = False
) -> None:
    """Write the bundle of an evaluated run: one file that predicts, verifies itself and serves."""
    with pipeline.opened_run(run, runs, overrides or (), command="package") as opened, Display() as display:
        require("torch", "train")
        with pipeline.tracked(opened, Events([display])) as events:
            bundle = str(pipeline.package(opened, events=events))
    print_result({"bundle": bundle}, f"{bundle}\nNext:\n  medloom verify {bundle}", as_json=as_json)
