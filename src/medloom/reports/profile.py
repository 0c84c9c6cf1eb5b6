"""Where the time of a training went: a bar of its parts, the machine over time, and what rules say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medloom.evaluation.text import number
from medloom.reports.charts import (
    PALETTE,
    describe_axes,
    figure_uri,
    lines,
    new_figure,
    new_panels,
    panel_uris,
    with_gaps,
)
from medloom.reports.facts import Facts, read_facts
from medloom.reports.html import percent
from medloom.wording import duration_text

__all__ = ["profile_context"]

_FILE = "profile.json"
_DRAWN, _OTHER = 5, "other"
"""Parts that have a colour of their own; the rest is one."""

_MINUTE_S = 60.0
_USE = {
    "Processor": ({"process_cpu": "this training"}, "% of one core"),
    "Memory": ({"process_mb": "this training, with mapped files", "machine_mb": "the machine"}, "MB"),
    "GPU": ({"gpu": "computing"}, "% of the time"),
    "GPU memory": ({"gpu_mb": "in use"}, "MB"),
}


def profile_context(run_dir: Path) -> Facts:
    """Return what the report shows of where time went; nothing where no account was kept.

    Args:
        run_dir: The run directory; of a run of folds each of them has an account.
    """
    found = {"Training": read_facts(run_dir / _FILE)}
    folds = sorted(run_dir.glob(f"fold-*/{_FILE}"), key=lambda path: int(path.parent.name.partition("-")[2]))
    found |= {f"Fold {place}": read_facts(path) for place, path in enumerate(folds, start=1)}
    known = {name: facts for name, facts in found.items() if facts.get("wall_s")}
    if not known:
        return {}
    alone = next(iter(known.values())) if len(known) == 1 else {}
    return {
        "files": [_FILE] if len(known) == 1 and not folds else [f"{path.parent.name}/{_FILE}" for path in folds],
        "bars": _bars(known),
        "parts": _parts(known),
        "use": _use_charts(alone.get("use", [])),
        "rules": _rule_rows(list(known.values())),
        "advice": _advice(known),
        "operators": _operator_rows(alone.get("operators", [])),
        "trace": alone.get("trace"),
        "processes": max(session["processes"] for facts in known.values() for session in facts["sessions"]),
        "sessions": len(alone.get("sessions", ())),
    }


def _bars(known: Mapping[str, Facts]) -> str:
    """A bar for each training, divided into its parts; of one alone also a bar for a step."""
    called = _called(known)
    rows = {"A step": _of_step(next(iter(known.values())))} if len(known) == 1 else {}
    rows |= {"All of it" if rows else name: facts["seconds"] for name, facts in known.items()}
    shares = {label: _shares(one) for label, one in rows.items() if sum(one.values()) > 0}
    largest = sorted(called, key=lambda part: -max(row.get(part, 0.0) for row in shares.values()))[:_DRAWN]
    figure, (axis,) = new_figure(8.0, 1.3 + 0.5 * len(shares))
    left = [0.0] * len(shares)
    for colour, part in zip(PALETTE, [*[name for name in called if name in largest], _OTHER], strict=False):
        widths = [100 * _width(row, part, largest) for row in shares.values()]
        label = called.get(part, "all else")
        axis.barh(range(len(shares)), widths, left=left, label=label, color=colour, height=0.6)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axis.set_yticks(range(len(shares)), list(shares))
    axis.invert_yaxis()
    axis.set_xlim(0, 100)
    describe_axes(axis, "% of the time")
    axis.legend(frameon=False, fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.4, 1.0))
    return figure_uri(figure)


def _width(row: Facts, part: str, largest: Sequence[str]) -> float:
    if part != _OTHER:
        return float(row.get(part, 0.0))
    return float(sum(share for name, share in row.items() if name not in largest))


def _called(known: Mapping[str, Facts]) -> dict[str, str]:
    """What people call the parts, in order."""
    return {part: words["called"] for facts in known.values() for part, words in facts["parts"].items()}


def _of_step(facts: Facts) -> Facts:
    return {part: seconds for part, seconds in facts["seconds"].items() if facts["parts"][part]["of_a_step"]}


def _shares(seconds: Facts) -> Facts:
    whole = sum(seconds.values())
    return {part: value / whole for part, value in seconds.items()}


def _parts(known: Mapping[str, Facts]) -> Facts:
    """A row for each part: of one training also how long it is in a step."""
    called = _called(known)
    names = [part for part in called if any(facts["seconds"].get(part) for facts in known.values())]
    if len(known) > 1:
        rows = [[called[part], *(percent(_share(facts, part)) for facts in known.values())] for part in names]
        return {"head": ["Part", *known], "rows": rows}
    (facts,) = known.values()
    rows = [
        [called[part], duration_text(facts["seconds"][part]), percent(_share(facts, part)), _in_a_step(facts, part)]
        for part in names
    ]
    total = duration_text(facts["wall_s"]), "100 %", _milliseconds(facts.get("step_s"))
    return {"head": ["Part", "In all", "Share", "In a step"], "rows": [*rows, ["together", *total]]}


def _share(facts: Facts, part: str) -> float:
    return float(facts["seconds"].get(part, 0.0) / facts["wall_s"])


def _in_a_step(facts: Facts, part: str) -> str:
    steps = facts["steps"]
    of_step = facts["parts"][part]["of_a_step"]
    return _milliseconds(facts["seconds"][part] / steps) if steps and of_step else "–"


def _milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:,.2f} ms"


def _use_charts(points: Sequence[Mapping[str, float]]) -> list[str]:
    """The machine over the minutes of training; nothing where there are too few points."""
    known = {
        title: (series, unit)
        for title, (names, unit) in _USE.items()
        if (series := {label: _column(points, key) for key, label in names.items() if _has(points, key)})
    }
    if len(points) < 2 or not known:
        return []
    minutes = [point["at_s"] / _MINUTE_S for point in points]
    figure, axes = new_panels(len(known), 9.0, 2.4)
    for axis, (title, (series, unit)) in zip(axes, known.items(), strict=True):
        lines(axis, minutes, series, xlabel="Minutes of training", title=title)
        axis.set_ylabel(unit, fontsize=9)
        axis.set_ylim(bottom=0)
    return panel_uris(figure)


def _has(points: Sequence[Mapping[str, float]], key: str) -> bool:
    return any(key in point for point in points)


def _column(points: Sequence[Mapping[str, float]], key: str) -> list[float]:
    return with_gaps([point.get(key) for point in points])


def _rule_rows(all_facts: Sequence[Facts]) -> list[list[str]]:
    """A row for each rule: of how many stretches it could say something, in how many it held, what was seen."""
    rows: list[list[str]] = []
    for same in zip(*(facts.get("rules", ()) for facts in all_facts), strict=False):
        samples, fired = (sum(one[key] for one in same) for key in ("samples", "fired"))
        held = [one for one in same if one["fired"]]
        seen = max(held, key=lambda one: float(one["fired"]))["finding"] if held else ""
        rows.append([same[0]["title"], f"{number(fired)} of {number(samples)}" if samples else "not known here", seen])
    return rows


def _advice(known: Mapping[str, Facts]) -> list[str]:
    """What rules say that held in half of the stretches."""
    said = [(name, one) for name, facts in known.items() for one in facts.get("rules", ()) if one["said"]]
    prefix = {name: f"{name}: " if len(known) > 1 else "" for name in known}
    return [_sentence(f"{prefix[name]}{one['finding']}", one["advice"]) for name, one in said]


def _sentence(finding: str, advice: str) -> str:
    return f"{finding[:1].upper()}{finding[1:]}. {advice[:1].upper()}{advice[1:]}."


def _operator_rows(operators: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    return [
        [one["name"], f"{one['ms']:,.3f} ms", percent(one["share"]), f"{one['calls']:g}", one["on"].upper()]
        for one in operators
    ]
