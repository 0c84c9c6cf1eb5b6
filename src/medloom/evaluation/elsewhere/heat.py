"""Where a network looked, over many cases: in the middle of images, or along their edges, where markers are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.evaluation.family import Facts, Family, Heatmap
from medloom.evaluation.reading import Reading

__all__ = ["heat_facts", "shares_of_heat"]

_MOST = 48
"""Most cases that are looked at, evenly drawn: each takes a step of training."""

_FRAME, _MIDDLE = 0.1, 0.25
"""How far the frame reaches in from each edge, and how far from each edge the middle begins, as shares of the side."""


def heat_facts(family: Family, reading: Reading, rows: pd.DataFrame, table: pd.DataFrame, heatmap: Heatmap) -> Facts:
    """Return which share of the heat lies in the middle of images and along their edges, by right and wrong answers.

    Args:
        family: Says for which output of each case.
        reading: Reads samples as the network sees them.
        rows: The rows of the catalogue that were measured.
        table: The per-case table of these rows, in their order.
        heatmap: Shows where the network looked.

    Returns:
        ``areas`` of middle and frame as shares of an image, and in ``answers`` for ``right`` and ``wrong`` the number
        of cases and the mean shares of their heat; nothing where the network has no such maps.
    """
    outputs = family.heat_outputs(table)
    if outputs is None or not len(table):
        return {}
    places = np.unique(np.linspace(0, len(table) - 1, min(_MOST, len(table))).round().astype(int))
    right = _right(table)
    shares: dict[str, list[tuple[float, float]]] = {"right": [], "wrong": []}
    for place, sample in zip(places, reading.samples(rows.iloc[places]), strict=True):
        seen = sample.prepared
        heat = heatmap(seen.network_input[None], seen.table_nf, int(outputs[place]))
        if heat is None:
            return {}
        if np.sum(heat) > 0:
            shares["right" if right[place] else "wrong"].append(shares_of_heat(heat))
    answers = {
        name: {"cases": len(found), **dict(zip(("middle", "frame"), np.mean(found, axis=0).tolist(), strict=True))}
        for name, found in shares.items()
        if found
    }
    areas = {"middle": (1 - 2 * _MIDDLE) ** 2, "frame": 1 - (1 - 2 * _FRAME) ** 2}
    return {"areas": areas, "answers": answers} if answers else {}


def shares_of_heat(heat: NDArray[Any]) -> tuple[float, float]:
    """Return which share of the heat lies in the middle of an image, and in a frame along its edges.

    Args:
        heat: ``(h, w)``, none below 0, some above.

    Example:
        >>> middle, frame = shares_of_heat(np.ones((100, 100)))
        >>> round(middle, 2), round(frame, 2)
        (0.25, 0.36)
    """
    down, across = (_weights(side) for side in heat.shape)
    total = float(heat.sum())
    middle = float(down["middle"] @ heat @ across["middle"]) / total
    return middle, 1.0 - float(down["inner"] @ heat @ across["inner"]) / total


def _weights(side: int) -> dict[str, NDArray[np.float64]]:
    """How much of each pixel of a side lies in the middle, and within the frame."""
    edges = np.arange(side + 1) / side
    return {
        name: (np.clip(edges[1:], begin, 1 - begin) - np.clip(edges[:-1], begin, 1 - begin)) * side
        for name, begin in (("middle", _MIDDLE), ("inner", _FRAME))
    }


def _right(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether every known truth of a case was decided; all of them where nothing is decided."""
    right = np.full(len(table), True)
    for decision in (str(name) for name in table.columns if str(name).startswith("decision")):
        truth = table[decision.replace("decision", "truth", 1)]
        right &= (truth.isna() | (truth == table[decision])).to_numpy()
    return right
