"""``medloom tune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medloom.cli.display import Display
from medloom.cli.options import DataOption, JsonOption, SetOption, WorkersOption
from medloom.cli.output import print_result, say, table
from medloom.cli.texts import STOPPED
from medloom.extras import require
from medloom.wording import counted

if TYPE_CHECKING:
    from medloom.tuning import StudyResult

__all__ = ["command"]

_STUDIES = Path("studies")

RecipeArgument = Annotated[str, typer.Argument(metavar="RECIPE", help="Built-in recipe, or a YAML file.")]


def command(
    recipe: RecipeArgument,
    data: DataOption = None,
    trials: Annotated[
        int | None,
        typer.Option("--trials", min=1, help="Trials in all, those of earlier calls included; default: 20, fast 3."),
    ] = None,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="No trial begins after it, such as 30m or 2h.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Trials at a time.")] = 1,
    study: Annotated[
        str | None,
        typer.Option("--study", metavar="NAME|PATH", help="Name of the study, or its folder with a slash."),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option("--folds", metavar="K", min=2, help="Score each setting by folds of all but the test patients."),
    ] = None,
    confirm: Annotated[
        int,
        typer.Option("--confirm", metavar="S", min=0, help="Train the best settings again with so many other seeds."),
    ] = 0,
    fast: Annotated[
        bool, typer.Option("--fast", help="Only to see that everything works: small images, two epochs, three trials.")
    ] = False,
    overrides: SetOption = None,
    workers: WorkersOption = None,
    studies: Annotated[
        Path, typer.Option("--studies", metavar="DIR", help="Folder that holds the studies.")
    ] = _STUDIES,
    as_json: JsonOption = False,
) -> None:
    """Search the settings of a recipe, and package the best model.

    The recipe's section `tune` says what is searched; without it, a sound space for what is predicted. The score of a
    trial is the metric of its best epoch on the validation patients. The test patients are not looked at: `medloom
    evaluate` on the best run opens them, once, when you want it.

    Stopped or killed at any moment, the same command goes on.
    """
    require("torch", "train")
    require("optuna", "tune")
    from medloom import pipeline, tuning

    timeout_s = None if timeout is None else pipeline.read_budget(timeout, "--timeout")
    with Display() as display:
        result = tuning.tune(
            recipe, trials=trials or (3 if fast else 20), timeout_s=timeout_s, jobs=jobs, study=study, folds=folds,
            confirm=confirm, fast=fast, data=data, settings=overrides or (), studies=studies, workers=workers,
            on_event=display,
        )  # fmt: skip
    if result.stopped is not None:
        say(STOPPED)
        return
    print_result(result.plain(), _closing(result), as_json=as_json)


def _closing(result: StudyResult) -> str:
    best, facts = result.facts["best"], result.facts
    settings = table([(key, text) for key, text in best["shown"].items()])
    luck = facts["luck"]
    again = "" if luck is None else f"; with {counted(len(luck['scores']), 'other seed')} {luck['mean']:.4f} on average"
    made = table([("bundle", str(result.bundle)), ("page", str(result.folder / "tuning_report.html"))])
    phantom = "\nLearned from PHANTOM images: the scores say that the software works, nothing about people.\n"
    trials = counted(len(facts["trials"]), "trial")
    return (
        f"\nBest of {trials} by {facts['monitor']} on validation: trial {best['number']} "
        f"with {best['score']:.4f}{again}\n{settings}\n{phantom if facts['phantom'] else ''}\n"
        f"Made in {result.folder}:\n{made}\n\n"
        f"Next:\n  medloom evaluate {result.folder / 'best'}   (opens the test set, which the study left closed)\n"
        f"  optuna-dashboard sqlite:///{result.folder / 'study.db'}"
    )
