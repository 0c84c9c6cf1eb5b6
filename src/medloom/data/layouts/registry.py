"""Every layout by the name it has in a recipe."""

from __future__ import annotations

from collections.abc import Callable

from medloom.data.layouts.array import ArrayLabels
from medloom.data.layouts.base import Layout
from medloom.data.layouts.csv_labels import CsvLabels
from medloom.data.layouts.folder_classes import FolderClasses
from medloom.data.layouts.image_mask import ImageMask
from medloom.data.layouts.lgg_mri import LggMri
from medloom.recipe import DataConfig

__all__ = ["LAYOUTS", "build_layout", "expected_files"]

LAYOUTS: dict[str, Callable[[DataConfig, str], Layout]] = {
    "lgg-mri": lambda config, task: LggMri(),
    "image-mask": lambda config, task: ImageMask(config.image, config.mask, config.channels, config.missing_channel),
    "folder-classes": lambda config, task: FolderClasses(config.labels),
    "csv": lambda config, task: CsvLabels(config.labels),
    "array": ArrayLabels,
}

_EXPECTED: dict[str, Callable[[DataConfig], str]] = {
    "lgg-mri": lambda config: "<patient>/<slice>.tif with <slice>_mask.tif beside it",
    "image-mask": lambda config: f"images like {config.image} with masks like {config.mask}",
    "folder-classes": lambda config: "<class>/<image>, or <train, val or test>/<class>/<image>",
    "csv": lambda config: f"a CSV whose column {config.labels.image} names the images",
    "array": lambda config: f"images like {config.image} with arrays like {config.mask}",
}


def build_layout(config: DataConfig, task: str = "segmentation") -> Layout:
    """Return the layout that a recipe names.

    Args:
        config: The recipe's ``data``.
        task: The recipe's ``task``.

    Returns:
        The layout, ready to list files.
    """
    return LAYOUTS[config.layout](config, task)


def expected_files(config: DataConfig) -> str:
    """Return what the recipe's layout looks for, for a message."""
    return _EXPECTED[config.layout](config)
