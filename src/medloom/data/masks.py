"""Truth that is a mask: a class for each pixel of the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from medloom.data.checks import ClassMap
from medloom.data.coverage import coverage_warnings
from medloom.data.describe.contrast import contrast_facts
from medloom.data.describe.foreground import foreground_facts, foreground_table
from medloom.data.describe.pictures import Stack, animation, gallery, write_augmentation
from medloom.data.describe.tables import write_table
from medloom.data.layouts.image_mask import ClassOfFile
from medloom.data.splits.given import parts_in
from medloom.data.stored import StoredPixels, evenly
from medloom.data.truth import ReportPictures, Truth
from medloom.files import sha256_bytes, write_bytes
from medloom.recipe import MasksRecipe, Recipe
from medloom.targets import Target

__all__ = ["MASKS", "Masks"]

_SHARE_TOLERANCE = 0.05
"""A part's share of samples with foreground may differ from the whole by this much before the report mentions it."""

_FOREGROUND = "foreground.csv"
_GALLERY_IMAGES = 24
_ANIMATION_IMAGES = 120


class Masks(Truth):
    """What masks mean for the data."""

    def class_map(self, recipe: Recipe) -> ClassMap:
        """Return how the pixels of masks are read."""
        masks = MasksRecipe.of(recipe)
        target, pattern = masks.target, masks.data.mask
        of_file = ClassOfFile(pattern, tuple(target.mask_values)) if masks.a_file_for_each_class else None
        return ClassMap(target.mask_values, target.ignored, target.mask_tolerance, target.mask_colours, of_file)

    def label_rule(self, recipe: Recipe) -> None:
        """Return None: there are no words."""

    def array_pattern(self, recipe: Recipe) -> tuple[str, str]:
        """Return the pattern of a map of classes, and its key."""
        return MasksRecipe.of(recipe).data.mask, "mask"

    def store_rules(self, recipe: Recipe) -> dict[str, Any]:
        """Return the pixel values of the classes, and those that count nowhere."""
        target = MasksRecipe.of(recipe).target
        ignored = {"ignore": list(target.ignored)} if target.ignored else {}
        tolerance = {"tolerance": target.mask_tolerance} if target.mask_tolerance else {}
        colours = {"colours": target.mask_colours} if target.mask_colours else {}
        # A key does not know the order of a mapping, and the first class is the background.
        names = list(target.mask_values)
        order = {"order": names} if names != sorted(names) else {}
        return {"masks": target.mask_values, **order, **ignored, **tolerance, **colours}

    def strata(self, catalogue: pd.DataFrame) -> None:
        """Return None: samples with foreground and others are balanced."""

    def counts(self, part: pd.DataFrame, target: Target) -> dict[str, Any]:
        """Return how many samples have foreground."""
        found = part["foreground_px"] > 0
        share = round(float(found.mean()), 4) if len(part) else 0.0
        return {"foreground_samples": int(found.sum()), "foreground_share": share}

    def warnings(self, catalogue: pd.DataFrame, target: Target) -> list[str]:
        """Return a sentence for each part without foreground, or with another share of it than the whole."""
        warnings = []
        found = catalogue["foreground_px"] > 0
        whole = float(found.mean())
        for split in parts_in(catalogue["split"]):
            share = float(found[catalogue["split"] == split].mean())
            if share == 0 < whole:
                warnings.append(f"No sample in {split} has foreground: its metrics on foreground do not exist.")
            elif abs(share - whole) > _SHARE_TOLERANCE:
                warnings.append(f"{share:.0%} of the samples in {split} have foreground, {whole:.0%} of all samples.")
        return warnings

    def answers(self, catalogue: pd.DataFrame, store: StoredPixels) -> list[str]:
        """Return a hash of each mask."""
        rows = store.rows(catalogue["sample_id"].tolist()).tolist()
        return [sha256_bytes(np.asarray(store.masks[row]).tobytes()) for row in rows]

    def stored_warnings(self, catalogue: pd.DataFrame, store: StoredPixels, target: Target) -> list[str]:
        """Return a sentence for each class that is in no mask, and one where foreground is nearly everywhere."""
        return coverage_warnings(catalogue, store, target.names)

    def pictures(self, shown: ReportPictures) -> dict[str, Any]:
        """Draw one patient, on the channel that shows the foreground best, and measure the foreground of every mask."""
        catalogue, store, folder = shown.catalogue, shown.store, shown.folder
        table = foreground_table(catalogue, store, shown.target.names)
        write_table(folder / _FOREGROUND, table)
        rows = catalogue.loc[catalogue["foreground_px"] > 0, "row"].to_numpy()
        contrast = contrast_facts(store, rows, shown.channels)
        channel = contrast["channel"] or 0
        patient = _typical_patient(catalogue)
        images = catalogue[catalogue["patient_id"] == patient]
        stack = Stack.read(store, images["row"].to_numpy(), channel)
        places = evenly(len(images), _GALLERY_IMAGES)
        write_bytes(folder / "gallery_plain.png", gallery(stack.take(places), masks=False))
        write_bytes(folder / "gallery_mask.png", gallery(stack.take(places), masks=True))
        write_bytes(folder / "animation.webp", animation(stack.take(evenly(len(images), _ANIMATION_IMAGES))))
        largest = int(images["foreground_px"].to_numpy().argmax())
        write_augmentation(folder, shown.preview, int(images["row"].iloc[largest]), channel)
        pictures = {
            "patient_id": patient,
            "channel": shown.channels[channel],
            "channel_index": channel,
            "samples": images["sample_id"].iloc[places].tolist(),
            "images": len(images),
            "largest_foreground": str(images["sample_id"].iloc[largest]),
        }
        return {"contrast": contrast, "pictures": pictures, "foreground": foreground_facts(table, catalogue)}


def _typical_patient(catalogue: pd.DataFrame) -> str:
    """The training patient in the middle by number of samples with foreground."""
    train = catalogue[catalogue["split"] == "train"]
    counts = (train["foreground_px"] > 0).groupby(train["patient_id"]).sum().sort_values(kind="stable")
    some = counts[counts > 0]
    chosen = some if len(some) else counts
    return str(chosen.index[len(chosen) // 2])


MASKS = Masks()
