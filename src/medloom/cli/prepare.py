"""``medloom prepare``."""

from __future__ import annotations

import typer

from medloom import pipeline
from medloom.cli.display import Display
from medloom.cli.found import given_recipe
from medloom.cli.options import (
    RUNS,
    DataOption,
    JsonOption,
    RecipeOrImagesArgument,
    RunOption,
    RunsOption,
    SetOption,
    WorkersOption,
)
from medloom.cli.output import print_result
from medloom.cli.texts import prepared_text, set_aside_code
from medloom.events import Events

__all__ = ["command"]


def command(
    recipe: RecipeOrImagesArgument,
    data: DataOption = None,
    name: RunOption = None,
    overrides: SetOption = None,
    workers: WorkersOption = None,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Check the images, split by patient, store the pixels and write the data report.

    Every file that does not fit is named in one pass. What is already stored is not decoded again.
    """
    given = given_recipe(recipe, data, overrides or ())
    with Display() as display:
        events = Events([display])
        with pipeline.started_run(
            given.recipe, name, runs=runs, settings=overrides or (), images=given.images, command="prepare",
            events=events,
        ) as (run, images):  # fmt: skip
            given.keep(run.folder)
            pipeline.check_recipe(run, trains=False, events=events)
            facts = pipeline.prepare(run, images, workers=workers, events=events).facts
    page = run.folder / "data_report.html"
    text = f"{prepared_text(facts)}\n\nLook at {page}\nNext:\n  medloom train {run.folder}"
    print_result(facts, text, as_json=as_json)
    raise typer.Exit(set_aside_code(facts))
