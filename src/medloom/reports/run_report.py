"""The run report: how good the model is, how sure that is, and what it was made from, as one HTML page.

What was measured is shown by a module and a template for each task; the rest of the page is the same for all.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from medloom import __version__
from medloom.files import read_json, write_text
from medloom.reports.classification import classification_context, classification_warnings
from medloom.reports.facts import Facts, read_facts, set_aside_sentence
from medloom.reports.figures import mean_range
from medloom.reports.html import data_uri, megabytes, number, percent, render
from medloom.reports.run_charts import curves
from medloom.reports.segmentation import segmentation_context, segmentation_warnings
from medloom.wording import counted

__all__ = ["write_evaluation_report", "write_run_report"]

Rows = list[dict[str, Any]]

_SPLITS = ("train", "validation", "test")
_SHOWN_EPOCHS = 6

_TASKS: dict[str, tuple[Callable[[Path, Facts], Facts], Callable[[Facts], list[str]]]] = {
    "segmentation": (segmentation_context, segmentation_warnings),
    "classification": (classification_context, classification_warnings),
}


def write_run_report(run_dir: Path) -> Path:
    """Write ``report.html`` from the facts that the stages left in the run directory.

    A stage that has not run yet leaves its section out; the page says so.

    Args:
        run_dir: The run directory; ``prepare.json`` must be there.

    Returns:
        The path of the page.
    """
    prepared = read_json(run_dir / "prepare.json")
    training, summary = read_facts(run_dir / "training.json"), read_facts(run_dir / "evaluation" / "summary.json")
    recipe, epochs = _recipe(run_dir / "recipe.yaml"), _lines(run_dir / "metrics.jsonl")
    task: str = summary.get("task") or recipe.get("task", "segmentation")
    return _write(
        run_dir / "report.html",
        task,
        _TASKS[task][0](run_dir / "evaluation", summary),
        title=f"Run report: {recipe.get('name', 'run')}",
        description=recipe.get("description", "").rstrip("."),
        whose=("test patient that training never saw", "test patients that training never saw"),
        phantom=bool(prepared["phantom"]),
        warnings=_warnings(prepared, training, summary, task),
        interval=summary.get("interval"),
        several_parts="folds" not in summary,  # each fold has a validation part of its own
        split=_split_table(prepared, task),
        first_fold="folds" in summary,
        set_aside=set_aside_sentence(prepared),
        curves=curves(epochs, training.get("best_epoch")) if epochs else "",
        training=_training_table(training),
        progress=_progress(run_dir / "progress"),
        recipe=yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True),
        environment=_environment_rows(read_facts(run_dir / "run.json")),
    )


def write_evaluation_report(folder: Path) -> Path:
    """Write ``report.html`` on figures alone, such as those of someone else's results.

    Args:
        folder: Holds ``summary.json`` and, where there are any, ``cases.csv`` and the gallery.

    Returns:
        The path of the page.
    """
    summary = read_json(folder / "summary.json")
    task: str = summary.get("task", "segmentation")
    return _write(
        folder / "report.html",
        task,
        _TASKS[task][0](folder, summary),
        title="Evaluation report",
        description="Figures of results that were made elsewhere",
        whose=("patient", "patients") if summary["interval"]["over"] == "patients" else (),
        phantom=False,
        warnings=_evaluation_warnings(summary, task) + summary.get("warnings", []),
        interval=summary["interval"],
        several_parts="validation" in summary,
        split={},
        first_fold=False,
        set_aside="",
        curves="",
        training={},
        progress={"epochs": []},
        recipe="",
        environment=[],
    )


def _write(path: Path, task: str, measured: Facts, **common: object) -> Path:
    write_text(path, render(f"{task}_report.html", version=__version__, task=task, **measured, **common))
    return path


def _lines(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


def _recipe(path: Path) -> Facts:
    """The recipe without the places of data and weights, which may say whose they are."""
    recipe: Facts = yaml.safe_load(path.read_text("utf-8")) if path.is_file() else {}
    recipe.get("data", {}).pop("path", None)
    recipe.get("split", {}).pop("file", None)
    if "weights" in recipe.get("model", {}):
        recipe["model"]["weights"] = Path(recipe["model"]["weights"]).name
    return recipe


def _warnings(prepared: Facts, training: Facts, summary: Facts, task: str) -> list[str]:
    """What a reader must know before believing a figure, the gravest first."""
    warnings: list[str] = []
    if not summary:
        warnings.append("This model has not been measured yet; run `medloom evaluate`.")
    if training and not training.get("finished", True):
        warnings.append(f"Training was stopped after {counted(training['epochs'], 'epoch')} and can be continued.")
    if summary:
        warnings += _evaluation_warnings(summary, task)
    return warnings + list(prepared.get("warnings", []))


def _evaluation_warnings(summary: Facts, task: str) -> list[str]:
    warnings = _TASKS[task][1](summary)
    if summary["interval"]["resamples"] == 0:
        warnings.append("No intervals were taken: there were no bootstrap resamples.")
    return warnings


def _split_table(prepared: Facts, task: str) -> Facts:
    """Patients and samples of each part, and how many of either class."""
    counts = {split: prepared["counts"][split] for split in _SPLITS}
    rows = [[split, number(one["patients"]), number(one["samples"])] for split, one in counts.items()]
    head = ["Part", "Patients", "Slices" if task == "segmentation" else "Images"]
    if any(one.get("classes") for one in counts.values()):
        names = list(dict.fromkeys(name for one in counts.values() for name in one.get("classes", {})))
        for row, one in zip(rows, counts.values(), strict=True):
            row.extend(number(one.get("classes", {}).get(name, 0)) for name in names)
        return {"head": [*head, *names], "rows": rows}
    if all(one.get("targets") for one in counts.values()):
        for row, one in zip(rows, counts.values(), strict=True):
            row.extend(mean_range(facts) for facts in one["targets"].values())
        names = [f"{name}: mean (range)" for name in counts["train"]["targets"]]
        return {"head": [*head, *names], "rows": rows}
    if all("lesion_samples" in one for one in counts.values()):
        for row, one in zip(rows, counts.values(), strict=True):
            row.extend([number(one["lesion_samples"]), percent(one["lesion_share"])])
        head += ["With a lesion" if task == "segmentation" else "Positive", "Share"]
    return {"head": head, "rows": rows}


def _training_table(training: Facts) -> Facts:
    """How the training went; of folds, how that of each did."""
    if not training:
        return {}
    folds = [_training_rows(one) for one in training.get("folds", [training])]
    rows = [[name, *(fold[name] for fold in folds)] for name in folds[0]]
    head = [f"Fold {number}" for number in range(1, len(folds) + 1)] if "folds" in training else [""]
    return {"head": ["Training", *head], "rows": rows}


def _training_rows(training: Facts) -> dict[str, str]:
    early = ", stopped early" if training.get("stopped_early") else ""
    seconds, rate = training.get("seconds"), training.get("images_per_s")
    return {
        "Epochs": f"{number(training.get('epochs'))}{early}",
        "Best epoch": number(training.get("best_epoch")),
        f"Best {training.get('monitor', 'metric')} on validation": number(training.get("best_metric")),
        "Device and precision": f"{training.get('device', '–')}, {training.get('precision', '–')}",
        "Time": "–" if seconds is None else f"{seconds / 60:,.1f} min",
        "Training images a second": number(rate, 1),
        "Peak memory": megabytes(training.get("peak_rss_bytes")),
    }


def _progress(folder: Path) -> Facts:
    """Pictures of the fixed validation slices: the first, the last and a few epochs evenly between."""
    facts = read_facts(folder / "progress.json")
    epochs = [entry for entry in facts.get("epochs", []) if (folder / entry["file"]).is_file()]
    last = len(epochs) - 1
    shown = sorted({round(index * last / (_SHOWN_EPOCHS - 1)) for index in range(_SHOWN_EPOCHS)}) if epochs else []
    return {
        "samples": facts.get("samples", []),
        "all": len(epochs),
        "epochs": [
            {
                "uri": data_uri(folder / epochs[index]["file"]),
                "caption": f"Epoch {epochs[index]['epoch']}: {facts.get('monitor', 'metric')} "
                f"{number(epochs[index]['metric'])}",
            }
            for index in shown
        ],
    }


def _environment_rows(run: Facts) -> list[list[str]]:
    environment = run.get("environment", {})
    versions = {
        "medloom": environment.get("medloom"),
        "python": environment.get("python"),
        **environment.get("packages", {}),
    }
    machine = {"system": environment.get("system"), "cores": environment.get("cores")}
    return [[name, str(value)] for name, value in {**versions, **machine}.items() if value is not None]
