"""``medloom trials``: trials of a study, until there are enough. ``medloom tune`` starts it as a job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medloom.cli.display import Display
from medloom.events import Events
from medloom.extras import require

__all__ = ["command"]


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Study directory.")],
    trials: Annotated[int, typer.Option("--trials", min=1, help="How many come to an end in all.")],
    data: Annotated[Path, typer.Option("--data", metavar="PATH", help="Folder or zip with the images.")],
    until: Annotated[
        float | None, typer.Option("--until", help="No trial begins after it; seconds since 1970.")
    ] = None,
) -> None:
    """Do trials of a prepared study. The exit code is 0 also if it was asked to stop."""
    require("torch", "train")
    require("optuna", "tune")
    from medloom import tuning

    study = tuning.Study.open(folder).resolved()
    with Display() as display:
        tuning.work(study, data, tuning.Limits(trials, until), events=Events([display]))
