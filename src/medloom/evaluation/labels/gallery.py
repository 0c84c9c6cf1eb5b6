"""The gallery of labels: the most confident mistakes, or the largest errors, with what the network looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image as PillowImage

from medloom.evaluation.family import Heatmap
from medloom.evaluation.gallery import Item, Scale, heated
from medloom.evaluation.reading import Sample
from medloom.imaging.display import to_grey

__all__ = ["SHOWN", "draw_items", "mistakes", "worst_first"]

Floats32 = NDArray[np.float32]
Picture = NDArray[np.uint8]

SHOWN = 8
"""Most items of a gallery."""

_SIDE_PX = 320
_COLOURS = 3


def mistakes(
    cases: pd.DataFrame,
    truth: Sequence[str] | NDArray[np.str_],
    decision: Sequence[str] | NDArray[np.str_],
    score: NDArray[np.float64],
    output: NDArray[np.int64] | int,
) -> pd.DataFrame:
    """Return wrong decisions as a table that ``worst_first`` takes.

    Args:
        cases: The cases that were decided wrongly.
        truth: Name of the true class of each.
        decision: Name of the decided class.
        score: Probability of the decision.
        output: Number of the output that a heat map is made for.
    """
    columns = {"sample_id": cases["sample_id"].to_numpy(), "truth": truth, "decision": decision, "by": score}
    found = pd.DataFrame({**columns, "output": output})
    return found.assign(caption=[_caption(*row) for row in zip(truth, decision, score, strict=True)])


def worst_first(found: pd.DataFrame) -> pd.DataFrame:
    """Return the first rows by the column ``by``, the largest first; of equal ones the earlier."""
    return found.sort_values("by", ascending=False, kind="stable").head(SHOWN)


def draw_items(chosen: pd.DataFrame, samples: Iterable[Sample], heatmap: Heatmap | None) -> list[Item]:
    """Draw what the network saw of each chosen case, and where it looked.

    Args:
        chosen: ``sample_id``, ``caption``, ``by`` and ``output`` of each case.
        samples: The same cases, in this order.
        heatmap: Shows where the network looked; None for the images alone.
    """
    items = []
    for case, sample in zip(chosen.to_dict("records"), samples, strict=True):
        prepared = sample.prepared
        shown = _shown(prepared.own_input)
        heat = heatmap(prepared.network_input[None], prepared.table_nf, int(case["output"])) if heatmap else None
        name, caption = str(case["sample_id"]), f"{case['sample_id']}: {case['caption']}"
        drawn = None if heat is None else heated(shown, heat)
        scale = Scale(prepared.own_input.shape[2])
        items.append(Item(name, caption, (-float(case["by"]),), shown, drawn, int(case["output"]), scale))
    return items


def _caption(truth: str, decision: str, score: float) -> str:
    return f"true {truth}, decided {decision} of probability {score:.3f}"


def _shown(network_input_chw: Floats32) -> Picture:
    """What the network saw, for people: (H, W, 3)."""
    planes = network_input_chw if len(network_input_chw) == _COLOURS else network_input_chw[:1]
    grey = np.stack([to_grey(plane) for plane in planes], axis=-1)
    return _fit(np.broadcast_to(grey, (*grey.shape[:2], _COLOURS)).astype(np.uint8))


def _fit(picture: Picture) -> Picture:
    """Bring the longer side to about ``_SIDE_PX``."""
    share = _SIDE_PX / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * share)), max(1, round(picture.shape[0] * share)))
    return np.asarray(PillowImage.fromarray(picture).resize(size, PillowImage.Resampling.BILINEAR))
