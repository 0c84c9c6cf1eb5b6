"""What augmentation does to an image, for people to look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from medloom.recipe import AugmentConfig
from medloom.transforms.augment import Augment
from medloom.transforms.preprocess import centre_crop

if TYPE_CHECKING:
    from medloom.data import PixelStore

__all__ = ["augmented_views"]

View = tuple[NDArray[Any], NDArray[np.uint8] | None]

_VIEWS = 4


def augmented_views(
    config: AugmentConfig, store: PixelStore, seed: int, crop: tuple[int, int] | None = None
) -> Callable[[int], list[View]]:
    """Return a function that shows a row of the store as it is and as training may see it.

    Args:
        config: The recipe's ``augment``.
        store: The pixels.
        seed: Of the views.
        crop: The recipe's ``preprocess.crop``: views are windows of that size, of the original it is the middle.

    Returns:
        From a row to the original and four augmented views: image ``(C, h, w)`` in the store's grey levels and
        mask ``(h, w)``; None where the store has no masks.
    """
    augment = Augment(config, crop)

    def views(row: int) -> list[View]:
        image = np.array(store.images[row])
        mask = np.array(store.masks[row]) if store.has_masks else np.zeros(image.shape[1:], np.uint8)
        offset, scale = (
            torch.from_numpy(np.array(part[row])).expand(_VIEWS, -1) for part in (store.offset, store.scale)
        )
        images = torch.from_numpy(image.astype(np.float32)).expand(_VIEWS, -1, -1, -1)
        masks = torch.from_numpy(mask).expand(_VIEWS, -1, -1)
        generator = torch.Generator().manual_seed(seed)
        drawn = augment.sample(_VIEWS, image.shape[0], (image.shape[1], image.shape[2]), generator)
        changed, moved = augment.apply(images, masks, offset, scale, drawn)
        levels = changed / scale.clamp_min(1e-12)[:, :, None, None] + offset[:, :, None, None]
        shown = levels.numpy().clip(0, image.max())
        plain, truth = centre_crop(image, crop), centre_crop(mask, crop)
        if not store.has_masks:
            return [(plain, None), *((view, None) for view in shown)]
        return [(plain, truth), *zip(shown, moved.numpy(), strict=True)]

    return views
