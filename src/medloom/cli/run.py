"""``medloom run``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medloom import pipeline
from medloom.cli.backend_option import BackendOption, OnOption, done_elsewhere
from medloom.cli.display import Collected, Display
from medloom.cli.found import Given, given_recipe
from medloom.cli.hooks import HookOption, rules_hooked
from medloom.cli.options import (
    RUNS,
    BudgetOption,
    DataOption,
    DryRunOption,
    JobsOption,
    JsonOption,
    PresetOption,
    ProfileOption,
    RecipeOrImagesArgument,
    RunOption,
    RunsOption,
    SetOption,
    WorkersOption,
    with_profile,
)
from medloom.cli.output import print_result, say
from medloom.cli.texts import STOPPED, closing, say_steps, set_aside_code
from medloom.events import Events
from medloom.extras import require

if TYPE_CHECKING:
    from medloom.recipe import Recipe

__all__ = ["command"]


def command(
    context: typer.Context,
    recipe: RecipeOrImagesArgument,
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
    preset: PresetOption = "good",
    budget: BudgetOption = None,
    profile: ProfileOption = False,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds",
            metavar="N",
            min=2,
            help="Train N times on the same split, with other seeds, and say how much the metrics vary.",
        ),
    ] = None,
    hooks: HookOption = None,
    backend: BackendOption = "local",
    on: OnOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Prepare, train, evaluate, package and report in one go.

    Without images the recipe's data set is downloaded from Kaggle if credentials are there; otherwise
    phantom images are made, and every output says so. Stopped at any moment, the same command goes on; finished, it
    has nothing to do, unless the recipe, an image, a result or Medloom itself has changed.

    A folder or zip of images in the place of the recipe is looked at. The recipe that is worked out is kept in the run
    as found.yaml, with what speaks for each line; see `medloom init`.

    With --seeds several trainings differ in their seed alone; the one that is best on validation is packaged.

    With split.folds or --seeds several train at a time where there are GPUs for them, or with --jobs. One that
    fails leaves the others alone, and the same command does only what is left.

    With --backend sagemaker it is done there, and the run comes back; see medloom sagemaker train.
    """
    if done_elsewhere(context, backend, on, dry_run=False):
        return
    overrides = with_profile(overrides, profile)
    overrides = [*(overrides or ()), *([] if seeds is None else [f"train.seeds={seeds}"])]
    given = given_recipe(recipe, data, overrides)
    if dry_run:
        flags = ["--hold-back-test"] if hold_back_test else []
        flags += ["--preset", preset] if preset != "good" else []
        flags += ["--budget", budget] if budget else []
        loaded = pipeline.loaded_recipe(given.recipe, overrides, preset)
        command_line = [word for setting in overrides for word in ("--set", setting)]
        _print_requests(recipe, loaded, given, name, jobs, runs, [*command_line, *flags])
        return
    ends_s = None if budget is None else time.monotonic() + pipeline.read_budget(budget)
    collected = Collected()
    with Display() as display, rules_hooked(hooks):
        events = Events([display, say_steps, collected])
        with pipeline.started_run(
            given.recipe, name, runs=runs, settings=overrides, preset=preset, in_budget=budget is not None,
            images=given.images, events=events,
        ) as begun:  # fmt: skip
            given.keep(begun[0].folder)
            result = None if again or hold_back_test else pipeline.finished_result(*begun, events=events)
            if result is None:  # torch takes seconds
                require("torch", "train")
                result = pipeline.run_stages(
                    *begun, workers=workers, jobs=jobs, hold_back_test=hold_back_test, ends_s=ends_s, events=events
                )
    if result.stopped is not None:
        say(STOPPED)
        return
    print_result({**result.plain(), **collected.plain()}, closing(result), as_json=as_json)
    raise typer.Exit(set_aside_code(result.prepared))


def _print_requests(
    named: str, recipe: Recipe, given: Given, name: str | None, jobs: int | None, runs: Path, flags: list[str]
) -> None:
    """Print what would be asked of the back end, one request for each job; nothing is made or begun."""
    from medloom.backends import LocalBackend, Slot

    run = pipeline.Run.planned(recipe, pipeline.run_folder(name or recipe.name, runs))
    command = ["run", named, "--run", str(run.folder.absolute())]
    command += ["--data", given.images] if given.images and given.text is None else []
    with LocalBackend([Slot(1)]) as backend:
        requests = [backend.request(job) for job in pipeline.planned_jobs(run, [*command, *flags], given.images, jobs)]
    print_result(requests, "\n".join(json.dumps(request) for request in requests), as_json=True)
