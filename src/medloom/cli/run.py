"""``medloom run``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from medloom import pipeline
from medloom.cli import stages
from medloom.cli.fold import fold_command
from medloom.cli.options import (
    DataOption,
    JobsOption,
    JsonOption,
    RecipeArgument,
    RunOption,
    RunsOption,
    SetOption,
    WorkersOption,
)
from medloom.cli.output import ExitCode, print_result, say, table
from medloom.errors import MedloomError, TrainingError, UserError
from medloom.pipeline import Run
from medloom.wording import counted

__all__ = ["command"]

_HEADLINES = 4


def command(
    recipe: RecipeArgument,
    data: DataOption = None,
    name: RunOption = None,
    overrides: SetOption = None,
    workers: WorkersOption = None,
    jobs: JobsOption = None,
    runs: RunsOption = stages.RUNS,
    as_json: JsonOption = False,
) -> None:
    """Prepare, train, evaluate, package and report in one go.

    Without images the recipe's data set is downloaded from Kaggle if credentials are there; otherwise
    phantom images are made, and every output says so. Stopped at any moment, the same command goes on.

    With split.folds several folds train at a time where there are GPUs for them, or with --jobs. A fold that fails
    leaves the others alone, and the same command does only what is left.
    """
    run, where = stages.start_run(recipe, name, runs, overrides, data)
    pipeline.check_network(run.recipe)
    folds = pipeline.fold_runs(run)
    value = _in_folds(run, folds, where, workers, jobs) if folds else _once(run, where, workers)
    print_result(value, _closing(value), as_json=as_json)
    stages.exit_if_set_aside(value["prepared"])


def _once(run: Run, where: Path, workers: int | None) -> dict[str, Any]:
    """All stages of one split."""
    say(f"1/5 prepare: {run.folder}")
    run, prepared = stages.prepare_stage(run, where, workers)
    say(stages.prepared_text(prepared))
    say("2/5 train")
    trained = stages.train_stage(run)
    say(stages.trained_text(trained))
    say("3/5 evaluate")
    summary = stages.evaluate_stage(run)
    say("4/5 package")
    pipeline.package(run)
    return _reported(run, prepared, trained, summary)


def _in_folds(run: Run, folds: list[Run], where: Path, workers: int | None, jobs: int | None) -> dict[str, Any]:
    """Every fold, then what they say together. A fold that is measured is not done again."""
    left = [number for number, fold in enumerate(folds) if not pipeline.is_measured(fold)]
    slots = pipeline.plan_slots(run.recipe, len(left), jobs) if len(left) > 1 and jobs != 1 else []
    if len(slots) > 1:
        _side_by_side(folds, left, slots, where, workers)
    else:
        _in_turn(folds, left, where, workers)
    say("4/5 package the ensemble")
    summary = pipeline.finish_folds(run, folds)
    whole = Run.open(run.folder)
    return _reported(whole, whole.facts("prepare.json", "prepare"), whole.facts("training.json", "train"), summary)


def _in_turn(folds: list[Run], left: list[int], where: Path, workers: int | None) -> None:
    """One fold after another, in this process."""
    for number in left:
        say(f"fold {number + 1} of {len(folds)}")
        stages.measure_fold(_prepared_fold(folds[number], where, workers))


def _prepared_fold(fold: Run, where: Path, workers: int | None) -> Run:
    say(f"1/5 prepare: {fold.folder}")
    fold, prepared = stages.prepare_stage(fold, where, workers)
    say(stages.prepared_text(prepared))
    return fold


def _side_by_side(
    folds: list[Run], left: list[int], slots: list[pipeline.Slot], where: Path, workers: int | None
) -> None:
    """Several folds at a time, each in a process of its own; only this one prepares, so nobody builds a store twice.

    Raises:
        MedloomError: If a fold failed; each has said why.
        typer.Exit: With code 0 if they were asked to stop; they have saved where they stand.
    """
    names = [f"fold {number + 1}/{len(folds)}" for number in left]
    runs = []
    for number, name in zip(left, names, strict=True):
        say(name)
        runs.append(_prepared_fold(folds[number], where, workers))
    say(f"{len(slots)} folds at a time, each {_share(slots[0])}")
    commands = [fold_command(run) for run in runs]
    ending = pipeline.run_in_slots(commands, slots, lambda place, line: say(f"{names[place]}  {line}"))
    if ending.failed:
        raise _failure({names[place]: code for place, code in ending.failed.items()})
    if not all(pipeline.is_measured(run) for run in runs):
        say("stopped and saved; the same command goes on from here")
        raise typer.Exit


def _share(slot: pipeline.Slot) -> str:
    gpus = f"on {counted(len(slot.gpus), 'GPU')} " if slot.gpus else ""
    return f"{gpus}with {counted(slot.threads, 'core')}"


def _failure(codes: Mapping[str, int]) -> MedloomError:
    """The error for folds that failed, with the exit code of a wrong input if that is what it was."""
    ends = [
        f"{name} was killed by signal {-code}" if code < 0 else f"{name} failed, see above"
        for name, code in codes.items()
    ]
    text = f"{', '.join(ends)}; the same command does what is left"
    return UserError(text) if ExitCode.WRONG_INPUT in codes.values() else TrainingError(text)


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
        f"{stages.operating_point_text(value['summary'])}"
        f"{phantom if value['phantom'] else ''}\n"
        f"Next:\n  medloom predict {bundle} IMAGES... -o predictions\n  medloom serve {bundle}"
    )
