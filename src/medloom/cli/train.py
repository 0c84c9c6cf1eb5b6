"""``medloom train``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from medloom import pipeline
from medloom.cli.backend_option import BackendOption, OnOption, done_elsewhere
from medloom.cli.display import Display
from medloom.cli.hooks import HookOption, rules_hooked
from medloom.cli.options import (
    RUNS,
    DryRunOption,
    ImagesOption,
    JsonOption,
    ProfileOption,
    RunArgument,
    RunsOption,
    SetOption,
    with_profile,
)
from medloom.cli.output import print_result, say
from medloom.cli.texts import STOPPED, rate_text, trained_text
from medloom.events import Events
from medloom.extras import require

__all__ = ["command"]


def command(
    context: typer.Context,
    run: RunArgument,
    overrides: SetOption = None,
    data: ImagesOption = None,
    runs: RunsOption = RUNS,
    profile: ProfileOption = False,
    hooks: HookOption = None,
    find_lr: Annotated[
        bool,
        typer.Option(
            "--find-lr", help="Look for a learning rate instead: draws find_lr.html, trains nothing for good."
        ),
    ] = False,
    backend: BackendOption = "local",
    on: OnOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train the network of a prepared run, or go on where it was stopped.

    A finished run is extended with more epochs: --set train.epochs=80. Where the pixel store is not on this machine it
    is built again from the images.

    With --backend sagemaker the run, or a recipe in its place, is prepared, trained, measured and packaged there, and
    comes back; see medloom sagemaker train.
    """
    if done_elsewhere(context, backend, on, dry_run=dry_run, instead=_there(run, runs, data, backend)):
        return
    settings = with_profile(overrides, profile)
    with (
        pipeline.opened_run(run, runs, settings, command="train") as opened,
        Display() as display,
        rules_hooked(hooks),
    ):
        require("torch", "train")
        events = Events([display])
        pipeline.check_recipe(opened, trains=True, events=events)
        opened = pipeline.sized(opened, images=data, events=events)
        if find_lr:
            rate = pipeline.find_lr(opened, images=data, events=events)
            print_result(rate, rate_text(rate, opened.folder), as_json=as_json)
            return
        pipeline.forecast(opened, images=data, whole=False, events=events)
        with pipeline.tracked(opened, events) as told:
            trained = pipeline.train(opened, images=data, events=told)
        if trained.finished:
            pipeline.say_profile(opened, events)
    if not trained.finished:
        say(STOPPED)
        return
    facts = opened.facts("training.json", "train")
    print_result(facts, f"{trained_text(facts)}\nNext:\n  medloom evaluate {opened.folder}", as_json=as_json)


def _there(run: str, runs: Path, data: str | None, backend: str) -> Mapping[str, Sequence[str]]:
    """What another back end is given in the place of a run that is here: its recipe, its folder and its images."""
    folder = next((path for path in (runs / run, Path(run)) if (path / "recipe.yaml").is_file()), None)
    if folder is None or backend == "local":
        return {}
    words = [str(folder / "recipe.yaml"), "--run", f"{folder}/"]
    if data is None and (folder / "catalogue.csv").is_file():
        words += ["--data", str(pipeline.find_images(pipeline.Run.open(folder)))]
    return {"run": words}
