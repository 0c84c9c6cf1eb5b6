"""Layouts: how files and folders turn into samples."""

from medloom.data.layouts.base import Item, Layout, Listing, Problem, is_image, natural_key
from medloom.data.layouts.image_mask import ImageMask
from medloom.data.layouts.lgg_mri import LggMri
from medloom.data.layouts.registry import LAYOUTS, build_layout

__all__ = [
    "LAYOUTS",
    "ImageMask",
    "Item",
    "Layout",
    "LggMri",
    "Listing",
    "Problem",
    "build_layout",
    "is_image",
    "natural_key",
]
