"""``medloom package``."""

from __future__ import annotations

from medloom import pipeline
from medloom.cli import stages
from medloom.cli.options import JsonOption, RunArgument, RunsOption, SetOption
from medloom.cli.output import print_result

__all__ = ["command"]


def command(
    run: RunArgument, overrides: SetOption = None, runs: RunsOption = stages.RUNS, as_json: JsonOption = False
) -> None:
    """Write the bundle of an evaluated run: one file that predicts, verifies itself and serves."""
    opened = stages.open_run(run, runs, overrides)
    pipeline.package(opened)
    bundle = str(opened.bundle)
    print_result({"bundle": bundle}, f"{bundle}\nNext:\n  medloom verify {bundle}", as_json=as_json)
