"""``medloom run``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medloom import pipeline
from medloom.cli import stages
from medloom.cli.options import DataOption, JsonOption, RecipeArgument, RunOption, RunsOption, SetOption, WorkersOption
from medloom.cli.output import print_result, say, table
from medloom.pipeline import Run

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
    folds = pipeline.fold_runs(run)
    value = _in_folds(run, folds, where, workers) if folds else _once(run, where, workers)
    print_result(value, _closing(value), as_json=as_json)
    stages.exit_if_set_aside(value["prepared"])


def _once(run: Run, where: Path, workers: int | None) -> dict[str, Any]:
    """All stages of one split."""
    run, prepared, trained, summary = _measured(run, where, workers)
    say("4/5 package")
    pipeline.package(run)
    return _reported(run, prepared, trained, summary)


def _in_folds(run: Run, folds: list[Run], where: Path, workers: int | None) -> dict[str, Any]:
    """Every fold in turn, then what they say together. A fold that is measured is not done again."""
    for number, fold in enumerate(folds):
        say(f"fold {number + 1} of {len(folds)}")
        if not pipeline.is_measured(fold):
            pipeline.mark_measured(_measured(fold, where, workers)[0])
    say("4/5 package the ensemble")
    summary = pipeline.finish_folds(run, folds)
    whole = Run.open(run.folder)
    return _reported(whole, whole.facts("prepare.json", "prepare"), whole.facts("training.json", "train"), summary)


def _measured(run: Run, where: Path, workers: int | None) -> tuple[Run, dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The run, and the facts of preparing, training and evaluating it."""
    say(f"1/5 prepare: {run.folder}")
    run, prepared = stages.prepare_stage(run, where, workers)
    say(stages.prepared_text(prepared))
    say("2/5 train")
    trained = stages.train_stage(run)
    say(stages.trained_text(trained))
    say("3/5 evaluate")
    return run, prepared, trained, stages.evaluate_stage(run)


def _reported(
    run: Run, prepared: Mapping[str, Any], trained: Mapping[str, Any], summary: Mapping[str, Any]
) -> dict[str, Any]:
    say("5/5 report")
    pages = stages.report_stage(run)
    return {
        "run": str(run.folder),
        "phantom": prepared["phantom"],
        "bundle": str(run.bundle),
        "pages": pages,
        "prepared": prepared,
        "training": trained,
        "summary": summary,
    }


def _closing(value: Mapping[str, Any]) -> str:
    """Say what was made, what the figures are, and what to type next."""
    bundle = value["bundle"]
    made = table([("bundle", bundle), *(("page", page) for page in value["pages"])])
    figures = table(stages.figure_rows(value["summary"], count=_HEADLINES))
    phantom = "\nLearned from PHANTOM images: the figures say that the software works, nothing about people.\n"
    whom = "over all folds" if "folds" in value["summary"] else "on the test patients"
    return (
        f"\nMade in {value['run']}:\n{made}\n\n"
        f"Figures {whom} (95 % interval over patients):\n{figures}\n"
        f"{stages.operating_point_text(value['summary'])}\n"
        f"{phantom if value['phantom'] else ''}\n"
        f"Next:\n  medloom predict {bundle} IMAGES... -o predictions\n  medloom serve {bundle}"
    )
