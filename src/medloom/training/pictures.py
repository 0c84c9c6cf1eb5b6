"""How the predictions for a few fixed validation slices change while the network learns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from medloom.files import write_bytes, write_json
from medloom.imaging import encode_png

__all__ = ["choose_slices", "draw_slices", "write_picture"]

Mask = NDArray[np.bool_]
Colour = tuple[int, int, int]

_TRUTH: Colour = (80, 220, 100)
_PREDICTED: Colour = (240, 60, 60)


def choose_slices(lesion_px: NDArray[np.int64], count: int = 4) -> NDArray[np.int64]:
    """Choose slices from small to large lesions, and one without.

    Args:
        lesion_px: ``(N,)`` lesion size of each slice in pixels.
        count: How many at most.

    Returns:
        Positions in ``lesion_px``, always the same for the same sizes.
    """
    order = np.argsort(lesion_px, kind="stable")
    with_lesion, empty = order[lesion_px[order] > 0], order[lesion_px[order] == 0]
    wanted = min(count - 1 if len(empty) else count, len(with_lesion))
    spread = np.linspace(0, len(with_lesion) - 1, wanted + 2)[1:-1].round().astype(np.int64)
    return np.concatenate([with_lesion[np.unique(spread)], empty[len(empty) // 2 :][:1]])


def draw_slices(images: NDArray[np.float32], truth: Mask, predicted: Mask) -> NDArray[np.uint8]:
    """Draw slices side by side with the true outline in green and the predicted one in red.

    Args:
        images: ``(N, H, W)``, any range.
        truth: ``(N, H, W)``.
        predicted: ``(N, H, W)``.

    Returns:
        ``(H, N * W, 3)`` uint8.
    """
    panels = []
    for image, true_mask, predicted_mask in zip(images, truth, predicted, strict=True):
        low, high = np.percentile(image, (1, 99.5))
        grey = np.clip((image - low) / max(high - low, 1e-6) * 255.0, 0, 255).astype(np.uint8)
        panel = np.repeat(grey[..., None], 3, axis=2)
        panel[_outline(true_mask)] = _TRUTH
        panel[_outline(predicted_mask)] = _PREDICTED
        panels.append(panel)
    return np.concatenate(panels, axis=1)


def write_picture(folder: Path, name: str, picture: NDArray[np.uint8], facts: Mapping[str, object]) -> None:
    """Write a picture and, after it, ``progress.json`` that lists it."""
    write_bytes(folder / name, encode_png(picture))
    write_json(folder / "progress.json", facts)


def _outline(mask: Mask) -> Mask:
    """One pixel around a region, outside of it."""
    around: Mask = binary_dilation(mask) & ~mask
    return around
