"""``medloom train``."""

from __future__ import annotations

from medloom.cli import stages
from medloom.cli.options import JsonOption, RunArgument, RunsOption, SetOption
from medloom.cli.output import print_result

__all__ = ["command"]


def command(
    run: RunArgument, overrides: SetOption = None, runs: RunsOption = stages.RUNS, as_json: JsonOption = False
) -> None:
    """Train the network of a prepared run, or go on where it was stopped.

    A finished run is extended with more epochs: --set train.epochs=80.
    """
    opened = stages.open_run(run, runs, overrides)
    facts = stages.train_stage(opened)
    print_result(facts, f"{stages.trained_text(facts)}\nNext:\n  medloom evaluate {opened.folder}", as_json=as_json)
