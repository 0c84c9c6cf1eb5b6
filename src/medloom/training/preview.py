"""What augmentation does to an image, for people to look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medloom.transforms.augment import Augment, AugmentParameters
from medloom.transforms.preprocess import centre_crop

if TYPE_CHECKING:
    from medloom.data.store import PixelStore

__all__ = ["View", "image_views", "mask_views"]

View = tuple[NDArray[Any], NDArray[np.uint8] | None]
"""An image ``(C, h, w)`` in the store's grey levels, and its mask ``(h, w)`` where there is one."""

_VIEWS = 4


def mask_views(augment: Augment, store: PixelStore, seed: int) -> Callable[[int], list[View]]:
    """Return a function from a row of the store to the original and four augmented views, with their masks.

    Args:
        augment: Random changes. With a crop, views are windows of that size; of the original it is the middle.
        store: The pixels.
        seed: Of the views.
    """

    def views(row: int) -> list[View]:
        image, mask = np.array(store.images[row]), np.array(store.masks[row])
        images, offset, scale, drawn = _drawn(augment, image, store, row, seed)
        masks = torch.from_numpy(mask).expand(_VIEWS, -1, -1)
        changed, moved = augment.apply(images, masks, offset, scale, drawn)
        shown = _grey_levels(changed, offset, scale, image.max())
        return [
            (centre_crop(image, augment.crop), centre_crop(mask, augment.crop)),
            *zip(shown, moved.numpy(), strict=True),
        ]

    return views


def image_views(augment: Augment, store: PixelStore, seed: int) -> Callable[[int], list[View]]:
    """Return the same as ``mask_views`` for images without masks."""

    def views(row: int) -> list[View]:
        image = np.array(store.images[row])
        images, offset, scale, drawn = _drawn(augment, image, store, row, seed)
        changed = augment.apply_image(images, offset, scale, drawn)
        shown = _grey_levels(changed, offset, scale, image.max())
        return [(centre_crop(image, augment.crop), None), *((view, None) for view in shown)]

    return views


def _drawn(
    augment: Augment, image: NDArray[Any], store: PixelStore, row: int, seed: int
) -> tuple[Tensor, Tensor, Tensor, AugmentParameters]:
    """Return the image once for each view, with its offset and scale, and what was drawn for them."""
    offset, scale = (torch.from_numpy(np.array(part[row])).expand(_VIEWS, -1) for part in (store.offset, store.scale))
    images = torch.from_numpy(image.astype(np.float32)).expand(_VIEWS, -1, -1, -1)
    generator = torch.Generator().manual_seed(seed)
    return images, offset, scale, augment.sample(_VIEWS, image.shape[0], (image.shape[1], image.shape[2]), generator)


def _grey_levels(changed: Tensor, offset: Tensor, scale: Tensor, brightest: float) -> NDArray[np.float32]:
    """Undo the normalisation."""
    levels = changed / scale.clamp_min(1e-12)[:, :, None, None] + offset[:, :, None, None]
    shown: NDArray[np.float32] = levels.numpy().clip(0, brightest)
    return shown
