"""Views of an image at test time, whose answers are averaged: the image, its mirror image, and both moved a little."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["View", "view"]

Floats32 = NDArray[np.float32]

_STEP = 0.1
"""How far a view is moved, as a share of half the side; the second time round twice as far, and so on."""


@dataclass(frozen=True)
class View:
    """How an image is changed before the network sees it.

    Args:
        down: Row of the image that becomes the first one, in pixels; edges are repeated where there is none.
        right: Column of the image that becomes the first one.
        mirrored: Whether left and right are swapped after that.
    """

    down: int = 0
    right: int = 0
    mirrored: bool = False

    def apply(self, images: Floats32) -> Floats32:
        """Return the view of images ``(..., h, w)``."""
        moved = self._moved(images) if self.down or self.right else images
        return np.ascontiguousarray(moved[..., ::-1]) if self.mirrored else moved

    def undo(self, maps: Floats32) -> tuple[Floats32, Floats32 | np.float32]:
        """Bring what the network said about each pixel of the view back to the pixels of the image.

        Args:
            maps: ``(..., h, w)``.

        Returns:
            The maps, zero at pixels that the view does not show, and 1 for each pixel that it shows, else 0:
            ``(h, w)``, or one number where it shows all.
        """
        straight = maps[..., ::-1] if self.mirrored else maps
        if not (self.down or self.right):
            return straight, np.float32(1.0)
        height, width = maps.shape[-2:]
        (top, from_top, rows), (left, from_left, columns) = _shown(self.down, height), _shown(self.right, width)
        back, shown = np.zeros_like(maps), np.zeros((height, width), np.float32)
        back[..., top : top + rows, left : left + columns] = straight[
            ..., from_top : from_top + rows, from_left : from_left + columns
        ]
        shown[top : top + rows, left : left + columns] = 1.0
        return back, shown

    def _moved(self, images: Floats32) -> Floats32:
        height, width = images.shape[-2:]
        y = np.clip(np.arange(height) + self.down, 0, height - 1)
        x = np.clip(np.arange(width) + self.right, 0, width - 1)
        return np.ascontiguousarray(images[..., y, :][..., x])


def view(number: int, height: int, width: int) -> View:
    """Return a view by its number.

    Args:
        number: 0 is the image; odd ones are mirrored; from 2 on they are moved to each side in turn.
        height: Of the network's image, in pixels.
        width: Of the network's image, in pixels.
    """
    mirrored = number % 2 == 1
    if number < 2:
        return View(mirrored=mirrored)
    place = (number - 2) // 2
    reach = 1 + place // 4
    rows, columns = (max(1, round(_STEP * reach * side / 2)) for side in (height, width))
    down, right = ((rows, 0), (-rows, 0), (0, columns), (0, -columns))[place % 4]
    return View(down, right, mirrored)


def _shown(moved: int, side: int) -> tuple[int, int, int]:
    """Where in the image the pixels of a moved view begin, where in the view, and how many there are."""
    count = max(0, side - abs(moved))
    return (moved, 0, count) if moved > 0 else (0, -moved, count)
