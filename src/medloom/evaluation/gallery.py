"""The error gallery: the worst and the best cases with true and predicted outlines on the image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.evaluation.cases import Case
from medloom.files import write_bytes, write_json
from medloom.imaging import encode_png
from medloom.metrics import outline

__all__ = ["BOTH", "PREDICTED", "SHOWN", "TRUTH", "choose_cases", "draw_case", "write_gallery"]

TRUTH = (80, 220, 100)
"""Colour of the true outline."""
PREDICTED = (240, 60, 60)
"""Colour of the predicted outline."""
BOTH = (255, 225, 60)
"""Colour where the two outlines coincide."""

SHOWN = 3  # cases in each group
_SIDE_PX = 512  # small images are enlarged to about this, so that an outline hides little of them

GROUPS = {
    "worst": "Three worst slices",
    "worst_lesion": "Three worst slices with a lesion",
    "best": "Three best slices with a lesion",
}


def choose_cases(table: pd.DataFrame) -> dict[str, list[str]]:
    """Choose what the gallery shows.

    Cases are ordered by Dice; of equal ones, that with the most wrong pixels is the worst and that with the
    largest lesion the best. Empty cases left empty are perfect and tell nothing, so the best hold a lesion.

    Args:
        table: Rows of ``cases.csv``, of one split.

    Returns:
        Sample ids by group: ``worst``, ``worst_lesion``, ``best``.
    """
    sums = _by_sample(table)
    sums["wrong_px"] = sums["truth_px"] + sums["predicted_px"] - 2 * sums["overlap_px"]
    worst = sums[sums["dice"] < 1.0].sort_values(["dice", "wrong_px"], ascending=[True, False], kind="stable")
    best = sums.sort_values(["dice", "truth_px"], ascending=False, kind="stable")
    return {
        "worst": list(worst.index[:SHOWN]),
        "worst_lesion": list(worst.index[worst["truth_px"] > 0][:SHOWN]),
        "best": list(best.index[(best["truth_px"] > 0) & (best["dice"] > 0)][:SHOWN]),
    }


def draw_case(case: Case, pixels_hwc: NDArray[Any], channel: int) -> NDArray[np.uint8]:
    """Draw the true and the predicted outline on one channel of the image.

    Args:
        case: Truth and prediction; each class is outlined.
        pixels_hwc: The image as decoded.
        channel: The channel to show.

    Returns:
        (H * f, W * f, 3) uint8, enlarged by a whole factor f.
    """
    factor = max(1, _SIDE_PX // max(case.truth.shape))
    picture = np.repeat(_enlarge(_grey(pixels_hwc[..., channel]), factor)[..., None], 3, axis=2)
    true, guess = (_lines(_enlarge(mask, factor), factor) for mask in (case.truth, case.predicted))
    for where, colour in ((true, TRUTH), (guess, PREDICTED), (true & guess, BOTH)):
        picture[where] = colour
    return picture


def write_gallery(
    folder: Path,
    groups: dict[str, list[str]],
    drawn: Iterable[tuple[Case, NDArray[np.uint8]]],
    table: pd.DataFrame,
    channel: str,
) -> None:
    """Write ``gallery.json`` and the pictures in ``gallery/``.

    Args:
        folder: The run's ``evaluation`` folder.
        groups: Sample ids by group.
        drawn: Each case that is in a group, with its picture.
        table: Rows of ``cases.csv`` that hold what was measured on them.
        channel: Name of the channel that the pictures show.
    """
    items: dict[str, dict[str, Any]] = {}
    sums, dice = _by_sample(table), _dice_by_class(table)
    for case, picture in drawn:
        file = f"gallery/{case.sample_id}.png"
        write_bytes(folder / file, encode_png(picture))
        items[case.sample_id] = {
            "file": file,
            "sample_id": case.sample_id,
            **{name: sums[name].to_dict()[case.sample_id] for name in ("dice", "truth_px", "predicted_px")},
            "classes": dice.get(case.sample_id, {}),
        }
    facts = [
        {"name": name, "title": GROUPS[name], "items": [items[sample] for sample in samples if sample in items]}
        for name, samples in groups.items()
    ]
    write_json(folder / "gallery.json", {"channel": channel, "groups": facts})


def shown_channel(channels: tuple[str, ...]) -> int:
    """Return the channel to draw on: FLAIR, where lesions are bright, else the one in the middle."""
    return next((i for i, name in enumerate(channels) if "flair" in name.lower()), len(channels) // 2)


def _by_sample(table: pd.DataFrame) -> pd.DataFrame:
    """One row a sample: mean Dice and summed pixels of its classes."""
    return table.groupby("sample_id", sort=True).agg(
        dice=("dice", "mean"),
        truth_px=("truth_px", "sum"),
        predicted_px=("predicted_px", "sum"),
        overlap_px=("overlap_px", "sum"),
    )


def _dice_by_class(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Dice of each class of each sample that holds it or was given it, where there are several classes."""
    there = table[(table["truth_px"] > 0) | (table["predicted_px"] > 0)]
    if table["class"].nunique() < 2:
        return {}
    return {
        str(sample): dict(zip(rows["class"], rows["dice"].tolist(), strict=True))
        for sample, rows in there.groupby("sample_id", sort=True)
    }


def _grey(plane: NDArray[Any]) -> NDArray[np.uint8]:
    values = plane.astype(np.float32)
    inside = values[values > 0]
    low, high = np.percentile(inside if inside.size else values, (0.5, 99.5))
    share = np.clip((values - low) / max(float(high - low), 1e-6), 0.0, 1.0)
    grey: NDArray[np.uint8] = (share * 255.0).astype(np.uint8)
    return grey


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
