"""What the run report says of a segmentation."""

from __future__ import annotations

from pathlib import Path

from medloom.reports.classification_charts import confusion_chart
from medloom.reports.facts import Facts, few_patients_warning, read_facts, read_test_rows
from medloom.reports.figures import figure_rows, fold_table, tiles, value_text, with_interval
from medloom.reports.html import data_uri, number
from medloom.reports.run_charts import patient_chart, point_chart
from medloom.wording import counted

__all__ = ["segmentation_context", "segmentation_warnings"]

_HEADLINES = ("dice_lesion", "false_alarm_rate", "patient_dice_lesion", "lesion_sensitivity")
_PER_CLASS = ("dice_lesion", "iou_lesion", "false_alarm_rate", "patient_dice_lesion", "lesion_sensitivity")


def segmentation_context(folder: Path, summary: Facts) -> Facts:
    """Return what the template of a segmentation shows.

    Args:
        folder: The ``evaluation`` folder.
        summary: Its ``summary.json``; nothing if it was not measured.
    """
    counts = summary.get("test", {}).get("counts")
    confusion = summary.get("test", {}).get("pixel_confusion")
    several = bool(confusion) and len(confusion["classes"]) > 2
    return {
        "measured": counted(counts["slices"], "slice") if counts else "",
        "counts": counts,
        "tiles": tiles(summary, _HEADLINES),
        "figures": figure_rows(summary),
        "comparison": _comparison(summary),
        "classes": _class_rows(summary),
        "confusion": summary.get("test", {}).get("confusion"),
        "pixel_confusion": confusion_chart(confusion, unit="pixels") if several else "",
        "point": _point(folder, summary),
        "folds": fold_table(summary, _HEADLINES),
        "patients": _patients(folder / "patients.csv"),
        "gallery": _gallery(folder),
    }


def segmentation_warnings(summary: Facts) -> list[str]:
    """Say what a reader must know before believing a figure."""
    counts, warnings = summary["test"]["counts"], []
    if not counts["slices"]:
        warnings.append("There is no test slice: nothing says how good this model is on new patients.")
    elif not counts["slices_with_lesion"]:
        warnings.append("No test slice holds a lesion: Dice and sensitivity are not defined.")
    else:
        warnings += few_patients_warning(counts["patients"])
    return [*warnings, *(f"{note[:1].upper()}{note[1:]}." for note in summary.get("notes", ()))]


def _comparison(summary: Facts) -> Facts:
    """The overlap figures of the test set beside those without an operating point and of two constants."""
    if not summary:
        return {}
    test = summary["test"]
    columns = {
        "This model": test["figures"],
        "At 0.5, no smallest lesion": test.get("plain"),
        "Predicts nothing": test["baselines"]["nothing"],
        "Lesion everywhere": test["baselines"]["everywhere"],
    }
    there = {name: figures for name, figures in columns.items() if figures}
    rows = [
        [summary["meanings"][name]["label"], *(value_text(figures[name]["value"]) for figures in there.values())]
        for name in test["baselines"]["nothing"]
    ]
    return {"head": ["Test", *there], "rows": rows, "plain": bool(test.get("plain"))}


def _class_rows(summary: Facts) -> list[list[str]]:
    per_class = summary.get("test", {}).get("per_class", {})
    return [[name, *(with_interval(figures[key]) for key in _PER_CLASS)] for name, figures in per_class.items()]


def _point(folder: Path, summary: Facts) -> Facts:
    """The operating point, how it was chosen, and a chart of what else there was."""
    if not summary.get("operating_point"):
        return {}
    search = read_facts(folder / "operating_point.json")
    searched = any(value is not None for row in search.get("dice_lesion", []) for value in row)
    chart = point_chart(search) if searched else ""
    return {**summary["operating_point"], "rule": summary["rule"], "chart": chart}


def _patients(path: Path) -> Facts:
    """Chart and table of the test patients, the worst first."""
    rows = sorted(read_test_rows(path), key=lambda row: (float(row["dice"]), row["patient_id"]))
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
    chart = patient_chart(rows, [row[0] for row in table]) if rows else ""
    return {"table": table, "chart": chart, "several": several}


def _gallery(folder: Path) -> Facts:
    """Pictures with their captions, group by group; a group without a picture is left out."""
    facts = read_facts(folder / "gallery.json")
    groups = [
        {
            "title": group["title"],
            "items": [
                {
                    "uri": data_uri(folder / item["file"]),
                    "caption": _caption(item),
                }
                for item in group["items"]
            ],
        }
        for group in facts.get("groups", [])
        if group["items"]
    ]
    return {"channel": facts.get("channel", ""), "groups": groups}


def _caption(item: Facts) -> str:
    found = f"true {number(item['truth_px'])} px, predicted {number(item['predicted_px'])} px"
    classes = ", ".join(f"{name} {number(dice)}" for name, dice in item.get("classes", {}).items())
    dice = f"mean Dice of the classes {number(item['dice'])} ({classes})" if classes else f"Dice {number(item['dice'])}"
    return f"{item['sample_id']}: {dice}, {found}"
