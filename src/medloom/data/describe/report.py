"""Write the facts and pictures of the data report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medloom.data.describe.flair import flair_facts
from medloom.data.describe.intensities import blank_facts, channel_facts, extremes
from medloom.data.describe.pictures import Stack, animation, augmentation, gallery
from medloom.data.splits import SPLITS
from medloom.data.stored import StoredPixels, evenly
from medloom.files import read_json, write_bytes, write_json

__all__ = ["FACTS_FILE", "REPORT_FOLDER", "Preview", "add_preview", "describe"]

REPORT_FOLDER = "data_report"
"""Folder of the facts and pictures in a run directory."""

FACTS_FILE = "facts.json"
"""Name of the facts in that folder."""

AUGMENTATION_FILE = "augmentation.png"

Preview = Callable[[int], Sequence[tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]]]
"""From a row of the store to the original and its augmented views: image (C, h, w) and mask (h, w) each."""

_GALLERY_SLICES = 24
_ANIMATION_SLICES = 120


def describe(
    catalogue: pd.DataFrame,
    store: StoredPixels,
    run_dir: Path,
    *,
    channels: Sequence[str],
    preview: Preview | None = None,
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

    Returns:
        The facts, as written.
    """
    folder = run_dir / REPORT_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    rows = store.rows(catalogue["sample_id"].tolist())
    ordered = catalogue.assign(row=rows).sort_values("sample_id", kind="stable").reset_index(drop=True)
    lowest, highest = extremes(store.images, ordered["row"].to_numpy())
    flair = flair_facts(store, ordered.loc[ordered["lesion_px"] > 0, "row"].to_numpy(), channels)
    facts = {
        "splits": _splits(ordered),
        "patients": _patients(ordered),
        "channels": channel_facts(store.images, ordered["row"].to_numpy(), channels, lowest, highest),
        "blank": blank_facts(ordered, channels, lowest, highest),
        "flair": flair,
        "pictures": _pictures(ordered, store, folder, flair, channels, preview),
    }
    write_json(folder / FACTS_FILE, facts)
    return facts


def add_preview(run_dir: Path, store: StoredPixels, preview: Preview) -> None:
    """Draw the augmentation preview of a run that was described without one.

    For a preparation that must do without torch: what comes above it adds the picture afterwards.

    Args:
        run_dir: The run directory with ``data_report/facts.json``.
        store: The pixels of the run.
        preview: As for ``describe``.
    """
    folder = run_dir / REPORT_FOLDER
    pictures = read_json(folder / FACTS_FILE)["pictures"]
    row = int(store.rows([pictures["largest_lesion"]])[0])
    write_bytes(folder / AUGMENTATION_FILE, augmentation(preview(row), pictures["channel_index"]))


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


def _typical_patient(catalogue: pd.DataFrame) -> str:
    """The training patient in the middle by number of samples with a lesion."""
    train = catalogue[catalogue["split"] == "train"]
    lesions = (train["lesion_px"] > 0).groupby(train["patient_id"]).sum().sort_values(kind="stable")
    with_lesion = lesions[lesions > 0]
    chosen = with_lesion if len(with_lesion) else lesions
    return str(chosen.index[len(chosen) // 2])
