"""What the data report shows of grey levels: of the training images, of the other parts, of groups and of outliers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from medloom.evaluation.text import number, quantity
from medloom.reports.charts import PALETTE, describe_axes, figure_uri, lines, new_figure, new_panels, panel_uris
from medloom.reports.facts import Facts
from medloom.reports.html import percent
from medloom.wording import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["grey_levels", "outlier_sentence", "small_histogram"]

_SHOWN = 12
_TITLES = {
    "min": "minimum", "max": "maximum", "mean": "mean", "std": "deviation", "zero_share": "share of zero pixels"
}  # fmt: skip
_SPREAD = ("mean", "std", "min", "max")


def grey_levels(facts: Facts) -> Facts:
    """Return the tables and charts of grey levels.

    Args:
        facts: Those of the data report. One that an earlier version wrote has no distributions, groups or outliers.
    """
    channels, unlike = facts["channels"], facts.get("outliers")
    return {
        "images": channels[0]["images"],
        "channels": _channel_table({"train": channels}),
        "others": _channel_table({one["split"]: one["channels"] for one in facts.get("other_parts", ())}),
        "histograms": _histogram_chart(channels),
        "distributions": _distribution_chart(facts["distributions"]) if facts.get("distributions") else "",
        "groups": [_group(one, facts["distributions"]) for one in facts.get("groups", ())],
        "outliers": {} if unlike is None else _outliers(unlike),
    }


def small_histogram(axis: Axes, found: Mapping[str, Sequence[float]], colour: str) -> None:
    """Draw one of many small histograms over images; the heights are for comparing shapes and have no scale."""
    edges = found["edges"]
    widths = [high - low for low, high in pairwise(edges)]
    axis.bar(edges[:-1], found["counts"], widths, align="edge", color=colour, linewidth=0)
    axis.set_yticks([])
    axis.tick_params(axis="x", labelsize=7)
    axis.locator_params(axis="x", nbins=4)


def outlier_sentence(counts: Mapping[str, int]) -> str:
    """Say how many images are unlike, by part.

    Example:
        >>> outlier_sentence({"train": 3, "test": 1}), outlier_sentence({})
        ('3 images in train, 1 image in test', 'none')
    """
    return ", ".join(f"{counted(count, 'image')} in {part}" for part, count in counts.items()) or "none"


def _channel_table(parts: Mapping[str, Sequence[Facts]]) -> Facts:
    """A row for each channel of each part; which part is said where it is not the training images alone."""
    named = list(parts) != ["train"]
    rows = [
        [
            *([f"{part}: {row['name']}"] if named else [row["name"]]),
            *(f"{row[key]:,.4g}" for key in ("min", "max", "mean", "std")),
            percent(row["zero_share"]),
            number(row["images"]),
        ]
        for part, channels in parts.items()
        for row in channels
    ]
    return {"head": ["Channel", "Min", "Max", "Mean", "Deviation", "Zero pixels", "Images"], "rows": rows}


def _histogram_chart(channels: Sequence[Facts]) -> list[str]:
    """Share of the pixels above zero in each bin; a logarithmic axis shows the bright end."""
    figure, axes = new_panels(len(channels), 9, 2.6, columns=min(3, len(channels)))
    for axis, channel, colour in zip(axes, channels, PALETTE * len(channels), strict=False):
        total = max(sum(channel["counts"]), 1)
        centres = [(low + high) / 2 for low, high in pairwise(channel["edges"])]
        shares = [100 * count / total if count else float("nan") for count in channel["counts"]]
        lines(axis, centres, {channel["name"]: shares}, xlabel="grey level", title=channel["name"])
        axis.lines[0].set_color(colour)
        axis.set_yscale("log")
        axis.set_ylabel("pixels above 0, %", fontsize=9)
    return panel_uris(figure)


def _distribution_chart(channels: Sequence[Facts]) -> str:
    """A row for each channel, a small histogram over training images for each statistic."""
    figure, axes = new_figure(9, 0.4 + 1.3 * len(channels), rows=len(channels), columns=len(_SPREAD))
    for place, axis in enumerate(axes):
        row, column = divmod(place, len(_SPREAD))
        key, channel = _SPREAD[column], channels[row]
        small_histogram(axis, channel[key], PALETTE[row % len(PALETTE)])
        describe_axes(axis, title=_TITLES[key] if row == 0 else "", ylabel=channel["name"] if column == 0 else "")
    return figure_uri(figure)


def _group(found: Facts, usual: Sequence[Facts]) -> Facts:
    """One column of the metadata: a chart with a small histogram for each group and channel, and the numbers."""
    groups = found["groups"]
    rows = [
        [
            f"{group['value']}, {channel['name']}" if len(usual) > 1 else group["value"],
            number(group["images"]),
            *(quantity(value) for value in channel["quantiles"]),
        ]
        for group in groups
        for channel in group["channels"]
    ]
    return {
        "column": found["column"],
        "chart": _group_chart(groups, len(usual)),
        "head": ["Group", "Images", "5 %", "25 %", "Median", "75 %", "95 %"],
        "rows": rows,
    }


def _group_chart(groups: Sequence[Facts], channels: int) -> str:
    """A column for each group, a row for each channel, with the same horizontal axis in a row."""
    figure, axes = new_figure(9, 0.4 + 1.3 * channels, rows=channels, columns=len(groups))
    for place, axis in enumerate(axes):
        row, column = divmod(place, len(groups))
        group, channel = groups[column], groups[column]["channels"][row]
        small_histogram(axis, channel, PALETTE[row % len(PALETTE)])
        describe_axes(axis, title=group["value"] if row == 0 else "", ylabel=channel["name"] if column == 0 else "")
        axis.set_xlim(channel["edges"][0], channel["edges"][-1])
    return figure_uri(figure)


def _outliers(found: Facts) -> Facts:
    rows: list[list[Any]] = [
        [
            row["sample_id"],
            row["split"],
            row["channel"],
            _TITLES[row["statistic"]],
            quantity(row["value"]),
            quantity(row["median"]),
            quantity(row["z"], 3, sign=True),
        ]
        for row in found["listed"][:_SHOWN]
    ]
    return {
        "sentence": outlier_sentence(found["count"]),
        "rule": found["rule"],
        "head": ["Image", "Part", "Channel", "What", "Value", "Usual", "Robust z"],
        "rows": rows,
        "more": max(sum(found["count"].values()) - len(rows), 0),
    }
