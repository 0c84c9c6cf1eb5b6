"""``medloom learning-curve``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medloom.cli.display import Display
from medloom.cli.options import DataOption, JsonOption, RecipeArgument, SetOption, WorkersOption
from medloom.cli.output import print_result, say, table
from medloom.cli.texts import STOPPED
from medloom.errors import UserError
from medloom.extras import require

if TYPE_CHECKING:
    from medloom.pipeline import LearningCurve

__all__ = ["command"]

_CURVES = Path("curves")


def command(
    recipe: RecipeArgument,
    data: DataOption = None,
    shares: Annotated[
        str,
        typer.Option("--shares", metavar="SHARE...", help="Shares of the training patients, above 0 and at most 1."),
    ] = "0.1,0.25,0.5,1",
    repeats: Annotated[
        int,
        typer.Option(
            "--repeats", metavar="N", min=1, help="Trainings of each share, with other seeds and other patients in it."
        ),
    ] = 1,
    same_steps: Annotated[
        bool,
        typer.Option("--same-steps", help="Train smaller shares for more epochs, so that all take as many steps."),
    ] = False,
    hold_back_test: Annotated[
        bool, typer.Option("--hold-back-test", help="Measure on validation alone; the test set stays closed.")
    ] = False,
    curve: Annotated[
        str | None,
        typer.Option("--curve", metavar="NAME|PATH", help="Name of the curve, or its folder with a slash."),
    ] = None,
    overrides: SetOption = None,
    workers: WorkersOption = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", metavar="N", min=1, help="Trainings at a time; default: as many as there are GPUs for."),
    ] = None,
    curves: Annotated[Path, typer.Option("--curves", metavar="DIR", help="Folder that holds the curves.")] = _CURVES,
    as_json: JsonOption = False,
) -> None:
    """Train on growing shares of the training patients, and say what more patients would bring.

    Each share lies within the next larger one. Validation and test patients are the same throughout. The page has each
    headline metric over the number of patients, with intervals and a power law, and says where nothing can be said.

    Stopped or killed at any moment, the same command goes on.
    """
    require("torch", "train")
    from medloom import pipeline

    with Display() as display:
        found = pipeline.learning_curve(
            recipe, shares=_shares(shares), repeats=repeats, same_steps=same_steps, hold_back_test=hold_back_test,
            curve=curve, data=data, settings=overrides or (), curves=curves, workers=workers, jobs=jobs,
            on_event=display,
        )  # fmt: skip
    if found.stopped is not None:
        say(STOPPED)
        return
    print_result(found.plain(), _closing(found), as_json=as_json)


def _shares(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise UserError(f"--shares {text}: expected numbers, such as 0.1 0.25 0.5 1") from None


def _closing(found: LearningCurve) -> str:
    from medloom.wording import metric_text

    facts = found.facts
    rows = [("share", facts["counted"], *(facts["meanings"][name]["label"] for name in facts["metrics"]))]
    for at, size in enumerate(facts["sizes"]):
        count = size["patients"] if facts["counted"] == "patients" else size["samples"]
        points = ((facts["metrics"][name]["points"][at], facts["meanings"][name]["unit"]) for name in facts["metrics"])
        rows.append((f"{size['share']:g}", f"{count:,.0f}", *(metric_text(one, unit) for one, unit in points)))
    said = "\n".join(one["text"] for one in facts["metrics"].values())
    phantom = "\nLearned from PHANTOM images: the curve says that the software works, nothing about people."
    return f"\n{table(rows)}\n\n{said}{phantom if facts['phantom'] else ''}\n\nPage: {found.page}"
