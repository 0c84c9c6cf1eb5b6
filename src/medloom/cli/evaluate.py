"""``medloom evaluate``."""

from __future__ import annotations

from medloom.cli import stages
from medloom.cli.options import JsonOption, RunArgument, RunsOption, SetOption
from medloom.cli.output import print_result, table

__all__ = ["command"]


def command(
    run: RunArgument, overrides: SetOption = None, runs: RunsOption = stages.RUNS, as_json: JsonOption = False
) -> None:
    """Choose the operating point on the validation patients and measure the best weights on the test patients."""
    opened = stages.open_run(run, runs, overrides)
    summary = stages.evaluate_stage(opened)
    figures = table(stages.figure_rows(summary))
    print_result(summary, f"{figures}\nNext:\n  medloom package {opened.folder}", as_json=as_json)
