"""``lgg-mri``: a folder for each patient, ``<slice>_mask.tif`` beside each slice.

The layout of *LGG MRI Segmentation* (Buda et al. 2019, doi:10.1016/j.compbiomed.2019.05.002):
``kaggle_3m/TCGA_CS_4941_19960909/TCGA_CS_4941_19960909_1.tif`` and ``…_1_mask.tif``. The patient is the
folder, the slice number gives the order. What is above the patient folders does not matter. Kaggle's archive
holds the set twice, under ``kaggle_3m`` and ``lgg-mri-segmentation/kaggle_3m``; the second copy is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

from medloom.data.layouts.base import Item, Listing, Problem, Read, is_image, natural_key
from medloom.recipe import Recipe
from medloom.wording import counted

__all__ = ["LggMri", "build"]

_SUFFIXES = (".tif", ".tiff")
_MASK = "_mask"


class LggMri:
    """Samples of the LGG brain-MRI set, and of any folder laid out like it."""

    def find(self, names: Sequence[str], read: Read | None = None) -> Listing:
        """Return the slices with their masks.

        Args:
            names: Relative POSIX paths.
            read: Not used: the names say all.

        Returns:
            The samples; a slice without a mask and a mask without a slice are problems.
        """
        slices = [name for name in names if name.lower().endswith(_SUFFIXES) and "/" in name]
        chosen, copies = _without_copies(slices)
        twice = counted(copies, "file is there twice", "files are there twice")
        notes = [f"{twice} in other folders; the second copies are left out"] if copies else []
        others = sum(is_image(name) for name in names) - len(slices)
        if others:
            outside = counted(others, "image is", "images are")
            notes.append(f"{outside} outside a patient's folder or no TIFF: left out")
        return _pair(chosen, tuple(notes))

    def expects(self) -> str:
        """Return what files it looks for."""
        return "<patient>/<slice>.tif with <slice>_mask.tif beside it"

    def rules(self) -> dict[str, Any]:
        """Return what decides the outcome."""
        return {"layout": "lgg-mri", "version": 1}


def build(recipe: Recipe) -> LggMri:
    """Return the layout; there is nothing to say about it."""
    return LggMri()


def _without_copies(names: Iterable[str]) -> tuple[dict[tuple[str, str], str], int]:
    """The first path, outermost first, of each file in a patient's folder; and how many others there are."""
    chosen: dict[tuple[str, str], str] = {}
    copies = 0
    for name in sorted(names, key=lambda name: (name.count("/"), name)):
        path = PurePosixPath(name)
        copies += chosen.setdefault((path.parent.name, path.stem), name) != name
    return chosen, copies


def _pair(files: dict[tuple[str, str], str], notes: tuple[str, ...]) -> Listing:
    items: list[Item] = []
    problems: list[Problem] = []
    for patient, stem in sorted(files, key=lambda key: (key[0], natural_key(key[1]))):
        path = files[patient, stem]
        if stem.endswith(_MASK):
            if (patient, stem.removesuffix(_MASK)) not in files:
                problems.append(Problem("missing_image", path, "a mask without its image"))
        elif (patient, stem + _MASK) in files:
            items.append(Item(patient, stem, (path,), files[patient, stem + _MASK]))
        else:
            problems.append(Problem("missing_mask", path, "an image without its mask"))
    return Listing(tuple(items), tuple(problems), notes, patients="the folders")
