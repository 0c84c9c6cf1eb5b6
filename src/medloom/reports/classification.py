"""What the run report says of a classification."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medloom.files import read_json
from medloom.reports.classification_charts import calibration_chart, confusion_chart, ranking_chart, value_chart
from medloom.reports.facts import Facts, few_patients_warning, read_test_rows
from medloom.reports.figures import figure_rows, fold_table, tiles, value_text, with_interval
from medloom.reports.html import data_uri, number, percent, quantity
from medloom.wording import counted

__all__ = ["classification_context", "classification_warnings"]

_PER_TARGET = ("roc_auc", "average_precision", "sensitivity", "specificity", "precision", "f1", "ece")
_FEW_POSITIVES = 10


def classification_context(folder: Path, summary: Facts) -> Facts:
    """Return what the template of a classification shows.

    Args:
        folder: The ``evaluation`` folder.
        summary: Its ``summary.json``; nothing if it was not measured.
    """
    test = summary.get("test", {})
    counts = test.get("counts")
    return {
        "measured": counted(counts["cases"], "image") if counts else "",
        "counts": counts,
        "tiles": tiles(summary, summary.get("headlines", ())),
        "figures": figure_rows(summary),
        "baseline": test.get("baseline", {}).get("answer", ""),
        "prevalence": _prevalence_rows(test),
        "confusion": confusion_chart(test["confusion"]) if test.get("confusion") else "",
        "point": _point(summary),
        "questions": _questions(summary),
        "values": _values(folder / "cases.csv", summary),
        "classes": _target_rows(summary),
        "folds": fold_table(summary, summary.get("headlines", ())),
        "groups": _group_rows(summary),
        "per_patient": _per_patient(summary),
        "gallery": _gallery(folder, summary),
    }


def classification_warnings(summary: Facts) -> list[str]:
    """Say what a reader must know before believing a figure."""
    counts, warnings, few = summary["test"]["counts"], [], []
    if not counts["cases"]:
        return ["There is no test case: nothing says how good this model is on new patients."]
    for name, positive in counts["positives"].items():
        if positive["cases"] in (0, counts["cases"]):
            which = "No" if positive["cases"] == 0 else "Every"
            warnings.append(f"{which} test case is positive for {name}: its curves and areas are not defined.")
        elif positive["patients"] < _FEW_POSITIVES:
            few.append(f"{name} ({positive['patients']})")
    if few:
        warnings.append(
            f"Few test patients are positive for {', '.join(few)}: sensitivity and precision are uncertain there "
            "beyond their intervals."
        )
    return [
        *warnings,
        *few_patients_warning(counts["patients"]),
        *(f"{note}." for note in summary["operating_point"].get("notes", ())),
    ]


def _prevalence_rows(test: Facts) -> list[list[str]]:
    positives = test.get("counts", {}).get("positives", {})
    return [
        [name, number(one["cases"]), percent(one["prevalence"]), number(one["patients"])]
        for name, one in positives.items()
    ]


def _point(summary: Facts) -> Facts:
    """The operating point in words: a threshold for each question, or the rule alone; nothing for numbers."""
    if not summary or summary["target"]["kind"] == "real":
        return {}
    names = summary["target"]["names"]
    asked = names[1:] if summary["target"]["kind"] == "binary" else names
    thresholds = summary["operating_point"]["thresholds"]
    rows = [[name, number(threshold, 4)] for name, threshold in zip(asked, thresholds, strict=False)]
    return {"rule": summary["rule"], "rows": rows}


def _questions(summary: Facts) -> list[dict[str, Any]]:
    """The charts of each question; the only one, or those of every class or target, and of the probable class."""
    if not summary or summary["target"]["kind"] == "real":
        return []
    test, kind = summary["test"], summary["target"]["kind"]
    thresholds = summary["operating_point"]["thresholds"]
    if kind == "binary":
        return [_question("", test, _positive(test), thresholds[0] if thresholds else None)]
    asked = [
        _question(name, facts, test["counts"]["positives"][name], threshold)
        for (name, facts), threshold in zip(
            test["per_target"].items(), thresholds or [None] * len(test["per_target"]), strict=False
        )
    ]
    if kind == "multi-class":
        ece = test["figures"]["ece"]["value"]
        some = test["counts"]["cases"]
        chart = calibration_chart(test["reliability"], {}, None, ece, observed="Share that was right") if some else ""
        asked.insert(
            0, {"title": "Most probable class", "ranking": "", "calibration": chart, "confusion": "", "open": True}
        )
    if kind == "multi-label":
        for question, facts in zip(asked, test["per_target"].values(), strict=True):
            question["confusion"] = confusion_chart(facts["confusion"])
    return asked


def _positive(test: Facts) -> Facts:
    positive: Facts = next(iter(test["counts"]["positives"].values()))
    return positive


def _question(title: str, facts: Facts, positive: Facts, threshold: float | None) -> dict[str, Any]:
    figures = {name: figure["value"] for name, figure in facts["figures"].items()}
    at = tuple(figures[name] for name in ("sensitivity", "specificity", "precision"))
    point = None if any(value is None for value in at) else at
    some = any(facts["reliability"]["width"]["cases"])
    return {
        "title": title,
        "ranking": ranking_chart(facts["curves"], positive["prevalence"], point) if facts["curves"] else "",
        "calibration": calibration_chart(facts["reliability"], facts["curves"], threshold, figures["ece"])
        if some
        else "",
        "confusion": "",
        "open": not title,
    }


def _values(path: Path, summary: Facts) -> str:
    """Chart of predicted over true values, where values were predicted."""
    if not summary or summary["target"]["kind"] != "real":
        return ""
    rows = read_test_rows(path)
    if not rows:
        return ""
    return value_chart(
        {
            name: ([float(row[f"truth_{index}"]) for row in rows], [float(row[f"score_{index}"]) for row in rows])
            for index, name in enumerate(summary["target"]["names"])
        }
    )


def _target_rows(summary: Facts) -> Facts:
    """Figures of each class or target alone."""
    targets = summary.get("test", {}).get("per_target", {})
    if not targets:
        return {}
    first = next(iter(targets.values()))["figures"]
    names = [name for name in _PER_TARGET if name in first] or list(first)
    units = {name: summary["meanings"][name]["unit"] for name in names}
    rows = [
        [title, *(with_interval(facts["figures"][name], units[name]) for name in names)]
        for title, facts in targets.items()
    ]
    return {"head": ["", *_labels(summary, names)], "rows": rows}


def _group_rows(summary: Facts) -> Facts:
    """Figures by site, sex, age and the like, with counts."""
    groups = summary.get("test", {}).get("groups", [])
    if not groups:
        return {}
    names = [name for name in summary["headlines"] if any(name in (group["figures"] or {}) for group in groups)]
    units = {name: summary["meanings"][name]["unit"] for name in names}
    asked = summary["target"]["kind"] != "real"
    rows = [
        [
            f"{group['column']}: {group['value']}",
            number(group["cases"]),
            number(group["patients"]),
            *([_positives(group["positives"])] if asked else ()),
            *((with_interval(group["figures"][name], units[name]) if group["figures"] else "") for name in names),
            group["note"],
        ]
        for group in groups
    ]
    return {
        "head": ["Group", "Cases", "Patients", *(["Positive"] if asked else ()), *_labels(summary, names), ""],
        "rows": rows,
    }


def _positives(positives: Mapping[str, Facts]) -> str:
    if len(positives) == 1:
        return number(next(iter(positives.values()))["cases"])
    return ", ".join(f"{name} {number(one['cases'])}" for name, one in positives.items()) or "–"


def _per_patient(summary: Facts) -> Facts:
    """Figures over patients instead of images."""
    pooled = summary.get("test", {}).get("per_patient")
    if not pooled:
        return {}
    rows = [
        [
            summary["meanings"][name]["label"],
            with_interval(figure),
            value_text(summary["test"]["figures"][name]["value"]),
        ]
        for name, figure in pooled["figures"].items()
        if figure["value"] is not None
    ]
    return {"rows": rows, "patients": counted(pooled["counts"]["cases"], "patient")}


def _labels(summary: Facts, names: Iterable[str]) -> list[str]:
    return [summary["meanings"][name]["label"] for name in names]


def _gallery(folder: Path, summary: Facts) -> Facts:
    """The worst cases: pictures with their heat maps and captions; nothing without a mistake."""
    path = folder / "gallery.json"
    items = read_json(path) if path.is_file() else []
    if not items:
        return {}
    numbers = "error" in items[0]
    several = numbers and len(summary["target"]["names"]) > 1
    notes = ["Test cases, the worst first."]
    if several:
        notes.append("The targets have different units, so an error counts in standard deviations of its target.")
    if any("heatmap" in item for item in items):
        shown = _heat_shows(summary)
        notes.append(f"The heat map shows {shown}; it does not say that the network was right to look there.")
    return {
        "title": "Largest errors" if numbers else "Most confident mistakes",
        "note": " ".join(notes),
        "pictures": [_picture(folder, item, several) for item in items],
    }


def _heat_shows(summary: Facts) -> str:
    """What a heat map shows: of two classes there is one output, that of the second."""
    kind = summary["target"]["kind"]
    if kind == "real":
        return "what raises the predicted number"
    if kind == "binary":
        return f"what speaks for {summary['target']['names'][1]}"
    return f"what speaks for {'the label in question' if kind == 'multi-label' else 'the decided class'}"


def _picture(folder: Path, item: Facts, several: bool) -> Facts:
    heatmap = item.get("heatmap")
    return {
        "uri": data_uri(folder / item["file"]),
        "heatmap": data_uri(folder / heatmap) if heatmap else "",
        "caption": _error_caption(item, several) if "error" in item else _mistake_caption(item),
    }


def _mistake_caption(item: Facts) -> str:
    decided = f"decided {item['decision']} of probability {number(item['score'])}"
    return f"{item['sample_id']}: true {item['truth']}, {decided}"


def _error_caption(item: Facts, several: bool) -> str:
    true, guess, error = quantity(item["truth"]), quantity(item["predicted"]), quantity(item["error"], sign=True)
    size = f", {number(item['spreads'], 1)} standard deviations" if several else ""
    return f"{item['sample_id']}: {item['target']} true {true}, predicted {guess}, error {error}{size}"
