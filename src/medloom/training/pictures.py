"""How the predictions for a few fixed validation images change while the network learns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.files import write_bytes, write_json
from medloom.imaging import encode_png
from medloom.imaging.display import to_grey
from medloom.metrics import outline
from medloom.palette import PREDICTED, TRUTH, hexadecimal

__all__ = ["choose_samples", "draw_panels", "write_picture"]

Mask = NDArray[np.bool_]


def choose_samples(foreground_px: NDArray[np.int64], count: int = 4) -> NDArray[np.int64]:
    """Choose samples from small to large foreground, and one without.

    Args:
        foreground_px: ``(N,)`` foreground of each sample in pixels.
        count: How many at most.

    Returns:
        Positions in ``foreground_px``, always the same for the same sizes.
    """
    order = np.argsort(foreground_px, kind="stable")
    filled, empty = order[foreground_px[order] > 0], order[foreground_px[order] == 0]
    wanted = min(count - 1 if len(empty) else count, len(filled))
    spread = np.linspace(0, len(filled) - 1, wanted + 2)[1:-1].round().astype(np.int64)
    return np.concatenate([filled[np.unique(spread)], empty[len(empty) // 2 :][:1]])


def draw_panels(planes: NDArray[Any], truth: Mask, predicted: Mask) -> NDArray[np.uint8]:
    """Draw images side by side with the true and the predicted outline in the colours of ``palette``.

    Args:
        planes: ``(N, H, W)``, any dtype and range.
        truth: ``(N, H, W)``.
        predicted: ``(N, H, W)``.

    Returns:
        ``(H, N * W, 3)`` uint8.
    """
    panels = []
    for plane, true_mask, predicted_mask in zip(planes, truth, predicted, strict=True):
        panel = np.repeat(to_grey(plane)[..., None], 3, axis=2)
        panel[outline(true_mask)] = TRUTH
        panel[outline(predicted_mask)] = PREDICTED
        panels.append(panel)
    return np.concatenate(panels, axis=1)


def write_picture(folder: Path, name: str, picture: NDArray[np.uint8], facts: Mapping[str, object]) -> None:
    """Write a picture and, after it, ``progress.json`` that lists it and says what is drawn and how wide it is."""
    write_bytes(folder / name, encode_png(picture))
    legend = [["true", hexadecimal(TRUTH)], ["predicted", hexadecimal(PREDICTED)]]
    scale = {"width_px": picture.shape[1], "mm_per_px": None}
    write_json(folder / "progress.json", {**facts, "legend": legend, "scale": scale})
