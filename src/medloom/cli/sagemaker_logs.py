"""``medloom sagemaker logs``."""

from __future__ import annotations

from typing import Annotated

import typer

from medloom.cli.options import RUNS, RunArgument, RunsOption
from medloom.cli.output import say
from medloom.cli.sagemaker_options import RegionOption, known_job, wanted

__all__ = ["command"]


def command(
    run: RunArgument,
    runs: RunsOption = RUNS,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    region: RegionOption = None,
) -> None:
    """Print what the training of a run has printed there."""
    from medloom.backends.sagemaker.jobs import Lines
    from medloom.backends.sagemaker.jobs import follow as follow_job

    known = known_job(run, runs, wanted(region, None, None, ""))
    account, job = known.account, known.training()
    if follow:
        follow_job(account, job, lambda line: print(line, flush=True))
        return
    lines = Lines(account, job).new()
    for line in lines:
        print(line)
    if not lines:
        say(f"{job} has printed nothing yet")
