"""The run report: how good the model is, how sure that is, and what it was made from, as one HTML page."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from medloom import __version__
from medloom.files import read_json, write_text
from medloom.reports.html import data_uri, megabytes, number, percent, render
from medloom.reports.run_charts import curves, patient_chart, point_chart

__all__ = ["write_run_report"]

Facts = dict[str, Any]
Rows = list[dict[str, Any]]

_HEADLINES = ("dice_lesion", "false_alarm_rate", "patient_dice_lesion", "lesion_sensitivity")
_SPLITS = ("train", "validation", "test")
_SHOWN_EPOCHS = 6
_FEW_PATIENTS = 10


def write_run_report(run_dir: Path) -> Path:
    """Write ``report.html`` from the facts that the stages left in the run directory.

    A stage that has not run yet leaves its section out; the page says so.

    Args:
        run_dir: The run directory; ``prepare.json`` must be there.

    Returns:
        The path of the page.
    """
    prepared = read_json(run_dir / "prepare.json")
    training, summary = _facts(run_dir / "training.json"), _facts(run_dir / "evaluation" / "summary.json")
    recipe, epochs = _recipe(run_dir / "recipe.yaml"), _lines(run_dir / "metrics.jsonl")
    page = render(
        "run_report.html",
        phantom=bool(prepared["phantom"]),
        version=__version__,
        name=recipe.get("name", "run"),
        description=recipe.get("description", "").rstrip("."),
        warnings=_warnings(prepared, training, summary),
        tiles=_tiles(summary),
        figures=_figure_rows(summary),
        comparison=_comparison_rows(summary),
        classes=_class_rows(summary),
        counts=summary.get("test", {}).get("counts"),
        confusion=summary.get("test", {}).get("confusion"),
        interval=summary.get("interval"),
        point=_point(run_dir / "evaluation", summary),
        split=_split_rows(prepared),
        set_aside=prepared.get("set_aside", []),
        curves=curves(epochs, training.get("best_epoch")) if epochs else "",
        training=_training_rows(training),
        patients=_patients(run_dir / "evaluation" / "patients.csv"),
        gallery=_gallery(run_dir / "evaluation"),
        progress=_progress(run_dir / "progress"),
        recipe=yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True),
        environment=_environment_rows(_facts(run_dir / "run.json")),
    )
    path = run_dir / "report.html"
    write_text(path, page)
    return path


def _facts(path: Path) -> Facts:
    """Facts of a stage, or nothing if it has not run."""
    facts: Facts = read_json(path) if path.is_file() else {}
    return facts


def _lines(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def _recipe(path: Path) -> Facts:
    """The recipe without the place of the data, which may say whose they are."""
    recipe: Facts = yaml.safe_load(path.read_text()) if path.is_file() else {}
    recipe.get("data", {}).pop("path", None)
    recipe.get("split", {}).pop("file", None)
    return recipe


def _warnings(prepared: Facts, training: Facts, summary: Facts) -> list[str]:
    """What a reader must know before believing a figure, the gravest first."""
    warnings: list[str] = []
    if not summary:
        warnings.append("This model has not been measured yet; run `medloom evaluate`.")
    if training and not training.get("finished", True):
        warnings.append(f"Training was stopped after {training['epochs']} epochs and can be continued.")
    if summary:
        warnings += _evaluation_warnings(summary)
    return warnings + list(prepared.get("warnings", []))


def _evaluation_warnings(summary: Facts) -> list[str]:
    counts, warnings = summary["test"]["counts"], []
    if not counts["slices"]:
        warnings.append("There is no test slice: nothing says how good this model is on new patients.")
    elif not counts["slices_with_lesion"]:
        warnings.append("No test slice holds a lesion: Dice and sensitivity are not defined.")
    elif counts["patients"] < _FEW_PATIENTS:
        warnings.append(f"Only {counts['patients']} test patients: the intervals are wide and themselves uncertain.")
    if summary["interval"]["resamples"] == 0:
        warnings.append("No intervals were taken: evaluate.bootstrap is 0.")
    if not summary["within_limit"]:
        warnings.append("No operating point kept to the largest share of false alarms on the validation slices.")
    if summary["validation"]["figures"]["dice_lesion"]["value"] == 0.0:
        warnings.append("The operating point finds no validation lesion: the model cannot tell lesions from the rest.")
    return warnings


def _tiles(summary: Facts) -> list[dict[str, str]]:
    if not summary:
        return []
    figures, meanings = summary["test"]["figures"], summary["meanings"]
    return [
        {
            "label": meanings[name]["label"],
            "value": _value(figures[name]["value"], meanings[name]["unit"]),
            "interval": _interval(figures[name], meanings[name]["unit"]),
            "n": f"n = {number(figures[name]['n'])}",
        }
        for name in _HEADLINES
        if name in figures
    ]


def _figure_rows(summary: Facts) -> list[dict[str, str]]:
    """A row for each figure that is defined on test or on validation."""
    if not summary:
        return []
    test, validation = summary["test"]["figures"], summary["validation"]["figures"]
    rows = []
    for name, meaning in summary["meanings"].items():
        one, other = test.get(name, {}), validation.get(name, {})
        if one.get("value") is None and other.get("value") is None:
            continue
        rows.append(
            {
                "label": meaning["label"],
                "meaning": meaning["meaning"],
                "value": _value(one.get("value"), meaning["unit"]),
                "interval": _interval(one, meaning["unit"]),
                "n": number(one.get("n", 0)),
                "validation": _value(other.get("value"), meaning["unit"]),
            }
        )
    return rows


def _comparison_rows(summary: Facts) -> list[list[str]]:
    """The overlap figures of the test set beside those without an operating point and of two constants."""
    if not summary:
        return []
    test = summary["test"]
    columns = (test["figures"], test["plain"], test["baselines"]["nothing"], test["baselines"]["everywhere"])
    return [
        [summary["meanings"][name]["label"], *(_value(column[name]["value"], "share") for column in columns)]
        for name in test["plain"]
    ]


def _class_rows(summary: Facts) -> list[list[str]]:
    per_class = summary.get("test", {}).get("per_class", {})
    return [
        [name, *(_with_interval(figures[key], "share") for key in _HEADLINES)] for name, figures in per_class.items()
    ]


def _value(value: float | None, unit: str) -> str:
    return f"{number(value, 1)} {unit}" if unit in ("px", "mm") and value is not None else number(value)


def _interval(figure: Mapping[str, Any], unit: str) -> str:
    if figure.get("low") is None:
        return "–"
    digits = 1 if unit in ("px", "mm") else 3
    return f"{number(figure['low'], digits)} to {number(figure['high'], digits)}"


def _with_interval(figure: Mapping[str, Any], unit: str) -> str:
    interval = _interval(figure, unit)
    value = _value(figure["value"], unit)
    return value if interval == "–" else f"{value} ({interval})"


def _point(folder: Path, summary: Facts) -> Facts:
    """The operating point, how it was chosen, and a chart of what else there was."""
    if not summary:
        return {}
    search = _facts(folder / "operating_point.json")
    searched = any(value is not None for row in search.get("dice_lesion", []) for value in row)
    chart = point_chart(search) if searched else ""
    return {**summary["operating_point"], "rule": summary["rule"], "chart": chart}


def _split_rows(prepared: Facts) -> list[list[str]]:
    return [
        [
            split,
            number(counts["patients"]),
            number(counts["samples"]),
            number(counts["lesion_samples"]),
            percent(counts["lesion_share"]),
        ]
        for split, counts in ((split, prepared["counts"][split]) for split in _SPLITS)
    ]


def _training_rows(training: Facts) -> list[list[str]]:
    if not training:
        return []
    seconds, rate = training.get("seconds"), training.get("images_per_s")
    rows = {
        "Epochs": number(training.get("epochs")),
        "Best epoch": number(training.get("best_epoch")),
        f"Best {training.get('monitor', 'metric')} on validation": number(training.get("best_metric")),
        "Device and precision": f"{training.get('device', '–')}, {training.get('precision', '–')}",
        "Time": "–" if seconds is None else f"{seconds / 60:,.1f} min",
        "Training images a second": number(rate, 1),
        "Peak memory": megabytes(training.get("peak_rss_bytes")),
    }
    return [[name, value] for name, value in rows.items()]


def _patients(path: Path) -> Facts:
    """Chart and table of the test patients, the worst first."""
    if not path.is_file():
        return {}
    with path.open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["split"] == "test"]
    rows.sort(key=lambda row: (float(row["dice"]), row["patient_id"]))
    several = len({row["class"] for row in rows}) > 1
    table = [
        [
            f"{row['patient_id']} {row['class']}" if several else row["patient_id"],
            number(int(row["slices"])),
            number(int(row["lesion_slices"])),
            number(float(row["dice"])),
            f"{row['lesions_found']} of {row['lesions']}",
            f"{row['false_alarms']} of {row['empty_slices']}",
            f"{number(float(row['hd95']), 1)} {row['hd95_unit']}" if row["hd95"] else "–",
        ]
        for row in rows
    ]
    return {"table": table, "chart": patient_chart(rows) if rows else ""}


def _gallery(folder: Path) -> Facts:
    """Pictures with their captions, group by group; a group without a picture is left out."""
    facts = _facts(folder / "gallery.json")
    groups = [
        {
            "title": group["title"],
            "items": [
                {
                    "uri": data_uri(folder / item["file"]),
                    "caption": f"{item['sample_id']}: Dice {number(item['dice'])}, "
                    f"true {number(item['truth_px'])} px, predicted {number(item['predicted_px'])} px",
                }
                for item in group["items"]
            ],
        }
        for group in facts.get("groups", [])
        if group["items"]
    ]
    return {"channel": facts.get("channel", ""), "groups": groups}


def _progress(folder: Path) -> Facts:
    """Pictures of the fixed validation slices: the first, the last and a few epochs evenly between."""
    facts = _facts(folder / "progress.json")
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
