"""What the reports say of labels of whole images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medloom.evaluation.parts import measured, part_of
from medloom.evaluation.text import number
from medloom.reports.calibration import calibration_table
from medloom.reports.confusion import confusion_chart
from medloom.reports.facts import Facts, few_patients_warning, read_rows
from medloom.reports.html import percent
from medloom.reports.metrics import fold_table, metric_table, tiles, with_interval
from medloom.reports.parts import part_table
from medloom.reports.sections.label_charts import calibration_chart, ranking_chart, value_chart
from medloom.reports.sections.section import Section
from medloom.reports.sections.words import label_words
from medloom.wording import counted

__all__ = ["LABELS"]

_BASELINE = "constant"
_PER_TARGET = ("roc_auc", "average_precision", "sensitivity", "specificity", "precision", "f1", "ece")
_FEW_POSITIVES = 10


def _measured(folder: Path, summary: Facts) -> Facts:
    """What the templates show of an evaluation."""
    test: Facts = measured(summary)
    counts, baselines = test.get("counts"), test.get("baselines", {})
    return {
        "measured": counted(counts["images"], "image") if counts else "",
        "counts": counts,
        "counted_as": "images",
        "each_class": "",
        "tiles": tiles(summary),
        "metrics": metric_table(summary, list(baselines)),
        "compared": [one["title"] for one in baselines.values()],
        "baseline": baselines.get(_BASELINE, {}).get("answer", ""),
        "prevalence": _prevalence_rows(summary),
        "confusion": confusion_chart(test["confusion"]) if test.get("confusion") else "",
        "calibrated": calibration_table(summary),
        "point": _point(summary),
        "questions": _questions(summary),
        "values": _values(folder / "cases.csv", summary),
        "classes": _target_rows(summary),
        "folds": fold_table(summary, _point_text),
        "groups": _group_rows(summary),
        "per_patient": _per_patient(summary),
    }


def _warnings(summary: Facts) -> list[str]:
    """What a reader must know before believing a metric."""
    counts, warnings, few = measured(summary)["counts"], [], []
    part = part_of(summary)
    if not counts["images"]:
        return [f"There is no {part} case: nothing says how good this model is on new patients."]
    for name, positive in counts["positives"].items():
        if positive["images"] in (0, counts["images"]):
            which = "No" if positive["images"] == 0 else "Every"
            warnings.append(f"{which} {part} case is positive for {name}: its curves and areas are not defined.")
        elif (count := _units(positive)) < _FEW_POSITIVES:
            few.append(f"{name} ({count})")
    if few:
        warnings.append(
            f"Few {part} {summary['interval']['over']} are positive for {', '.join(few)}: sensitivity and precision "
            "are uncertain there beyond their intervals."
        )
    warnings += [*few_patients_warning(counts["patients"], part), *(f"{note}." for note in summary["notes"])]
    return [*warnings, *measured(summary).get("cautions", ())]


def _units(positive: Facts) -> int:
    """How many patients are positive, or how many images where it is not known whose they are."""
    count: int = positive["images"] if positive["patients"] is None else positive["patients"]
    return count


def _point_text(point: Mapping[str, Any]) -> str:
    return ", ".join(number(threshold) for threshold in point["thresholds"])


def _prevalence_rows(summary: Facts) -> list[list[str]]:
    return [
        [name, number(one["images"]), percent(one["prevalence"]), number(one["patients"])]
        for name, one in _asked(summary).items()
    ]


def _point(summary: Facts) -> Facts:
    """The operating point in words: a threshold for each question, or the rule alone; nothing for numbers."""
    if not _asked(summary):
        return {}
    rows = [[name, number(at, 4)] for name, at in zip(_asked(summary), _thresholds(summary), strict=False)]
    return {"rule": summary["rule"], "rows": rows}


def _asked(summary: Facts) -> dict[str, Facts]:
    """How many cases are positive for each question; nothing for numbers, of which nothing is asked."""
    positives: dict[str, Facts] = measured(summary).get("counts", {}).get("positives", {})
    return positives


def _thresholds(summary: Facts) -> list[float]:
    thresholds: list[float] = summary["operating_point"]["thresholds"]
    return thresholds


def _questions(summary: Facts) -> list[dict[str, Any]]:
    """The charts of each question: of the only one, or of every class or label, and of the most probable class."""
    asked = _asked(summary)
    if not asked:
        return []
    test = measured(summary)
    thresholds: list[float | None] = [*_thresholds(summary)] or [None] * len(asked)
    several = test["per_target"]
    if not several:
        return [_question("", test, next(iter(asked.values())), thresholds[0])]
    drawn = [
        _question(name, facts, asked[name], at) for (name, facts), at in zip(several.items(), thresholds, strict=True)
    ]
    if test["confusion"]:  # of classes, which exclude each other
        return [_most_probable(test), *drawn]
    for question, facts in zip(drawn, several.values(), strict=True):
        question["confusion"] = confusion_chart(facts["confusion"])
    return drawn


def _most_probable(test: Facts) -> dict[str, Any]:
    """The calibration of the most probable of several classes."""
    ece, some = test["metrics"]["ece"]["value"], test["counts"]["images"]
    chart = calibration_chart(test["reliability"], {}, None, ece, observed="Share that was right") if some else ""
    return {"title": "Most probable class", "ranking": "", "calibration": chart, "confusion": "", "open": True}


def _question(title: str, facts: Facts, positive: Facts, threshold: float | None) -> dict[str, Any]:
    metrics = {name: metric["value"] for name, metric in facts["metrics"].items()}
    at = tuple(metrics[name] for name in ("sensitivity", "specificity", "precision"))
    point = None if any(value is None for value in at) else at
    some = any(facts["reliability"]["width"]["cases"])
    return {
        "title": title,
        "ranking": ranking_chart(facts["curves"], positive["prevalence"], point) if facts["curves"] else "",
        "calibration": calibration_chart(facts["reliability"], facts["curves"], threshold, metrics["ece"])
        if some
        else "",
        "confusion": "",
        "open": not title,
    }


def _values(path: Path, summary: Facts) -> str:
    """Chart of predicted over true values, where numbers were predicted."""
    if not summary or _asked(summary):
        return ""
    rows = read_rows(path, part_of(summary))
    if not rows:
        return ""
    pairs = {}
    for index, name in enumerate(summary["target"]["names"]):
        known = [row for row in rows if row[f"truth_{index}"]]
        pairs[name] = [float(row[f"truth_{index}"]) for row in known], [float(row[f"score_{index}"]) for row in known]
    return value_chart(pairs)


def _target_rows(summary: Facts) -> Facts:
    """Metrics of each class or target alone."""
    targets = measured(summary).get("per_target", {})
    if not targets:
        return {}
    first = next(iter(targets.values()))["metrics"]
    names = [name for name in _PER_TARGET if name in first] or list(first)
    units = {name: summary["meanings"][name]["unit"] for name in names}
    rows = [
        [title, *(with_interval(facts["metrics"][name], units[name]) for name in names)]
        for title, facts in targets.items()
    ]
    return {"head": ["", *_labels(summary, names)], "rows": rows}


def _group_rows(summary: Facts) -> Facts:
    """Metrics by site, sex, age and the like, with counts."""
    groups = measured(summary).get("groups", [])
    if not groups:
        return {}
    names = [name for name in summary["headlines"] if any(name in (group["metrics"] or {}) for group in groups)]
    units = {name: summary["meanings"][name]["unit"] for name in names}
    asked = bool(_asked(summary))
    rows = [
        [
            f"{group['column']}: {group['value']}",
            number(group["images"]),
            number(group["patients"]),
            *([_positives(group["positives"])] if asked else ()),
            *((with_interval(group["metrics"][name], units[name]) if group["metrics"] else "") for name in names),
            group["note"],
        ]
        for group in groups
    ]
    return {
        "head": ["Group", "Images", "Patients", *(["Positive"] if asked else ()), *_labels(summary, names), ""],
        "rows": rows,
    }


def _positives(positives: Mapping[str, Facts]) -> str:
    if len(positives) == 1:
        return number(next(iter(positives.values()))["images"])
    return ", ".join(f"{name} {number(one['images'])}" for name, one in positives.items()) or "–"


def _per_patient(summary: Facts) -> Facts:
    """Metrics over patients instead of images."""
    pooled = measured(summary).get("per_patient")
    if not pooled:
        return {}
    rows = [
        [
            summary["meanings"][name]["label"],
            with_interval(metric, summary["meanings"][name]["unit"]),
            with_interval(measured(summary)["metrics"][name], summary["meanings"][name]["unit"]),
        ]
        for name, metric in pooled["metrics"].items()
        if metric["value"] is not None
    ]
    return {"rows": rows, "patients": counted(pooled["patients"], "patient"), "rule": pooled.get("rule", "")}


def _labels(summary: Facts, names: Iterable[str]) -> list[str]:
    return [summary["meanings"][name]["label"] for name in names]


def _prepared(prepared: Facts, facts: Facts) -> Facts:
    """What the data report shows of labels."""
    target = prepared["target"]
    return {
        "tile": ["Labels", target["kind"], ", ".join(target["names"])],
        "split": part_table(prepared["counts"], "Split", "Patients", "Samples"),
        "balance": "the labels alike",
        "shares": "",
        "marked": "",
        "contrast": {},
        "foreground": {},
        "one_patient": {},
    }


LABELS = Section(_measured, label_words, _warnings, _prepared, template="labels.html", notebook="notebook_labels.txt")
"""What the reports say of labels of whole images."""
