"""What the commands of a run's stages share: finding the run, running a stage, showing what it found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from medloom import pipeline
from medloom.cli.output import ExitCode, progress, say, table, warn
from medloom.errors import UserError
from medloom.pipeline import Run
from medloom.recipe import load_recipe
from medloom.wording import counted

__all__ = [
    "RUNS",
    "evaluate_stage",
    "exit_if_set_aside",
    "figure_rows",
    "measure_fold",
    "open_run",
    "operating_point_text",
    "prepare_stage",
    "prepared_text",
    "report_stage",
    "start_run",
    "train_stage",
    "trained_text",
]

RUNS = Path("runs")
"""Where runs are kept unless ``--runs`` says otherwise."""

_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def start_run(
    source: str, name: str | None, runs: Path, overrides: Sequence[str] | None, data: str | None
) -> tuple[Run, Path]:
    """Make the run of a recipe, or take up the one that is there, and find its images.

    Nothing is made in ``runs`` if the recipe, the name or the images are wrong.

    Raises:
        UserError: If they are.
    """
    recipe = load_recipe(source, overrides or ())
    name = name or recipe.name
    if not _RUN_NAME.fullmatch(name):
        raise UserError(f"--run {name!r}: expected letters, digits, dots, hyphens and underscores, such as brain-2")
    with progress("phantoms") as update:
        where = pipeline.resolve_data(recipe, data, update)
    return Run.start(recipe, runs / name), where


def open_run(name: str, runs: Path, overrides: Sequence[str] | None = None) -> Run:
    """Open a run by its name or folder, with values of its recipe overridden.

    Raises:
        UserError: If there is no such run; the message names those that are there.
    """
    folder = next((path for path in (runs / name, Path(name)) if (path / "recipe.yaml").is_file()), None)
    if folder is None:
        there = sorted(path.parent.name for path in runs.glob("*/recipe.yaml"))
        known = f"runs in {runs}: {', '.join(there)}" if there else f"there are no runs in {runs} yet"
        raise UserError(
            f"there is no run {name!r}; {known}. `medloom run RECIPE` and `medloom prepare RECIPE` make one"
        )
    if not overrides:
        return Run.open(folder)
    return Run.start(load_recipe(folder / "recipe.yaml", overrides), folder)


def prepare_stage(run: Run, data: Path, workers: int | None = None) -> tuple[Run, dict[str, Any]]:
    """Prepare the images and name those that were set aside.

    Returns:
        The run, whose recipe now says what was found out about the labels, and the facts.
    """
    with progress("prepare") as update:
        prepared = pipeline.prepare(run, data, workers=workers, progress=update)
    for text in prepared.set_aside:
        warn(f"set aside: {text}")
    for text in prepared.facts["warnings"]:
        warn(text)
    return Run.open(run.folder), prepared.facts


def train_stage(run: Run) -> dict[str, Any]:
    """Train, or go on, and return the facts.

    Raises:
        typer.Exit: With code 0 if the training was asked to stop; it has saved where it stands.
    """
    if not pipeline.train(run, progress=True).finished:
        say("stopped and saved; the same command goes on from here")
        raise typer.Exit
    return run.facts("training.json", "train")


def evaluate_stage(run: Run) -> dict[str, Any]:
    """Measure the best weights and return the summary."""
    with progress("evaluate") as update:
        return pipeline.evaluate(run, progress=update)


def measure_fold(fold: Run) -> None:
    """Train and measure a prepared fold; alone, should a process of an earlier command still be at work on it.

    Raises:
        typer.Exit: With code 0 if the training was asked to stop; it has saved where it stands.
    """
    with pipeline.sole(fold.folder, lambda: say("waiting: another process is at work on this fold")):
        say("2/5 train")
        say(trained_text(train_stage(fold)))
        say("3/5 evaluate")
        evaluate_stage(fold)
        pipeline.mark_measured(fold)


def report_stage(run: Run) -> list[str]:
    """Write the pages and return their paths."""
    return [str(page) for page in pipeline.report(run)]


def prepared_text(facts: Mapping[str, Any]) -> str:
    """Say how many patients and samples each part has."""
    last = "with a lesion" if facts.get("task", "segmentation") == "segmentation" else "labels"
    rows = [("split", "patients", "samples", last)]
    for split, counts in facts["counts"].items():
        rows.append((split, str(counts["patients"]), str(counts["samples"]), _labelled(counts)))
    return table(rows)


def _labelled(counts: Mapping[str, Any]) -> str:
    """Samples with a lesion, or of each class or with each label; of numbers their mean and deviation."""
    if "classes" in counts:
        return ", ".join(f"{name} {count}" for name, count in counts["classes"].items())
    if "targets" in counts:
        known = {name: facts for name, facts in counts["targets"].items() if facts["mean"] is not None}
        return ", ".join(f"{name} {facts['mean']:.4g} ± {facts['std']:.2g}" for name, facts in known.items())
    return f"{counts['lesion_samples']} ({counts['lesion_share']:.0%})"


def trained_text(facts: Mapping[str, Any]) -> str:
    """Say which epoch was best and by which metric."""
    early = ", stopped early" if facts.get("stopped_early") else ""
    return (
        f"best epoch {facts['best_epoch']} of {facts['epochs']}{early} "
        f"by {facts['monitor']} {facts['best_metric']:.4f}, "
        f"on {facts['device']} in {facts['precision']}, {facts['seconds']:.0f} s"
    )


def figure_rows(summary: Mapping[str, Any], count: int | None = None) -> list[tuple[str, str]]:
    """Return the figures of the test patients as their name and their value with the 95 % interval.

    Args:
        summary: What evaluation found.
        count: How many, the headlines first; all by default.
    """
    figures, meanings = summary["test"]["figures"], summary["meanings"]
    headlines = [name for name in summary.get("headlines", ()) if name in figures]
    names = headlines + [name for name in figures if name not in headlines]
    return [(meanings[name]["label"], _figure(figures[name], meanings[name]["unit"])) for name in names[:count]]


def operating_point_text(summary: Mapping[str, Any]) -> str:
    """Say in whole lines from where on something is called; nothing for numbers."""
    point = summary["operating_point"]
    if "min_lesion_px" in point:
        smallest = f", and from {counted(point['min_lesion_px'], 'pixel')} on" if point["min_lesion_px"] > 1 else ""
        notes = _notes(summary.get("notes", ()))
        return f"Lesion from probability {point['threshold']:.3g} on{smallest}.\n{notes}"
    if summary["target"]["kind"] == "real":
        return ""
    notes = _notes(point.get("notes", ()))
    if not point["thresholds"]:
        return f"Decided by {summary['rule']}.\n{notes}"
    names = summary["target"]["names"]
    called = names[1:] if summary["target"]["kind"] == "binary" else names
    limits = ", ".join(
        f"{name} from probability {at:.3g} on" for name, at in zip(called, point["thresholds"], strict=True)
    )
    return f"{limits}: {summary['rule']}.\n{notes}"


def _notes(notes: Iterable[str]) -> str:
    return "".join(f"Note: {note}.\n" for note in notes)


def _figure(figure: Mapping[str, Any], unit: str) -> str:
    if figure["value"] is None:
        return "not defined here"
    ending = f" {unit}" if unit in ("px", "mm") else ""
    text = f"{figure['value']:.3f}{ending}"
    low, high = figure.get("low"), figure.get("high")
    return text if low is None or high is None else f"{text} ({low:.3f} to {high:.3f})"


def exit_if_set_aside(facts: Mapping[str, Any]) -> None:
    """Leave with exit code 3 if inputs were set aside."""
    count = sum(int(entry.get("count", 1)) for entry in facts.get("set_aside", ()))
    if count:
        say(f"{counted(count, 'input was', 'inputs were')} set aside; the data report names the reasons")
        raise typer.Exit(ExitCode.SET_ASIDE)
