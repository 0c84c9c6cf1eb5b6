"""Layouts: how files and folders turn into samples."""

from medloom.data.layouts.array import ArrayLabels
from medloom.data.layouts.base import Item, Layout, Listing, Problem, Read, is_image, natural_key
from medloom.data.layouts.csv_labels import CsvLabels
from medloom.data.layouts.folder_classes import FolderClasses
from medloom.data.layouts.image_mask import ImageMask
from medloom.data.layouts.lgg_mri import LggMri
from medloom.data.layouts.registry import LAYOUTS, build_layout, expected_files

__all__ = [
    "LAYOUTS",
    "ArrayLabels",
    "CsvLabels",
    "FolderClasses",
    "ImageMask",
    "Item",
    "Layout",
    "LggMri",
    "Listing",
    "Problem",
    "Read",
    "build_layout",
    "expected_files",
    "is_image",
    "natural_key",
]
