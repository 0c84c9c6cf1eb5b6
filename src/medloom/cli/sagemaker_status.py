"""``medloom sagemaker status``."""

from __future__ import annotations

from typing import Annotated

import typer

from medloom.cli.options import RUNS, JsonOption, RunArgument, RunsOption
from medloom.cli.output import print_result, say
from medloom.cli.sagemaker_following import followed, told
from medloom.cli.sagemaker_options import RegionOption, known_job, wanted

__all__ = ["command"]


def command(
    run: RunArgument,
    runs: RunsOption = RUNS,
    wait: Annotated[bool, typer.Option("--wait", help="Print its lines until it has ended.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Ask it to stop; it saves first.")] = False,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how the training of a run, or a search, stands there; works also on another laptop, by its name.

    A training that was stopped goes on where it was with the same medloom sagemaker train.
    """
    from medloom.backends.sagemaker.jobs import job_facts, stop_job

    job = known_job(run, runs, wanted(region, None, None, ""))
    if stop:
        stop_job(job.account, job.name, job.kind)
        say(f"asked to stop: {job.name}")
    found = followed(job.account, job.name, job.kind) if wait else told(job_facts(job.account, job.name, job.kind))
    print_result(found.value, found.text, as_json=as_json)
