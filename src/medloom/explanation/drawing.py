"""A map drawn on its image: red where a pixel speaks for an answer, blue where it speaks against it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from medloom.imaging.display import to_grey

__all__ = ["drawn", "shown"]

Picture = NDArray[np.uint8]
Floats32 = NDArray[np.float32]

_FOR, _AGAINST = np.array([255, 40, 0], np.float32), np.array([0, 90, 255], np.float32)
_STRENGTH = 0.6
_COLOURS = 3
_LONGEST = 512
_SHORTEST = 256


def shown(pixels_hwc: NDArray[Any]) -> Picture:
    """Return an image for people, its longer side 256 to 512 pixels long.

    Args:
        pixels_hwc: ``(H, W, C)``, any dtype; three channels are shown as colours, else the first as grey.

    Returns:
        ``(h, w, 3)`` uint8.
    """
    planes = pixels_hwc if pixels_hwc.shape[2] == _COLOURS else pixels_hwc[..., :1]
    grey = np.stack([to_grey(planes[..., channel]) for channel in range(planes.shape[2])], axis=-1)
    picture = np.broadcast_to(grey, (*grey.shape[:2], _COLOURS)).astype(np.uint8)
    longer = max(picture.shape[:2])
    share = min(max(longer, _SHORTEST), _LONGEST) / longer
    size = (max(1, round(picture.shape[1] * share)), max(1, round(picture.shape[0] * share)))
    return np.asarray(PillowImage.fromarray(picture).resize(size, PillowImage.Resampling.BILINEAR))


def drawn(picture: Picture, map_hw: Floats32) -> Picture:
    """Draw a map on a picture of the same part of the image.

    Args:
        picture: ``(h, w, 3)`` uint8.
        map_hw: Any size, -1 to 1.
    """
    image = PillowImage.fromarray(map_hw.astype(np.float32))
    values = np.asarray(image.resize((picture.shape[1], picture.shape[0]), PillowImage.Resampling.BILINEAR))[..., None]
    strength = _STRENGTH * np.abs(values).clip(0.0, 1.0)
    colour = np.where(values >= 0, _FOR, _AGAINST)
    mixed = picture * (1.0 - strength) + colour * strength
    return np.asarray(np.clip(mixed, 0, 255), np.uint8)
