"""``medloom run``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from medloom import pipeline
from medloom.cli.display import Collected, Display
from medloom.cli.options import (
    RUNS,
    DataOption,
    DryRunOption,
    JobsOption,
    JsonOption,
    RecipeArgument,
    RunOption,
    RunsOption,
    SetOption,
    WorkersOption,
)
from medloom.cli.output import print_result, say
from medloom.cli.texts import STOPPED, closing, say_steps, set_aside_code
from medloom.events import Events
from medloom.extras import require

__all__ = ["command"]


def command(
    recipe: RecipeArgument,
    data: DataOption = None,
    name: RunOption = None,
    overrides: SetOption = None,
    workers: WorkersOption = None,
    jobs: JobsOption = None,
    runs: RunsOption = RUNS,
    again: Annotated[
        bool, typer.Option("--again", help="Do every stage of a finished run again; what is trained is kept.")
    ] = False,
    hold_back_test: Annotated[
        bool,
        typer.Option(
            "--hold-back-test",
            help="Measure on validation alone; `medloom evaluate RUN` opens the test set when you want it.",
        ),
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Prepare, train, evaluate, package and report in one go.

    Without images the recipe's data set is downloaded from Kaggle if credentials are there; otherwise
    phantom images are made, and every output says so. Stopped at any moment, the same command goes on; finished, it
    has nothing to do, unless the recipe, an image, a result or Medloom itself has changed.

    With split.folds several folds train at a time where there are GPUs for them, or with --jobs. A fold that fails
    leaves the others alone, and the same command does only what is left.
    """
    if dry_run:
        _print_requests(recipe, data, name, overrides or (), jobs, runs, hold_back_test=hold_back_test)
        return
    collected = Collected()
    with Display() as display:
        events = Events([display, say_steps, collected])
        settings = overrides or ()
        with pipeline.started_run(recipe, name, runs=runs, settings=settings, images=data, events=events) as begun:
            result = None if again or hold_back_test else pipeline.finished_result(*begun, events=events)
            if result is None:  # torch takes seconds
                require("torch", "train")
                result = pipeline.run_stages(
                    *begun, workers=workers, jobs=jobs, hold_back_test=hold_back_test, events=events
                )
    if result.stopped is not None:
        say(STOPPED)
        return
    print_result({**result.plain(), **collected.plain()}, closing(result), as_json=as_json)
    raise typer.Exit(set_aside_code(result.prepared))


def _print_requests(
    recipe: str,
    data: str | None,
    name: str | None,
    overrides: list[str] | tuple[str, ...],
    jobs: int | None,
    runs: Path,
    *,
    hold_back_test: bool,
) -> None:
    """Print what would be asked of the back end, one request for each job; nothing is made or begun."""
    from medloom.backends import LocalBackend, Slot
    from medloom.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)
    run = pipeline.Run.planned(loaded, pipeline.run_folder(name or loaded.name, runs))
    command = ["run", recipe, "--run", str(run.folder.absolute())]
    command += ["--data", data] if data else []
    command += [word for setting in overrides for word in ("--set", setting)]
    command += ["--hold-back-test"] if hold_back_test else []
    with LocalBackend([Slot(1)]) as backend:
        requests = [backend.request(job) for job in pipeline.planned_jobs(run, command, data, jobs)]
    print_result(requests, "\n".join(json.dumps(request) for request in requests), as_json=True)
