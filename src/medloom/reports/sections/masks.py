"""What the reports say of masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medloom.evaluation.parts import Part, measured, part_of
from medloom.evaluation.text import number, sentence_case
from medloom.reports.calibration import calibration_table
from medloom.reports.charts import SPLIT_COLOURS, bars, figure_uri, new_figure
from medloom.reports.confusion import confusion_chart
from medloom.reports.facts import Facts, few_patients_warning, patient_source, read_facts, read_rows
from medloom.reports.foreground import foreground_size
from medloom.reports.html import percent
from medloom.reports.metrics import fold_table, metric_table, tiles, value_text, with_interval
from medloom.reports.parts import patients_cell
from medloom.reports.sections.mask_charts import patient_chart, point_chart
from medloom.reports.sections.section import Section
from medloom.reports.sections.words import mask_words
from medloom.wording import counted

__all__ = ["MASKS"]

_PER_CLASS = {
    "dice_foreground": "Dice with foreground",
    "iou_foreground": "IoU with foreground",
    "false_positive_rate": "False positive rate",
    "patient_dice_foreground": "Dice per patient",
    "region_sensitivity": "Regions found",
}
_CONTRAST_HEAD = ("Channel", "Foreground ÷ rest", "Darkest ÷ rest")


def _measured(folder: Path, summary: Facts) -> Facts:
    """What the templates show of an evaluation."""
    test: Facts = measured(summary)
    counts = test.get("counts")
    classes = _class_rows(test)
    return {
        "measured": counted(counts["images"], "image") if counts else "",
        "counts": counts,
        "counted_as": "images, patients or regions" if _over_patients(summary) else "images or regions",
        "each_class": f"Each class of an image{', and of a patient,' * _over_patients(summary)} counts for itself."
        if classes
        else "",
        "tiles": tiles(summary),
        "metrics": metric_table(summary),
        "comparison": _comparison(summary),
        "classes": {"head": ["Class", *_per_class_heads(test)], "rows": classes},
        "confusion": test.get("confusion"),
        "pixel_confusion": confusion_chart(test["pixel_confusion"], unit="pixels") if classes else "",
        "calibrated": calibration_table(summary),
        "point": _point(folder, summary),
        "folds": fold_table(summary, _point_text),
        "patients": _patients(folder / "patients.csv", part_of(summary)) if _over_patients(summary) else {},
    }


def _over_patients(summary: Facts) -> bool:
    return bool(summary) and summary["interval"]["over"] == "patients"


def _warnings(summary: Facts) -> list[str]:
    """What a reader must know before believing a metric."""
    counts, part, warnings = measured(summary)["counts"], part_of(summary), []
    if not counts["images"]:
        warnings.append(f"There is no {part} image: nothing says how good this model is on new patients.")
    elif not counts["images_with_foreground"]:
        warnings.append(f"No {part} image holds foreground: Dice and sensitivity are not defined.")
    else:
        warnings += few_patients_warning(counts["patients"], part)
    return [*warnings, *(f"{sentence_case(note)}." for note in summary["notes"])]


def _comparison(summary: Facts) -> Facts:
    """The overlap metrics beside those of the baselines."""
    if not summary:
        return {}
    test = measured(summary)
    baselines: dict[str, Facts] = test["baselines"]
    columns = {"This model": test, **{one["title"]: one for one in baselines.values()}}
    rows = [
        [
            summary["meanings"][name]["label"],
            *(value_text(column["metrics"][name]["value"]) for column in columns.values()),
        ]
        for name in next(iter(baselines.values()))["metrics"]
        if name in test["metrics"]
    ]
    return {"head": [sentence_case(part_of(summary)), *columns], "rows": rows, "plain": "plain" in baselines}


def _per_class_heads(test: Facts) -> list[str]:
    return [head for key, head in _PER_CLASS.items() if key in test.get("metrics", ())]


def _class_rows(test: Facts) -> list[list[str]]:
    per_class = test.get("per_target", {})
    return [
        [name, *(with_interval(facts["metrics"][key]) for key in _PER_CLASS if key in facts["metrics"])]
        for name, facts in per_class.items()
    ]


def _point(folder: Path, summary: Facts) -> Facts:
    """The operating point, how it was chosen, and a chart of what else there was."""
    if not summary.get("operating_point"):
        return {}
    search = read_facts(folder / "operating_point.json")
    searched = any(value is not None for row in search.get("dice_foreground", []) for value in row)
    chart = point_chart(search) if searched and "threshold" in search else ""
    point, names = summary["operating_point"], summary["target"]["names"][1:]
    each = [[name, number(at, 2)] for name, at in zip(names, point.get("thresholds", ()), strict=False)]
    more = {"each": each, "chart": chart, "name": _name(summary["target"])}
    return {"threshold": None, **point, "rule": summary["rule"], **more}


def _point_text(point: Mapping[str, Any]) -> str:
    if not point:
        return ""
    thresholds = point.get("thresholds", [point.get("threshold")])
    return f"{', '.join(number(one, 2) for one in thresholds)}, {counted(point['min_region_px'], 'pixel')}"


def _name(target: Facts) -> str:
    """What the foreground is called: by its class, where there is exactly one."""
    foreground = target["names"][1:]
    return foreground[0] if len(foreground) == 1 else "foreground"


def _patients(path: Path, part: Part) -> Facts:
    """Chart and table of the patients that were measured, the worst first."""
    rows = sorted(read_rows(path, part), key=lambda row: (float(row["dice"]), row["patient_id"]))
    several = len({row["class"] for row in rows}) > 1
    table = [_patient_cells(row, several=several) for row in rows]
    chart = patient_chart(rows, [row[0] for row in table]) if rows else ""
    return {"table": table, "chart": chart, "several": several}


def _patient_cells(row: Mapping[str, str], *, several: bool) -> list[str]:
    return [
        f"{row['patient_id']} {row['class']}" if several else row["patient_id"],
        number(int(row["images"])),
        number(int(row["foreground_images"])),
        number(float(row["dice"])),
        f"{row['regions_found']} of {row['regions']}",
        f"{row['false_positives']} of {row['empty_images']}",
        f"{number(float(row['hd95']), 1)} {row['hd95_unit']}" if row["hd95"] else "–",
    ]


def _prepared(prepared: Facts, facts: Facts) -> Facts:
    """What the data report shows of masks."""
    splits = facts["splits"]
    samples, found = (sum(split[key] for split in splits) for key in ("samples", "foreground_samples"))
    return {
        "tile": ["With foreground", percent(found / samples), counted(found, "sample")],
        "split": _split_table(splits, prepared.get("counts", {})),
        "balance": "about the same share of them with foreground",
        "shares": _shares_chart(splits),
        "marked": "with foreground",
        "contrast": _contrast(facts),
        "foreground": foreground_size(facts),
        "one_patient": _one_patient(prepared, facts),
    }


def _split_table(splits: Sequence[Facts], prepared: Mapping[str, Facts]) -> Facts:
    rows = [
        [
            row["split"],
            patients_cell(counts),
            number(row["samples"]),
            percent(row["sample_share"]),
            number(row["foreground_samples"]),
            percent(row["foreground_share"]),
        ]
        for row, counts in ((row, prepared.get(row["split"], row)) for row in splits)
    ]
    head = ["Split", "Patients", "Samples", "Share of samples", "With foreground", "Share with foreground"]
    return {"head": head, "rows": rows}


def _shares_chart(splits: Sequence[Facts]) -> str:
    figure, (axis,) = new_figure(3.6, 2.6)
    values = [100 * (split["foreground_share"] or 0) for split in splits]
    names = [split["split"] for split in splits]
    bars(axis, names, values, colours=[SPLIT_COLOURS[name] for name in names], ylabel="samples with foreground, %")
    return figure_uri(figure)


def _contrast(facts: Facts) -> Facts:
    """Which channel shows the foreground best; nothing where there is nothing to compare and no claim to check."""
    found, names = facts["contrast"], [channel["name"] for channel in facts["channels"]]
    if not found["scores"] and found["named"] is None:
        return {}
    flair, name = found["named"] is not None, _name(facts["target"])
    rows = [[row["channel"], number(row["foreground"], 2), number(row["dark"], 2)] for row in found["scores"]]
    return {
        "title": "Which channel looks like FLAIR" if flair else "Which channel shows the foreground best",
        "verdict": _flair_verdict(found, names, name) if flair else _contrast_verdict(found, names),
        "head": ["Channel", f"{sentence_case(name)} ÷ brain", "Fluid ÷ brain"] if flair else list(_CONTRAST_HEAD),
        "rows": rows,
        "rule": found["rule"],
    }


def _contrast_verdict(found: Facts, names: Sequence[str]) -> str:
    if found["channel"] is None:
        return "No channel shows the foreground clearly brighter than the rest."
    return f"{names[found['channel']]} shows the foreground best."


def _flair_verdict(found: Facts, names: Sequence[str], foreground: str) -> str:
    """One sentence on the channel that looks like FLAIR, where the recipe calls one so."""
    if not found["scores"]:
        return f"There is one channel only, or no {foreground} to judge by, so nothing was compared."
    if found["channel"] is None:
        return f"No channel shows {foreground} clearly brighter than brain, so none looks like FLAIR."
    name = names[found["channel"]]
    certainty = "" if found["sure"] else ", though its fluid is not the darkest"
    if found["agrees"]:
        return f"{name} looks like FLAIR{certainty}, as the recipe says."
    return (
        f"{name} looks like FLAIR{certainty}, but the recipe calls {names[found['named']]} FLAIR: check data.channels."
    )


def _one_patient(prepared: Facts, facts: Facts) -> Facts:
    """The patient whose images are shown, or the image where nobody is known."""
    shown = facts["pictures"]
    channel = f", channel {shown['channel']}" if len(facts["channels"]) > 1 else ""
    samples = shown["samples"]
    known = patient_source(prepared)["status"] != "unknown"
    who = f"Patient {shown['patient_id']}, " if known else ""
    return {
        "lead": f"{who}{counted(shown['images'], 'image')}{channel}.",
        "caption": f"{counted(len(samples), 'image')}, from {samples[0]} to {samples[-1]}",
    }


MASKS = Section(
    _measured,
    mask_words,
    _warnings,
    _prepared,
    template="masks.html",
    notebook="notebook_masks.txt",
    cases="masks_cases.html",
    training_note="During training, metrics are taken at threshold 0.5 without a smallest region. Balanced: mean of "
    "the Dice with foreground and the share of empty images left empty.",
)
"""What the reports say of masks."""
