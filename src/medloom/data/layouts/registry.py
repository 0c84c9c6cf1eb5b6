"""Every layout by the name it has in a recipe."""

from __future__ import annotations

from collections.abc import Callable

from medloom.data.layouts.base import Layout
from medloom.data.layouts.image_mask import ImageMask
from medloom.data.layouts.lgg_mri import LggMri
from medloom.recipe import DataConfig

__all__ = ["LAYOUTS", "build_layout"]

LAYOUTS: dict[str, Callable[[DataConfig], Layout]] = {
    "lgg-mri": lambda config: LggMri(),
    "image-mask": lambda config: ImageMask(config.image, config.mask, config.channels, config.missing_channel),
}


def build_layout(config: DataConfig) -> Layout:
    """Return the layout that a recipe names.

    Args:
        config: The recipe's ``data``.

    Returns:
        The layout, ready to list files.
    """
    return LAYOUTS[config.layout](config)
