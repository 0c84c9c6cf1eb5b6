"""What the rules found in a training, and how weights, gradients and activations went: a part of the run report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medloom.evaluation.text import number
from medloom.extras import require
from medloom.reports.charts import describe_axes, figure_uri, lines, new_panels
from medloom.reports.facts import Facts, read_facts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["diagnosed"]

_FILE = "diagnosis.json"
_MAP = "viridis"
_SHOWN_SUSPECTS = 15
_SHOWN_LINES = 5
_LONGEST = 26
_FEWEST_SAMPLES = 2
"""Over fewer looks nothing can be seen to change."""


def diagnosed(run_dir: Path) -> list[Facts]:
    """Return what the page shows of a run's diagnosis, or of that of each of its folds; empty where nobody looked.

    Args:
        run_dir: The run directory.
    """
    if (run_dir / _FILE).is_file():
        return [_part(read_facts(run_dir / _FILE), "", _FILE, with_charts=True)]
    folds = sorted(run_dir.glob(f"fold-*/{_FILE}"), key=lambda path: int(path.parent.name.partition("-")[2]))
    return [
        _part(read_facts(path), f"Fold {place}", f"{path.parent.name}/{_FILE}", with_charts=False)
        for place, path in enumerate(folds, 1)
    ]


def _part(facts: Facts, title: str, source: str, *, with_charts: bool) -> Facts:
    samples = facts["samples"] if with_charts and len(facts["samples"]) >= _FEWEST_SAMPLES else []
    return {
        "title": title,
        "source": source,
        "findings": [_finding(one) for one in facts["findings"]],
        "rules": [
            [name, rule["summary"], f"{rule['fired']} of {number(rule['looks'])}"]
            for name, rule in facts["rules"].items()
        ],
        "suspects": [_suspect(one) for one in facts["suspects"][:_SHOWN_SUSPECTS]],
        "all_suspects": len(facts["suspects"]),
        "every": facts["every"],
        "courses": _courses(samples) if samples else "",
        "gradients": _histograms(samples, "gradients", facts["edges"]["gradients"]) if samples else "",
        "outputs": _histograms(samples, "outputs", facts["edges"]["outputs"]) if samples else "",
    }


def _finding(one: Facts) -> list[str]:
    since = f"epoch {one['epoch']}, step {one['step']}"
    last = "" if one["last_epoch"] == one["epoch"] else f" to epoch {one['last_epoch']}"
    return [one["rule"], one["text"], f"{since}{last}", one["layer"] or "–", one["advice"] or "–"]


def _suspect(one: Facts) -> list[str]:
    return [
        one["sample_id"],
        one["given"],
        one["suggested"],
        number(one["probability"]),
        number(one["confidence"]),
    ]


def _courses(samples: Sequence[Facts]) -> str:
    """Draw gradients, and changes beside the weights, of a few layers over the steps."""
    figure, axes = new_panels(2, 9.0, 3.0)
    names = _few(list(samples[-1]["layers"]), _SHOWN_LINES)
    steps = [one["step"] for one in samples]
    titles = ("Gradient (root mean square)", "Change of a step beside the weights")
    for place, (axis, title) in enumerate(zip(axes, titles, strict=True)):
        series = {_short(name): [_value(one, name, place) for one in samples] for name in names}
        axis.set_yscale("log")
        lines(axis, steps, series, xlabel="Step", title=title)
    return figure_uri(figure)


def _value(sample: Facts, name: str, place: int) -> float:
    """A layer's value in a step; a gap where it has none or it is 0, which a logarithm does not have."""
    found = sample["layers"].get(name, (None, None))[place]
    return float(found) if found else math.nan


def _histograms(samples: Sequence[Facts], what: str, edges: Sequence[float]) -> str:
    """Draw how often which values occur, over the steps, for each layer."""
    names = list(dict.fromkeys(name for one in samples for name in one[what]))
    if not names:
        return ""
    figure, axes = new_panels(len(names), 9.0, 1.9, columns=3)
    for axis, name in zip(axes, names, strict=True):
        known = [one for one in samples if name in one[what]]
        _histogram(axis, [one["step"] for one in known], [one[what][name] for one in known])
        _mark(axis, edges)
        describe_axes(axis, "Step", title=_short(name))
    return figure_uri(figure, format="png")


def _histogram(axis: Axes, steps: Sequence[int], counts: Sequence[Sequence[int]]) -> None:
    """A column for each step, up to the next one; brighter where more values are."""
    width = steps[-1] - steps[-2] if len(steps) > 1 else 1
    borders = [*steps, steps[-1] + width]
    shares = [[one / max(1, sum(column)) for one in column] for column in counts]
    rows = [list(row) for row in zip(*shares, strict=True)]
    axis.pcolormesh(borders, range(len(rows) + 1), rows, cmap=_MAP, vmin=0.0)
    axis.grid(visible=False)
    axis.xaxis.set_major_locator(require("matplotlib.ticker", "train").MaxNLocator(4, integer=True))


def _mark(axis: Axes, edges: Sequence[float]) -> None:
    """Write some of the edges of the bins beside the axis; of those around zero one."""
    shown = [place for place, edge in enumerate(edges) if _is_round(edge) and not -1 < edge < 0]
    axis.set_yticks([place + 1 for place in shown], [f"{edges[place]:g}" for place in shown], fontsize=7)


def _is_round(edge: float) -> bool:
    """Whether an edge is a power of a thousand."""
    exponent = math.log10(abs(edge))
    return math.isclose(exponent, round(exponent), abs_tol=1e-6) and round(exponent) % 3 == 0


def _few(names: Sequence[str], most: int) -> list[str]:
    """At most so many, evenly from the first to the last."""
    if len(names) <= most:
        return list(names)
    return [names[round(place * (len(names) - 1) / (most - 1))] for place in range(most)]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"
