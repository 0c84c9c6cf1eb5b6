"""``medloom fold``: one prepared fold, trained and measured. ``medloom run`` starts it as a job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medloom import pipeline
from medloom.cli.display import Display
from medloom.cli.output import say
from medloom.cli.texts import STOPPED, say_steps
from medloom.evaluation.parts import Part
from medloom.events import Events
from medloom.extras import require

__all__ = ["command"]


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Run directory of the fold.")],
    part: Annotated[Part, typer.Option("--part", help="On whom it is measured.")] = "test",
) -> None:
    """Train, or go on with, and measure a prepared fold.

    The exit code is 0 also if it was asked to stop; then the fold is not marked as measured.
    """
    fold = pipeline.Run.open(folder)
    require("torch", "train")
    with pipeline.writing(fold.folder, "fold"), Display() as display:
        trained = pipeline.measure_fold(fold, part=part, events=Events([display, say_steps]))
    if not trained.finished:
        say(STOPPED)
