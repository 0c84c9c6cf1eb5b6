"""``medloom train``."""

from __future__ import annotations

from typing import Annotated

import typer

from medloom import pipeline
from medloom.cli.display import Display
from medloom.cli.hooks import HookOption, rules_hooked
from medloom.cli.options import (
    RUNS,
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
    as_json: JsonOption = False,
) -> None:
    """Train the network of a prepared run, or go on where it was stopped.

    A finished run is extended with more epochs: --set train.epochs=80. Where the pixel store is not on this machine it
    is built again from the images.
    """
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
