"""The gallery of masks: the worst and the best cases with true and predicted outlines on the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.evaluation.gallery import Gallery, Group, Item, Scale, heated
from medloom.evaluation.masks.cases import Case
from medloom.evaluation.parts import Part
from medloom.evaluation.text import number, sentence_case
from medloom.imaging.display import levels_inside, to_grey
from medloom.metrics import outline
from medloom.palette import BOTH, PREDICTED, TRUTH, hexadecimal

__all__ = ["BOTH", "PREDICTED", "SHOWN", "TRUTH", "Drawn", "asked_class", "choose_cases", "draw_case", "make_gallery"]

Picture = NDArray[np.uint8]
Sums = Mapping[str, float]

SHOWN = 3  # cases in each group
_SIDE_PX = 512  # small images are enlarged to about this, so that an outline hides little of them

LEGEND = tuple(
    (name, hexadecimal(colour))
    for name, colour in (("true", TRUTH), ("predicted", PREDICTED), ("both at the same pixel", BOTH))
)
"""What the outlines mean."""

TITLES = {
    "worst": "Three worst images",
    "worst_foreground": "Three worst images with foreground",
    "best": "Three best images with foreground",
}
"""The groups of the gallery."""


_LOOKS = (
    "The heat map (Seg-Grad-CAM) shows, coarsely, what spoke for the pixels that the network by itself takes for the "
    "class, or, where it takes none, for the class anywhere; it does not say that the network was right to look there."
)
_WHICH = " The class is that with the most wrong pixels."


@dataclass(frozen=True, eq=False)
class Drawn:
    """The pictures of a case.

    Args:
        picture: The outlines on the image.
        heatmap: The same over where the network looked; None where it has no such map.
        asked: Number of the class that the heat map is of.
        name: Its name where there are several; else empty.
        scale: How large the image is.
    """

    picture: Picture
    heatmap: Picture | None = None
    asked: int = 0
    name: str = ""
    scale: Scale | None = None


def _worst_first(sums: Sums) -> tuple[float, ...]:
    return float(sums["dice"]), -float(sums["wrong_px"])


def _best_first(sums: Sums) -> tuple[float, ...]:
    return -float(sums["dice"]), -float(sums["truth_px"])


ORDERS: dict[str, Callable[[Sums], tuple[float, ...]]] = {
    "worst": _worst_first,
    "worst_foreground": _worst_first,
    "best": _best_first,
}
"""Sort key of each group, the least first."""


def choose_cases(table: pd.DataFrame) -> dict[str, list[str]]:
    """Choose what the gallery shows.

    Cases are ordered by Dice; of equal ones, that with the most wrong pixels is the worst and that with the
    most foreground the best. Empty cases left empty are perfect and tell nothing, so the best hold foreground.

    Args:
        table: Rows of ``cases.csv``, of one split.

    Returns:
        Sample ids by group: ``worst``, ``worst_foreground``, ``best``.
    """
    sums = _by_sample(table)
    worst = sums[sums["dice"] < 1.0].sort_values(["dice", "wrong_px"], ascending=[True, False], kind="stable")
    best = sums.sort_values(["dice", "truth_px"], ascending=False, kind="stable")
    return {
        "worst": list(worst.index[:SHOWN]),
        "worst_foreground": list(worst.index[worst["truth_px"] > 0][:SHOWN]),
        "best": list(best.index[(best["truth_px"] > 0) & (best["dice"] > 0)][:SHOWN]),
    }


def asked_class(case: Case, classes: int) -> int:
    """Return the number of the foreground class with the most wrong pixels; of equal ones that with the most true ones.

    Args:
        case: Truth and prediction.
        classes: How many classes there are, the background among them.
    """
    known = case.known()

    def by(index: int) -> tuple[int, int]:
        truth = known.truth == index
        return int(np.count_nonzero(truth != (known.predicted == index))), int(np.count_nonzero(truth))

    return max(range(1, classes), key=by)


def draw_case(
    case: Case, pixels_hwc: NDArray[Any], channel: int, heat_hw: NDArray[np.float32] | None = None
) -> NDArray[np.uint8]:
    """Draw the true and the predicted outline on one channel of the image.

    Args:
        case: Truth and prediction; each class is outlined, ignored parts are not.
        pixels_hwc: The image as decoded.
        channel: The channel to show.
        heat_hw: Where the network looked, 0..1, to be shown below the outlines; None for the image alone.

    Returns:
        (H * f, W * f, 3) uint8, enlarged by a whole factor f.
    """
    case = case.known()
    factor = max(1, _SIDE_PX // max(case.truth.shape))
    plane = pixels_hwc[..., channel]
    picture = np.repeat(_enlarge(to_grey(plane, levels_inside(plane)), factor)[..., None], 3, axis=2)
    picture = picture if heat_hw is None else heated(picture, heat_hw)
    true, guess = (_lines(_enlarge(mask, factor), factor) for mask in (case.truth, case.predicted))
    for where, colour in ((true, TRUTH), (guess, PREDICTED), (true & guess, BOTH)):
        picture[where] = colour
    return picture


def make_gallery(
    groups: dict[str, list[str]], drawn: Mapping[str, Drawn], table: pd.DataFrame, channel: str, part: Part
) -> Gallery:
    """Return the chosen cases with their captions.

    Args:
        groups: Sample ids by group, as from ``choose_cases``.
        drawn: The pictures of each sample.
        table: Rows of ``cases.csv`` that hold what was measured on them.
        channel: Name of the channel that the pictures show; empty where there is only one.
        part: What the cases are of.
    """
    sums: dict[str, Sums] = _by_sample(table).to_dict("index")  # type: ignore[assignment]
    dice = _dice_by_class(table)
    images = f"{sentence_case(part)} images"
    which = f"{images}, channel {channel}." if channel else f"{images}."
    note = f"{which} Worst is the lowest Dice; of equal ones, that with the most wrong pixels."
    made = []
    for name, samples in groups.items():
        order = ORDERS[name]
        items = [
            _item(drawn[sample], sample, _caption(sample, sums[sample], dice.get(sample, {})), order(sums[sample]))
            for sample in samples
        ]
        made.append(Group(name, TITLES[name], SHOWN, items))
    several = any(one.name for one in drawn.values())
    return Gallery(made, note, _LOOKS + _WHICH if several else _LOOKS, legend=LEGEND)


def _item(drawn: Drawn, sample: str, caption: str, order: tuple[float, ...]) -> Item:
    asked = f"; heat map of {drawn.name}" if drawn.name and drawn.heatmap is not None else ""
    return Item(sample, f"{caption}{asked}", order, drawn.picture, drawn.heatmap, drawn.asked, drawn.scale)


def _caption(sample: str, sums: Sums, classes: dict[str, float]) -> str:
    found = f"true {int(sums['truth_px']):,} px, predicted {int(sums['predicted_px']):,} px"
    each = ", ".join(f"{name} {number(dice)}" for name, dice in classes.items())
    mean = number(float(sums["dice"]))
    dice = f"mean Dice of the classes {mean} ({each})" if each else f"Dice {mean}"
    return f"{sample}: {dice}, {found}"


def _by_sample(table: pd.DataFrame) -> pd.DataFrame:
    """One row a sample: mean Dice of its classes, their pixels, and how many of them are wrong."""
    sums = table.groupby("sample_id", sort=True).agg(
        dice=("dice", "mean"),
        truth_px=("truth_px", "sum"),
        predicted_px=("predicted_px", "sum"),
        overlap_px=("overlap_px", "sum"),
    )
    return sums.assign(wrong_px=sums["truth_px"] + sums["predicted_px"] - 2 * sums["overlap_px"])


def _dice_by_class(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Dice of each class of each sample that holds it or was given it, where there are several classes."""
    there = table[(table["truth_px"] > 0) | (table["predicted_px"] > 0)]
    if table["class"].nunique() < 2:
        return {}
    return {
        str(sample): dict(zip(rows["class"], rows["dice"].tolist(), strict=True))
        for sample, rows in there.groupby("sample_id", sort=True)
    }


def _lines(mask: NDArray[np.uint8], factor: int) -> NDArray[np.bool_]:
    """The outline of every class."""
    drawn = np.zeros(mask.shape, bool)
    for index in np.unique(mask[mask > 0]):
        drawn |= _line(mask == index, factor)
    return drawn


def _line(mask: NDArray[np.bool_], factor: int) -> NDArray[np.bool_]:
    """The outline, thicker in an enlarged picture, and never outside of the mask."""
    line = outline(mask)
    for _ in range(max(2, factor // 2) - 1 if factor > 1 else 0):
        line |= outline(mask & ~line)
    return line


def _enlarge(plane: NDArray[Any], factor: int) -> NDArray[Any]:
    return plane.repeat(factor, axis=0).repeat(factor, axis=1)
