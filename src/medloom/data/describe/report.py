"""Write the facts and pictures of the data report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medloom.data.catalogue import labels_of
from medloom.data.describe.flair import FLAIR_RULE, flair_facts
from medloom.data.describe.intensities import blank_facts, channel_facts, extremes
from medloom.data.describe.pictures import Stack, animation, augmentation, class_gallery, gallery
from medloom.data.splits import SPLITS
from medloom.data.stored import StoredPixels, evenly
from medloom.files import write_bytes, write_json

__all__ = ["FACTS_FILE", "REPORT_FOLDER", "Preview", "describe"]

REPORT_FOLDER = "data_report"
"""Folder of the facts and pictures in a run directory."""

FACTS_FILE = "facts.json"
"""Name of the facts in that folder."""

AUGMENTATION_FILE = "augmentation.png"

Preview = Callable[[int], Sequence[tuple[npt.NDArray[Any], npt.NDArray[np.uint8] | None]]]
"""From a row of the store to the original and its augmented views: image (C, h, w) and mask (h, w), or None, each."""

_GALLERY_SLICES = 24
_ANIMATION_SLICES = 120
_CLASS_SAMPLES = 8
_MOST_CLASSES = 12
_RGB = 3

_NO_FLAIR: dict[str, Any] = {
    "rule": FLAIR_RULE, "scores": [], "channel": None, "sure": False, "named": None, "agrees": None
}  # fmt: skip


def describe(
    catalogue: pd.DataFrame,
    store: StoredPixels,
    run_dir: Path,
    *,
    channels: Sequence[str],
    preview: Preview | None = None,
    classes: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Write ``data_report/facts.json`` and the pictures beside it.

    Patients and samples appear by pseudonym only. Distributions are taken over at most 256 images, minima and
    maxima over all.

    Args:
        catalogue: With ``sample_id``, ``patient_id``, ``split``, ``lesion_px``.
        store: The pixels of these samples.
        run_dir: The run directory.
        channels: Names of the channels in the recipe.
        preview: Makes augmented views of one row of the store, the original first; no preview without it.
        classes: For classification the names of the classes, none where labels are numbers; None for segmentation. The
            store needs no masks then, and the catalogue has ``labels``.

    Returns:
        The facts, as written.
    """
    folder = run_dir / REPORT_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    rows = store.rows(catalogue["sample_id"].tolist())
    ordered = catalogue.assign(row=rows).sort_values("sample_id", kind="stable").reset_index(drop=True)
    lowest, highest = extremes(store.images, ordered["row"].to_numpy())
    if classes is None:
        flair = flair_facts(store, ordered.loc[ordered["lesion_px"] > 0, "row"].to_numpy(), channels)
        pictures = _pictures(ordered, store, folder, flair, channels, preview)
    else:
        flair = _NO_FLAIR
        pictures = _class_pictures(ordered, store, folder, channels, classes, preview)
    facts = {
        "task": "segmentation" if classes is None else "classification",
        "splits": _splits(ordered),
        "patients": _patients(ordered),
        "channels": channel_facts(store.images, ordered["row"].to_numpy(), channels, lowest, highest),
        "blank": blank_facts(ordered, channels, lowest, highest),
        "flair": flair,
        "pictures": pictures,
    }
    write_json(folder / FACTS_FILE, facts)
    return facts


def _splits(catalogue: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for split in SPLITS:
        part = catalogue[catalogue["split"] == split]
        lesions = int((part["lesion_px"] > 0).sum())
        rows.append(
            {
                "split": split,
                "patients": int(part["patient_id"].nunique()),
                "samples": len(part),
                "lesion_samples": lesions,
                "lesion_share": lesions / len(part) if len(part) else None,
                "sample_share": len(part) / len(catalogue),
            }
        )
    return rows


def _patients(catalogue: pd.DataFrame) -> list[dict[str, Any]]:
    """Samples and lesions of each patient, in the order of the splits."""
    counted = catalogue.assign(lesion=catalogue["lesion_px"] > 0)
    rank = {split: place for place, split in enumerate(SPLITS)}
    table = counted.groupby(["split", "patient_id"], sort=True)["lesion"].agg(["size", "sum"]).reset_index()
    table = table.sort_values("split", key=lambda column: column.map(rank), kind="stable")
    return [
        {"patient_id": str(patient), "split": str(split), "samples": int(samples), "lesions": int(lesions)}
        for split, patient, samples, lesions in table.itertuples(index=False)
    ]


def _pictures(
    catalogue: pd.DataFrame,
    store: StoredPixels,
    folder: Path,
    flair: dict[str, Any],
    channels: Sequence[str],
    preview: Preview | None,
) -> dict[str, Any]:
    """Draw one patient, and the augmentation of one of its slices; say what was drawn."""
    patient = _typical_patient(catalogue)
    slices = catalogue[catalogue["patient_id"] == patient]
    channel = flair["channel"] if flair["channel"] is not None else 0
    stack = Stack.read(store, slices["row"].to_numpy(), channel)
    shown = evenly(len(slices), _GALLERY_SLICES)
    write_bytes(folder / "gallery_plain.png", gallery(stack.take(shown), masks=False))
    write_bytes(folder / "gallery_mask.png", gallery(stack.take(shown), masks=True))
    write_bytes(folder / "animation.webp", animation(stack.take(evenly(len(slices), _ANIMATION_SLICES))))
    largest = int(slices["lesion_px"].to_numpy().argmax())
    (folder / AUGMENTATION_FILE).unlink(missing_ok=True)
    if preview is not None:
        write_bytes(folder / AUGMENTATION_FILE, augmentation(preview(int(slices["row"].iloc[largest])), channel))
    return {
        "patient_id": patient,
        "channel": channels[channel],
        "channel_index": channel,
        "samples": slices["sample_id"].iloc[shown].tolist(),
        "slices": len(slices),
        "largest_lesion": str(slices["sample_id"].iloc[largest]),
    }


def _class_pictures(
    catalogue: pd.DataFrame,
    store: StoredPixels,
    folder: Path,
    channels: Sequence[str],
    classes: Sequence[str],
    preview: Preview | None,
) -> dict[str, Any]:
    """Draw a few training samples of each class, a row each; say what was drawn."""
    train = catalogue[catalogue["split"] == "train"].reset_index(drop=True)
    train = train if len(train) else catalogue
    chosen = [(name, places) for name, places in _examples(train, classes) if len(places)]
    shown = [{"class": name, "samples": train["sample_id"].iloc[places].tolist()} for name, places in chosen]
    colour = len(channels) == _RGB
    channel = None if colour else 0
    stacks = [Stack.read(store, train["row"].to_numpy()[places], channel) for _, places in chosen]
    write_bytes(folder / "gallery_plain.png", class_gallery(stacks))
    for name in ("gallery_mask.png", "animation.webp", AUGMENTATION_FILE):
        (folder / name).unlink(missing_ok=True)
    first = train.iloc[0]
    if preview is not None:
        write_bytes(folder / AUGMENTATION_FILE, augmentation(preview(int(first["row"])), channel))
    return {
        "classes": shown,
        "colour": colour,
        "channel": channels[0],
        "channel_index": 0,
        "samples": [sample for entry in shown for sample in entry["samples"]],
        "slices": int((catalogue["patient_id"] == first["patient_id"]).sum()),
        "patient_id": str(first["patient_id"]),
        "largest_lesion": str(first["sample_id"]),
    }


def _examples(train: pd.DataFrame, classes: Sequence[str]) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """Name and places of a few samples of each class; of numbers, from the least to the greatest."""
    labels = labels_of(train)
    if not classes:
        order = np.argsort(labels[:, 0], kind="stable")
        yield "from the least to the greatest", order[evenly(len(order), _CLASS_SAMPLES)]
        return
    for index, name in enumerate(classes[:_MOST_CLASSES]):
        has = labels[:, index] > 0 if labels.shape[1] > 1 else labels[:, 0] == index
        members = np.flatnonzero(has)
        yield name, members[evenly(len(members), _CLASS_SAMPLES)]


def _typical_patient(catalogue: pd.DataFrame) -> str:
    """The training patient in the middle by number of samples with a lesion."""
    train = catalogue[catalogue["split"] == "train"]
    lesions = (train["lesion_px"] > 0).groupby(train["patient_id"]).sum().sort_values(kind="stable")
    with_lesion = lesions[lesions > 0]
    chosen = with_lesion if len(with_lesion) else lesions
    return str(chosen.index[len(chosen) // 2])
