"""Write the facts and pictures of the data report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medloom.data.describe.distributions import distribution_facts, group_facts
from medloom.data.describe.intensities import blank_facts, channel_facts, pooled_facts
from medloom.data.describe.outliers import image_outliers, outlier_facts
from medloom.data.describe.pictures import sheet_scales
from medloom.data.describe.statistics import STATISTICS, ImageStatistics, measure
from medloom.data.describe.tables import write_table
from medloom.data.splits.given import HELD_OUT, SPLITS, parts_in
from medloom.data.stored import StoredPixels
from medloom.data.truth import Preview, ReportPictures, Truth
from medloom.files import write_json
from medloom.targets import Target

__all__ = ["FACTS_FILE", "REPORT_FOLDER", "describe"]

REPORT_FOLDER = "data_report"
"""Folder of the facts and pictures in a run directory."""

FACTS_FILE = "facts.json"
"""Name of the facts in that folder."""

_IMAGES = "images.csv"
_OUTLIERS = "outliers.csv"

Bits = npt.NDArray[np.bool_]


def describe(
    catalogue: pd.DataFrame,
    store: StoredPixels,
    run_dir: Path,
    *,
    channels: Sequence[str],
    target: Target,
    truth: Truth,
    preview: Preview | None = None,
) -> dict[str, Any]:
    """Write ``data_report/facts.json``, and the pictures and tables beside it.

    Patients and samples appear by pseudonym only. Every image is measured; what is usual comes from all training
    images and from no other, and the other parts are described apart. ``images.csv`` has what was measured of each
    image and channel, ``outliers.csv`` the images that are unlike the training images.

    Args:
        catalogue: With ``sample_id``, ``patient_id``, ``split``, ``foreground_px``, and ``labels`` where there are no
            masks.
        store: The pixels of these samples.
        run_dir: The run directory.
        channels: Names of the channels in the recipe.
        target: What is predicted.
        truth: What that means for the data.
        preview: Makes augmented views of one row of the store, the original first; no preview without it.

    Returns:
        The facts, as written.
    """
    folder = run_dir / REPORT_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    rows = store.rows(catalogue["sample_id"].tolist())
    ordered = catalogue.assign(row=rows).sort_values("sample_id", kind="stable").reset_index(drop=True)
    train = _training(ordered)
    measured = measure(store.images, ordered["row"].to_numpy(), train)
    unlike = image_outliers(ordered, channels, measured, train)
    facts = {
        "target": target.plain(),
        "splits": _splits(ordered),
        "patients": _patients(ordered),
        **_grey_levels(ordered, store, channels, measured, train),
        "blank": blank_facts(ordered, channels, measured),
        "outliers": outlier_facts(unlike),
        **truth.pictures(ReportPictures(ordered, store, folder, channels, target, preview)),
        "scales": sheet_scales(folder, *store.images.shape[-2:]),
    }
    write_table(folder / _OUTLIERS, unlike)
    write_table(folder / _IMAGES, _image_table(ordered, channels, measured))
    write_json(folder / FACTS_FILE, facts)
    return facts


def _training(catalogue: pd.DataFrame) -> Bits:
    """Which images train; all where none does."""
    train: Bits = (catalogue["split"] == "train").to_numpy()
    return train if train.any() else np.ones(len(train), np.bool_)


def _grey_levels(
    catalogue: pd.DataFrame, store: StoredPixels, channels: Sequence[str], measured: ImageStatistics, train: Bits
) -> dict[str, Any]:
    """The channels of all training images, those of the other parts, and how the training images differ."""
    usual, rows = measured.of(train), catalogue["row"].to_numpy()
    split = catalogue["split"].to_numpy()
    others = [part for part in parts_in(catalogue["split"]) if (here := split == part).any() and not train[here].all()]
    return {
        "channels": channel_facts(store.images, rows[train], channels, usual),
        "other_parts": [
            {"split": part, "channels": pooled_facts(measured.of(split == part), channels)} for part in others
        ],
        "distributions": distribution_facts(usual, channels),
        "groups": group_facts(catalogue[train], usual, channels),
    }


def _image_table(catalogue: pd.DataFrame, channels: Sequence[str], measured: ImageStatistics) -> pd.DataFrame:
    """A row for each image and channel."""
    every = np.repeat(np.arange(len(catalogue)), len(channels))
    table = catalogue[["sample_id", "patient_id", "split"]].iloc[every].reset_index(drop=True)
    table["channel"] = np.tile(np.array(channels, object), len(catalogue))
    table[list(STATISTICS)] = measured.values.reshape(len(every), len(STATISTICS))
    return table


def _splits(catalogue: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for split in parts_in(catalogue["split"]):
        part = catalogue[catalogue["split"] == split]
        count = int((part["foreground_px"] > 0).sum())
        rows.append(
            {
                "split": split,
                "patients": int(part["patient_id"].nunique()),
                "samples": len(part),
                "foreground_samples": count,
                "foreground_share": count / len(part) if len(part) else None,
                "sample_share": len(part) / len(catalogue),
            }
        )
    return rows


def _patients(catalogue: pd.DataFrame) -> list[dict[str, Any]]:
    """Samples of each patient, and those with foreground, in the order of the splits."""
    counted = catalogue.assign(foreground=catalogue["foreground_px"] > 0)
    rank = {split: place for place, split in enumerate((*SPLITS, HELD_OUT))}
    table = counted.groupby(["split", "patient_id"], sort=True)["foreground"].agg(["size", "sum"]).reset_index()
    table = table.sort_values("split", key=lambda column: column.map(rank), kind="stable")
    return [
        {"patient_id": str(patient), "split": str(split), "samples": int(samples), "foreground_samples": int(count)}
        for split, patient, samples, count in table.itertuples(index=False)
    ]
