"""The run report: how good the model is, how sure that is, and what it was made from, as one HTML page.

What was measured is shown by the section of the kind of answer; the rest of the page is the same for all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from medloom.evaluation.parts import (
    HELD_BACK,
    ON_VALIDATION,
    Part,
    ensemble_note,
    evaluation_folder,
    part_of,
    read_summary,
)
from medloom.evaluation.text import number, precision_texts
from medloom.files import read_json
from medloom.reports.averaged import averaged_rows, averaged_warnings
from medloom.reports.demographics import demographic_table
from medloom.reports.diagnosis import diagnosed
from medloom.reports.explanation import explanation_context
from medloom.reports.facts import CHECKLISTS, Facts, patient_source, read_facts, read_recipe, set_aside_sentence
from medloom.reports.gallery import gallery_context
from medloom.reports.html import data_uri, megabytes, write_page
from medloom.reports.kept import kept_text
from medloom.reports.metrics import served_tables
from medloom.reports.openings import openings_sentence
from medloom.reports.parts import part_table
from medloom.reports.plain import few_chosen, not_validated, plain_words
from medloom.reports.profile import profile_context
from medloom.reports.review import review_table
from medloom.reports.run_charts import curves
from medloom.reports.scale import scale_bar
from medloom.reports.sections import KINDS, Section
from medloom.reports.seeds import seed_words, seeds_context
from medloom.wording import counted

__all__ = ["caveats", "write_evaluation_report", "write_measured_page", "write_run_report"]

Rows = list[dict[str, Any]]

_SPLITS = ("train", "validation", "test")
_SHOWN_EPOCHS = 6
_FORMER_LEGEND = [["true", "#50dc64"], ["predicted", "#f03c3c"]]
"""Of runs that do not say how their pictures were drawn."""

_EXPLAINED = 3
"""Explained images that are shown."""
_WHOSE: dict[Part, tuple[str, str]] = {
    "test": ("test patient that training never saw", "test patients that training never saw"),
    "validation": ("validation patient", "validation patients"),
}
"""Whose images were measured, one or several of them."""


def write_run_report(
    run_dir: Path, part: Part = "test", *, changed: Sequence[str] = (), page: str = "report.html"
) -> Path:
    """Write ``report.html`` from the facts that the stages left in the run directory.

    A stage that has not run yet leaves its section out; the page says so.

    Args:
        run_dir: The run directory; ``prepare.json`` must be there.
        part: Which metrics are shown.
        changed: What is not as it was when they were taken.
        page: Name of the file.

    Returns:
        The path of the page.
    """
    prepared = read_json(run_dir / "prepare.json")
    training, summary = read_facts(run_dir / "training.json"), read_summary(run_dir, part)
    recipe, epochs = read_recipe(run_dir / "recipe.yaml"), _lines(run_dir / "metrics.jsonl")
    section, openings = KINDS[prepared["target"]["kind"]], openings_sentence(run_dir)
    return _write(
        run_dir / page,
        section,
        evaluation_folder(run_dir, part),
        summary,
        title=f"Run report: {recipe.get('name', 'run')}",
        description=recipe.get("description", "").rstrip("."),
        whose=_whose(prepared, summary, part),
        phantom=bool(prepared["phantom"]),
        warnings=[
            *filter(None, [kept_text(run_dir)]),
            *_warnings(prepared, training, summary, section, changed, openings),
            *not_validated(summary),
        ],
        openings=openings,
        interval=summary.get("interval"),
        several_parts="folds" not in summary and part == "test",  # each fold has a validation part of its own
        split=part_table({part: prepared["counts"][part] for part in _SPLITS}, "Part", "Patients", "Images"),
        first_fold="folds" in summary,
        demographics=demographic_table(prepared.get("demographics", ())),
        set_aside=set_aside_sentence(prepared),
        curves=curves(epochs, training.get("best_epoch")) if epochs else "",
        training=_training_table(training),
        diagnosis=diagnosed(run_dir),
        progress=_progress(run_dir / "progress"),
        profile=profile_context(run_dir),
        recipe=yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True),
        environment=_environment_rows(read_facts(run_dir / "run.json")),
        checklists=(run_dir / CHECKLISTS[1]).is_file(),
        elsewhere={},
        explained=explanation_context(run_dir / "explanation", _EXPLAINED),
    )


def caveats(prepared: Facts, summary: Facts) -> list[str]:
    """Return what a reader must know before relying on what was measured, the gravest first.

    Args:
        prepared: As in ``prepare.json``.
        summary: As in ``summary.json``.
    """
    section = KINDS[prepared["target"]["kind"]]
    said = [*_evaluation_warnings(summary, section), *few_chosen(summary), *prepared.get("warnings", ())]
    return list(dict.fromkeys(said))


def write_evaluation_report(folder: Path) -> Path:
    """Write ``report.html`` on metrics alone, such as those of someone else's results.

    Args:
        folder: Holds ``summary.json`` and, where there are any, ``cases.csv`` and the gallery.

    Returns:
        The path of the page.
    """
    summary = read_json(folder / "summary.json")
    return write_measured_page(
        folder,
        summary,
        title="Evaluation report",
        description="Metrics of results that were made elsewhere",
        warnings=summary.get("warnings", []),
    )


def write_measured_page(
    folder: Path,
    summary: Facts,
    *,
    title: str,
    description: str,
    warnings: Sequence[str] = (),
    phantom: bool = False,
    set_aside: str = "",
    demographics: Facts | None = None,
    elsewhere: Facts | None = None,
) -> Path:
    """Write ``report.html`` of what was measured without a run.

    Args:
        folder: Holds ``cases.csv`` and the gallery, where there are any.
        summary: As in ``summary.json``.
        title: Of the page.
        description: What it is about.
        warnings: What a reader must know, beside what the metrics themselves say.
        phantom: Whether images were made up.
        set_aside: What was not measured.
        demographics: Who the patients are, as a table.
        elsewhere: What an external validation shows beside; None for anything else.

    Returns:
        The path of the page.
    """
    section = KINDS[summary["target"]["kind"]]
    return _write(
        folder / "report.html",
        section,
        folder,
        summary,
        title=title,
        description=description,
        whose=("patient", "patients") if summary["interval"]["over"] == "patients" else (),
        phantom=phantom,
        warnings=[*warnings, *_evaluation_warnings(summary, section)],
        interval=summary["interval"],
        openings="",
        several_parts="validation" in summary,
        split={},
        first_fold=False,
        demographics=demographics or {},
        set_aside=set_aside,
        curves="",
        training={},
        diagnosis=[],
        progress={"epochs": []},
        profile={},
        recipe="",
        environment=[],
        explained={},
        checklists=False,
        elsewhere=elsewhere or {},
    )


def _whose(prepared: Facts, summary: Facts, part: Part) -> tuple[str, ...]:
    """Whose images were measured, as far as that was checked; nothing where patients are not known."""
    if summary and summary["interval"]["over"] != "patients":
        return ()
    return _WHOSE[part] if patient_source(prepared)["apart"] else (f"{part} patient", f"{part} patients")


def _write(
    path: Path, section: Section, evaluation: Path, summary: Facts, *, warnings: Sequence[str], **common: object
) -> Path:
    """Fill the template with what was measured and with what every page shows."""
    at = evaluation.relative_to(path.parent).as_posix()
    return write_page(
        path,
        "run_report.html",
        part=part_of(summary),
        plain=plain_words([*section.words(summary), *seed_words(summary)], [*warnings, *few_chosen(summary)]),
        at="" if at == "." else f"{at}/",
        section=section,
        gallery=gallery_context(evaluation),
        served=served_tables(summary),
        taken=_taken(summary),
        review=review_table(summary),
        seeds=seeds_context(summary),
        **section.measured(evaluation, summary),
        **common,
    )


def _taken(summary: Facts) -> list[str]:
    """With what the metrics were taken, a sentence each; nothing where no network of ours was measured."""
    measured_with = summary.get("measured_with", {})
    if "runtime" not in measured_with:
        return []
    reduced = precision_texts(summary["precision"]) if "precision" in summary else []
    runtime, precision = measured_with["runtime"], measured_with.get("precision", "fp32")
    return [f"The network was computed with {runtime} in {precision}, as the bundle serves it.", *reduced]


def _lines(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


def _warnings(
    prepared: Facts, training: Facts, summary: Facts, section: Section, changed: Sequence[str], openings: str
) -> list[str]:
    """What a reader must know before believing a metric, the gravest first."""
    warnings: list[str] = []
    if not summary:
        warnings.append("This model has not been measured yet; run `medloom evaluate`.")
    if changed:
        warnings.append(
            f"These metrics are not of the model as it is: {', '.join(changed)} changed since they were taken; run "
            "`medloom evaluate` again."
        )
    if part_of(summary) == "validation":
        warnings.append(ON_VALIDATION if openings else f"{HELD_BACK} `medloom evaluate` opens the test set.")
    if note := ensemble_note(summary):
        warnings.append(note)
    if training and not training.get("finished", True):
        warnings.append(f"Training was stopped after {counted(training['epochs'], 'epoch')} and can be continued.")
    warnings += averaged_warnings(training)
    if summary:
        warnings += _evaluation_warnings(summary, section)
    return warnings + list(prepared.get("warnings", []))


def _evaluation_warnings(summary: Facts, section: Section) -> list[str]:
    warnings = section.warnings(summary)
    if summary["interval"]["resamples"] == 0:
        warnings.append("No intervals were taken: there were no bootstrap resamples.")
    return warnings


def _training_table(training: Facts) -> Facts:
    """How the training went; of folds and seeds, how that of each did, and of a network that learned from them."""
    if not training:
        return {}
    further = {"Distilled": training["distilled"]} if "distilled" in training else {}
    members = training.get("folds") or training.get("seeds") or [training]
    columns = [_training_rows(one) for one in (*members, *further.values())]
    rows = [[name, *(column.get(name, "–") for column in columns)] for name in columns[0]]
    names = [f"Seed {one['seed']}" if "seed" in one else f"Fold {at}" for at, one in enumerate(members, start=1)]
    return {"head": ["Training", *([*names, *further] if len(columns) > 1 else [""])], "rows": rows}


def _training_rows(training: Facts) -> dict[str, str]:
    early = ", stopped early" if training.get("stopped_early") else ""
    seconds, rate = training.get("seconds"), training.get("images_per_s")
    return {
        "Epochs": f"{number(training.get('epochs'))}{early}",
        "Best epoch": number(training.get("best_epoch")),
        f"Best {training.get('monitor', 'metric')} on validation": number(training.get("best_metric")),
        "Device and precision": f"{training.get('device', '–')}, {training.get('precision', '–')}",
        "Images in a step": _step_text(training),
        **averaged_rows(training),
        "Time": "–" if seconds is None else f"{seconds / 60:,.1f} min",
        "Training images a second": number(rate, 1),
        "Peak memory": megabytes(training.get("peak_rss_bytes")),
    }


def _step_text(training: Facts) -> str:
    """How many images a step has, and how many of them went through the network at a time where those are fewer."""
    images, pieces = training.get("batch_size"), training.get("micro_batch")
    few = pieces is not None and images is not None and pieces < images
    return f"{number(images)}, {number(pieces)} at a time" if few else number(images)


def _progress(folder: Path) -> Facts:
    """Pictures of the fixed validation images: the first, the last and a few epochs evenly between."""
    facts = read_facts(folder / "progress.json")
    epochs = [entry for entry in facts.get("epochs", []) if (folder / entry["file"]).is_file()]
    last = len(epochs) - 1
    shown = sorted({round(index * last / (_SHOWN_EPOCHS - 1)) for index in range(_SHOWN_EPOCHS)}) if epochs else []
    return {
        "legend": facts.get("legend", _FORMER_LEGEND),
        "scale": scale_bar(facts.get("scale")),
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
