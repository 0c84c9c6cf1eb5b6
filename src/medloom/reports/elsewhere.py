"""The report of an external validation: a finished model on images of another source, beside how it was at home."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from medloom.evaluation.text import number, sentence_case
from medloom.files import read_json
from medloom.reports.demographics import demographic_table
from medloom.reports.facts import Facts, set_aside_sentence
from medloom.reports.html import percent
from medloom.reports.metrics import value_text, with_interval
from medloom.reports.run_report import write_measured_page

__all__ = ["ELSEWHERE", "write_elsewhere_report"]

ELSEWHERE = "elsewhere.json"
"""What is known of an external validation beside its metrics, in its folder."""

_PARTS = {
    "test": "held-out test patients",
    "validation": "validation patients, so they are a little too good",
    "folds": "the held-out folds of its members",
}


def write_elsewhere_report(folder: Path) -> Path:
    """Write ``report.html`` of an external validation.

    Args:
        folder: Holds ``summary.json``, ``elsewhere.json``, ``cases.csv`` and the gallery.

    Returns:
        The path of the page.
    """
    summary, facts = read_json(folder / "summary.json"), read_json(folder / ELSEWHERE)
    found: Facts = summary["elsewhere"]
    part = _PARTS.get(facts["internal"].get("part", ""), "patients that its bundle does not name")
    return write_measured_page(
        folder,
        summary,
        title=f"External validation: {facts['model']} on {facts['name']}",
        description=f"{sentence_case(facts['model'])}, a finished model, on images of another source than it learned "
        "from; nothing was trained, fitted or chosen here",
        phantom=facts["phantom"]["model"] or facts["phantom"]["images"],
        warnings=[*found["findings"], *facts["warnings"]],
        set_aside=set_aside_sentence(facts),
        demographics=_only_here(demographic_table(facts["demographics"])),
        elsewhere={
            "part": part,
            "beside": _beside_rows(summary, found["beside"]),
            "recalibration": _recalibration_rows(found["recalibration"]),
            "shift": _shift(found["shift"]),
            "heat": _heat(found["heat"]),
        },
    )


def _beside_rows(summary: Facts, compared: Mapping[str, Facts]) -> list[list[str]]:
    """A row for each metric, the headlines first."""
    names = [name for name in summary["headlines"] if name in compared]
    names += [name for name in compared if name not in names]
    rows = []
    for name in names:
        one, meaning = compared[name], summary["meanings"].get(name, {"label": name, "unit": "share"})
        texts = (with_interval(one[side], meaning["unit"]) for side in ("here", "there"))
        rows.append([meaning["label"], *texts, _signed(one["difference"], meaning["unit"])])
    return rows


def _signed(metric: Facts, unit: str) -> str:
    if metric["value"] is None:
        return "–"
    texts = [_plus(metric[key], unit) for key in ("value", "low", "high") if metric[key] is not None]
    return texts[0] if len(texts) == 1 else f"{texts[0]} ({texts[1]} to {texts[2]})"


def _plus(value: float, unit: str) -> str:
    return f"{'+' * (value > 0)}{value_text(value, unit)}"


def _recalibration_rows(found: Mapping[str, Facts]) -> list[list[str]]:
    return [
        [
            name,
            *(percent(one[key]) for key in ("expected", "observed")),
            *(number(one[key], 2) for key in ("slope", "intercept")),
        ]
        for name, one in found.items()
    ]


def _shift(found: Facts) -> Facts:
    """Sizes, and how the images look beside those of the training."""
    sizes = found["sizes"]
    rows = [
        [side.capitalize(), *(number(sizes[side][key], 0) for key in ("median", "least", "most"))]
        for side in ("height", "width")
    ]
    types = ", ".join(f"{name}: {number(count)}" for name, count in sizes["dtypes"].items())
    features = [
        [
            sentence_case(one["name"]),
            f"{number(one['here'], 2)} ± {number(one['here_std'], 2)}",
            f"{number(one['training'], 2)} ± {number(one['training_std'], 2)}",
            f"{one['difference']:+.1f}",
        ]
        for one in found.get("features", ())
    ]
    unlike = percent(found["unlike"]) if "unlike" in found else ""
    return {"sizes": rows, "types": types, "features": features, "unlike": unlike, "described": found.get("described")}


def _heat(found: Facts) -> list[list[str]]:
    if not found:
        return []
    areas = found["areas"]
    rows = [
        [f"{name.capitalize()} answers", number(one["cases"]), percent(one["middle"]), percent(one["frame"])]
        for name, one in found["answers"].items()
    ]
    return [*rows, ["Spread evenly", "", percent(areas["middle"]), percent(areas["frame"])]]


def _only_here(table: Facts) -> Facts:
    """The demographics without the parts of a training, of which there are none."""
    if not table:
        return {}
    at = table["head"].index("test")
    return {"head": ["", "Here"], "rows": [[row[0], row[at]] for row in table["rows"]]}
