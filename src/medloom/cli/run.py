"""``medloom run``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medloom import pipeline
from medloom.cli import stages
from medloom.cli.options import DataOption, JsonOption, RecipeArgument, RunOption, RunsOption, SetOption, WorkersOption
from medloom.cli.output import print_result, say, table

__all__ = ["command"]

_HEADLINES = 4


def command(
    recipe: RecipeArgument,
    data: DataOption = None,
    name: RunOption = None,
    overrides: SetOption = None,
    workers: WorkersOption = None,
    runs: RunsOption = stages.RUNS,
    as_json: JsonOption = False,
) -> None:
    """Prepare, train, evaluate, package and report in one go.

    Without images the recipe's data set is downloaded from Kaggle if credentials are there; otherwise
    phantom images are made, and every output says so. Stopped at any moment, the same command goes on.
    """
    run, where = stages.start_run(recipe, name, runs, overrides, data)
    say(f"1/5 prepare: {run.folder}")
    prepared = stages.prepare_stage(run, where, workers)
    say(stages.prepared_text(prepared))
    say("2/5 train")
    trained = stages.train_stage(run)
    say(stages.trained_text(trained))
    say("3/5 evaluate")
    summary = stages.evaluate_stage(run)
    say("4/5 package")
    pipeline.package(run)
    say("5/5 report")
    pages = stages.report_stage(run)
    value = {
        "run": str(run.folder),
        "phantom": prepared["phantom"],
        "bundle": str(run.bundle),
        "pages": pages,
        "training": trained,
        "summary": summary,
    }
    print_result(value, _closing(value), as_json=as_json)
    stages.exit_if_set_aside(prepared)


def _closing(value: Mapping[str, Any]) -> str:
    """Say what was made, what the figures are, and what to type next."""
    bundle = value["bundle"]
    made = table([("bundle", bundle), *(("page", page) for page in value["pages"])])
    figures = table(stages.figure_rows(value["summary"], count=_HEADLINES))
    phantom = "\nLearned from PHANTOM images: the figures say that the software works, nothing about people.\n"
    return (
        f"\nMade in {value['run']}:\n{made}\n\n"
        f"On the test patients (95 % interval over patients):\n{figures}\n"
        f"{_operating_point(value['summary']['operating_point'])}\n"
        f"{phantom if value['phantom'] else ''}\n"
        f"Next:\n  medloom predict {bundle} IMAGES... -o predictions\n  medloom serve {bundle}"
    )


def _operating_point(point: Mapping[str, Any]) -> str:
    return f"Lesion from probability {point['threshold']:.3g} on, and from {point['min_lesion_px']} pixels on."
