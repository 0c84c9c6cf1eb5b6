"""The charts of a study: history, importances, each parameter, two together, all side by side, score against cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medloom.extras import require
from medloom.reports.charts import GUIDE, INK, PALETTE, describe_axes, figure_uri, new_figure, new_panels, panel_uris

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["contour", "front", "history", "importances", "parallel", "slices"]

Facts = Mapping[str, Any]

_MAP = "viridis"
_LONGEST = 22
"""Characters of a choice beside an axis."""


def history(facts: Facts) -> str:
    """Draw the score of each trial in the order in which they were made, and the best so far.

    Args:
        facts: As in ``tuning.json``.

    Returns:
        A data URI.
    """
    figure, (axis,) = new_figure(9.0, 3.2)
    ended = _ended(facts)
    axis.scatter([one["number"] for one in ended], [one["score"] for one in ended], color=PALETTE[0], s=18, zorder=3)
    steps = list(itertools.accumulate((one["score"] for one in ended), max if facts["larger_is_better"] else min))
    axis.plot([one["number"] for one in ended], steps, color=PALETTE[1], drawstyle="steps-post", label="best so far")
    _confirmed(axis, facts["luck"])
    _without_score(axis, facts)
    axis.xaxis.set_major_locator(require("matplotlib.ticker", "train").MaxNLocator(integer=True))
    axis.legend(frameon=False, fontsize=8, labelcolor=INK)
    describe_axes(axis, "Trial", facts["monitor"])
    return figure_uri(figure)


def importances(facts: Facts) -> str:
    """Draw the share of each key in how the score varies."""
    found = sorted(facts["importances"].items(), key=lambda item: item[1])
    figure, (axis,) = new_figure(9.0, 0.9 + 0.32 * len(found))
    axis.barh([key for key, _ in found], [share for _, share in found], color=PALETTE[0], height=0.6)
    axis.grid(axis="y", visible=False)
    describe_axes(axis, "Share of the variation of the score")
    return figure_uri(figure)


def slices(facts: Facts) -> list[str]:
    """Draw the score over the values of each key."""
    figure, axes = new_panels(len(facts["parameters"]), 9.0, 2.7)
    for axis, parameter in zip(axes, facts["parameters"], strict=True):
        points = [one for one in _ended(facts) if parameter["key"] in one["positions"]]
        x = [one["positions"][parameter["key"]] for one in points]
        numbers = [one["number"] for one in points]
        axis.scatter(x, [one["score"] for one in points], c=numbers, cmap=_MAP, s=20, zorder=3)
        _scale(axis, parameter, "x")
        describe_axes(axis, parameter["key"], facts["monitor"])
    return panel_uris(figure)


def contour(facts: Facts) -> str | None:
    """Draw the score over the two keys that matter most; None if there are no two."""
    keys = list(facts["importances"]) or [parameter["key"] for parameter in facts["parameters"]]
    known = {parameter["key"]: parameter for parameter in facts["parameters"]}
    if len(keys) < 2:
        return None
    first, second = keys[:2]
    points = [one for one in _ended(facts) if first in one["positions"] and second in one["positions"]]
    if not points:
        return None
    x, y = ([one["positions"][key] for one in points] for key in (first, second))
    score = [one["score"] for one in points]
    figure, (axis,) = new_figure(9.0, 4.0)
    _scale(axis, known[first], "x")
    _scale(axis, known[second], "y")
    _fill(axis, _flat(known[first], x), _flat(known[second], y), x, y, score)
    marks = axis.scatter(x, y, c=score, cmap=_MAP, s=30, edgecolors="white", linewidths=0.6, zorder=3)
    figure.colorbar(marks, ax=axis, label=facts["monitor"])
    describe_axes(axis, first, second)
    return figure_uri(figure)


def parallel(facts: Facts) -> str:
    """Draw every trial as a line through the values of its keys to its score."""
    parameters, ended = facts["parameters"], _ended(facts)
    scores = [one["score"] for one in ended]
    low, high = min(scores), max(scores)
    figure, (axis,) = new_figure(9.0, 3.8)
    colours = require("matplotlib", "train").colormaps[_MAP]
    worst_first = sorted(ended, key=lambda one: one["score"], reverse=not facts["larger_is_better"])
    for one in worst_first:
        share = 0.5 if high == low else (one["score"] - low) / (high - low)
        heights = [_share(parameter, one["positions"].get(parameter["key"])) for parameter in parameters]
        axis.plot(range(len(parameters) + 1), [*heights, share], color=colours(share), linewidth=1.2, alpha=0.8)
    names = [parameter["key"].rpartition(".")[2].replace("_", " ") for parameter in parameters]
    axis.set_xticks(range(len(parameters) + 1), [*names, facts["monitor"]])
    axis.set_yticks([])
    for place, parameter in enumerate(parameters):
        _ends(axis, place, *_words(parameter))
    _ends(axis, len(parameters), f"{low:.4g}", f"{high:.4g}")
    axis.set_ylim(-0.12, 1.12)
    axis.grid(axis="x", color=INK, alpha=0.3)
    return figure_uri(figure)


def front(facts: Facts) -> str:
    """Draw the score against the cost, the best compromises joined."""
    figure, (axis,) = new_figure(9.0, 3.4)
    ended, chosen = _ended(facts), set(facts["front"])
    axis.scatter([one["cost"] for one in ended], [one["score"] for one in ended], color=PALETTE[5], s=18)
    best = sorted((one for one in ended if one["number"] in chosen), key=lambda one: one["cost"])
    axis.plot(
        [one["cost"] for one in best], [one["score"] for one in best], color=PALETTE[1], marker="o", label="compromises"
    )
    axis.legend(frameon=False, fontsize=8, labelcolor=INK)
    words = {"seconds": "Seconds of training", "parameters": "Weights of the network"}
    describe_axes(axis, words[facts["cost"]], facts["monitor"])
    return figure_uri(figure)


def _ended(facts: Facts) -> list[Mapping[str, Any]]:
    return [one for one in facts["trials"] if one["score"] is not None]


def _confirmed(axis: Axes, luck: Facts | None) -> None:
    """What the best settings gave with other seeds."""
    if luck:
        spread = luck["deviation"] or 0.0
        axis.axhspan(luck["mean"] - spread, luck["mean"] + spread, color=PALETTE[2], alpha=0.2)
        axis.axhline(luck["mean"], **{**GUIDE, "color": PALETTE[2]}, label="best settings, other seeds")


def _without_score(axis: Axes, facts: Facts) -> None:
    """Marks at the lower edge for the trials that have no score."""
    low = axis.get_ylim()[0]
    for state, mark, colour in (("given up", "|", PALETTE[5]), ("failed", "x", PALETTE[3])):
        numbers = [one["number"] for one in facts["trials"] if one["state"] == state]
        if numbers:
            axis.scatter(numbers, [low] * len(numbers), marker=mark, color=colour, s=30, label=state, clip_on=False)


def _scale(axis: Axes, parameter: Facts, side: str) -> None:
    """Make an axis that of a parameter."""
    if parameter["log"]:
        axis.set(**{f"{side}scale": "log"})
    if parameter["choices"] is not None:
        words = [_short(text) for text in parameter["choices"]]
        axis.set(**{f"{side}ticks": range(len(words)), f"{side}ticklabels": words})
        axis.set(**{f"{side}lim": (-0.5, len(words) - 0.5)})


def _flat(parameter: Facts, values: Sequence[float]) -> list[float]:
    return [math.log10(value) for value in values] if parameter["log"] else list(values)


def _fill(
    axis: Axes, across: Sequence[float], up: Sequence[float], x: Sequence[float], y: Sequence[float], z: Sequence[float]
) -> None:
    """Fill between points, where they span triangles and differ."""
    if len(set(z)) < 3:
        return
    try:
        mesh = require("matplotlib.tri", "train").Triangulation
        axis.tricontourf(mesh(x, y, mesh(across, up).triangles), z, levels=10, cmap=_MAP, alpha=0.5)
    except (RuntimeError, ValueError):  # too few points, or all of them on a line
        return


def _share(parameter: Facts, value: float | None) -> float:
    """Where a value lies between the least and the largest."""
    if value is None:
        return math.nan
    if parameter["choices"] is not None:
        return value / max(1, len(parameter["choices"]) - 1)
    low, high, flat = *_flat(parameter, parameter["ends"]), _flat(parameter, [value])[0]
    return (flat - low) / (high - low)


def _words(parameter: Facts) -> tuple[str, str]:
    if parameter["choices"] is not None:
        return _short(parameter["choices"][0]), _short(parameter["choices"][-1])
    low, high = parameter["ends"]
    return f"{low:g}", f"{high:g}"


def _ends(axis: Axes, place: int, low: str, high: str) -> None:
    for height, word, side in ((-0.03, low, "top"), (1.03, high, "bottom")):
        axis.text(place, height, word, ha="center", va=side, fontsize=7, color=INK)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
