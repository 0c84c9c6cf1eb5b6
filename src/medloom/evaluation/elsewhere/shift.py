"""How images elsewhere differ from those of the training, as far as the bundle knows how those look."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.evaluation.appearance import described, some
from medloom.evaluation.reading import Reading
from medloom.inference.appearance import FEATURE_NAMES, Appearance
from medloom.wording import counted

__all__ = ["shift_facts", "shift_findings"]

_MANY = 0.05
"""From this share of images on that look unlike those of the training, it is said."""


def shift_facts(reading: Reading, rows: pd.DataFrame, appearance: Appearance | None) -> dict[str, Any]:
    """Return how images look beside those of the training, and how large they are.

    Args:
        reading: Reads the images as serving does.
        rows: The rows of the catalogue that are measured; of many, some are looked at.
        appearance: How the training images look; None where the bundle does not know.

    Returns:
        ``sizes``; with an appearance ``described``, ``unlike`` (share of the images that the server would warn of),
        ``distance`` (median, in shares of the limit) and ``features`` with mean and standard deviation here and in the
        training, and how many of the latter lie between.
    """
    facts: dict[str, Any] = {"sizes": _sizes(rows)}
    if appearance is None:
        return facts
    found = described(reading, some(rows))
    return {
        **facts,
        "described": len(found),
        "unlike": float(np.mean([appearance.is_unlike(one) for one in found])),
        "distance": float(np.median([appearance.distance(one) for one in found])),
        "features": _features(found, appearance),
    }


def shift_findings(facts: dict[str, Any]) -> list[str]:
    """Return a sentence where many images look unlike those of the training."""
    if facts.get("unlike", 0.0) < _MANY:
        return []
    return [
        f"{100 * facts['unlike']:.0f} % of {counted(facts['described'], 'image')} look unlike those of the training, "
        "or have values on another scale."
    ]


def _sizes(rows: pd.DataFrame) -> dict[str, Any]:
    sides = {side: rows[side].to_numpy(float) for side in ("height", "width")}
    return {
        "images": len(rows),
        **{
            side: {"median": float(np.median(values)), "least": float(values.min()), "most": float(values.max())}
            for side, values in sides.items()
        },
        "dtypes": dict(Counter(map(str, rows["dtype"])).most_common()),
    }


def _features(found: NDArray[np.float64], appearance: Appearance) -> list[dict[str, Any]]:
    spread = appearance.spread()
    return [
        {
            "name": name,
            "here": float(found[:, at].mean()),
            "here_std": float(found[:, at].std()),
            "training": float(appearance.centre[at]),
            "training_std": float(spread[at]),
            "difference": float((found[:, at].mean() - appearance.centre[at]) / spread[at]),
        }
        for at, name in FEATURE_NAMES.items()
    ]
