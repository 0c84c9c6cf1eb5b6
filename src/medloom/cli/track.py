"""``medloom track``."""

from __future__ import annotations

from typing import Annotated

import typer

from medloom import pipeline
from medloom.cli.options import RUNS, JsonOption, RunArgument, RunsOption, SetOption
from medloom.cli.output import print_result, table
from medloom.wording import counted

__all__ = ["command"]

_Trackers = Annotated[
    list[str] | None,
    typer.Option(
        "--tracker",
        metavar="NAME",
        help="mlflow, wandb or tensorboard; may be given several times. Default: the recipe's, else mlflow.",
    ),
]


def command(
    run: RunArgument,
    tracker: _Trackers = None,
    overrides: SetOption = None,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Send trackers what they do not have of a run and of its folds: all of it, or what was missed.

    What is sent is read from the run directory: the recipe, metrics of each epoch, the machine's use, what was
    measured, pages, pictures and the bundle; no path of this machine and no name of a patient. Sent twice, nothing is
    doubled. --set tracking.pictures=false leaves out what shows images.
    """
    with pipeline.opened_run(run, runs, overrides or (), command="track") as opened:
        sent = pipeline.track(opened, tracker)
    rows = [(name, counted(one.points, "value"), counted(one.files, "file")) for name, one in sent.items()]
    plain = {name: {"values": one.points, "files": one.files} for name, one in sent.items()}
    print_result(plain, f"Sent what was missing:\n{table(rows)}", as_json=as_json)
