"""One prepared fold, trained and measured in a process of its own; ``medloom run --jobs`` starts these, nobody else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from medloom import pipeline
from medloom.cli import stages
from medloom.cli.output import ExitCode, fail
from medloom.errors import MedloomError
from medloom.pipeline import Run

__all__ = ["fold_command", "main"]


def fold_command(fold: Run) -> list[str]:
    """Return the command that trains and measures a prepared fold."""
    # -P: what lies in the folder where the user stands is not imported
    return [sys.executable, "-P", "-m", "medloom.cli.fold", str(fold.folder.absolute())]


def main(argv: Sequence[str]) -> int:
    """Train, or go on with, and measure the fold whose folder is the only argument.

    Returns:
        The exit code: 0 also if it was asked to stop, and then the fold is not marked as measured.
    """
    pipeline.end_with_parent()
    try:
        stages.measure_fold(Run.open(Path(argv[0])))
    except typer.Exit as stop:
        return stop.exit_code
    except KeyboardInterrupt:
        return ExitCode.STOPPED
    except (MedloomError, OSError) as error:
        return fail(error)
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
