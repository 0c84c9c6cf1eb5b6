"""Write the facts and pictures of the data report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medloom.data.describe.intensities import blank_facts, channel_facts, extremes
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
    """Write ``data_report/facts.json`` and the pictures beside it.

    Patients and samples appear by pseudonym only. Distributions are taken over at most 256 images, minima and
    maxima over all.

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
    lowest, highest = extremes(store.images, ordered["row"].to_numpy())
    facts = {
        "target": target.plain(),
        "splits": _splits(ordered),
        "patients": _patients(ordered),
        "channels": channel_facts(store.images, ordered["row"].to_numpy(), channels, lowest, highest),
        "blank": blank_facts(ordered, channels, lowest, highest),
        **truth.pictures(ReportPictures(ordered, store, folder, channels, target, preview)),
    }
    write_json(folder / FACTS_FILE, facts)
    return facts


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
