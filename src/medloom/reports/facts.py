"""What the stages wrote, read back; a stage that has not run wrote nothing."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import yaml

from medloom.evaluation.parts import Part
from medloom.files import read_json
from medloom.wording import counted

__all__ = [
    "CHECKLISTS",
    "FEW_PATIENTS",
    "Facts",
    "few_patients_warning",
    "orientation_sentence",
    "patient_source",
    "read_facts",
    "read_recipe",
    "read_rows",
    "set_aside_sentence",
]

Facts = dict[str, Any]
"""Plain JSON types by name."""

CHECKLISTS = ("checklists.csv", "checklists.html")
"""The table and the page of the checklists, in a run directory."""

FEW_PATIENTS = 10
"""Below so many patients a metric says little of others."""

_REASONS = {
    "ambiguous": "could be more than one file",
    "channels": "other channels than the recipe's",
    "duplicate": "there twice",
    "geometry": "slices of another plane, or pixels of a size that does not fit",
    "grid": "image and mask or channels on different grids",
    "ignored": "no pixel of the mask counts",
    "label": "label not usable",
    "missing_channel": "channel missing",
    "missing_image": "without an image",
    "missing_mask": "without a mask",
    "missing_row": "without a row in the label file",
    "pages": "pages do not fit",
    "row": "row not usable",
    "size": "image and mask of different size",
    "split": "split not usable",
    "values": "other values in the mask than the recipe's",
}


def read_facts(path: Path) -> Facts:
    """Return the facts of a stage, or nothing if it has not run."""
    facts: Facts = read_json(path) if path.is_file() else {}
    return facts


def read_rows(path: Path, part: Part) -> list[dict[str, str]]:
    """Return the rows of a table that are of cases of a part, or nothing if there is no table."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as handle:
        return [row for row in csv.DictReader(handle) if row["split"] == part]


def few_patients_warning(patients: int | None, part: Part) -> list[str]:
    """Return what a reader must know of metrics on few patients; nothing where there are enough."""
    if patients is None or patients >= FEW_PATIENTS:  # that they are not known is said elsewhere
        return []
    if patients == 1:
        return [f"Only 1 {part} patient: there are no intervals, and the metrics say little about other patients."]
    return [f"Only {patients} {part} patients: the intervals are wide and themselves uncertain."]


def set_aside_sentence(prepared: Facts) -> str:
    """Say how many samples were found and set aside, and why; empty if none were."""
    entries = prepared.get("set_aside", ())
    if not entries:
        return ""
    reasons = "; ".join(f"{entry['count']:,} × {_REASONS.get(entry['reason'], entry['reason'])}" for entry in entries)
    count = sum(entry["count"] for entry in entries)
    were = "was" if count == 1 else "were"
    return f"{count:,} of {counted(prepared['found'], 'sample')} {were} set aside: {reasons}."


def orientation_sentence(facts: Facts | None) -> str:
    """Say how images that state their orientation were turned, and how large their pixels are; else empty.

    Args:
        facts: ``orientation`` of ``prepare.json``.
    """
    if facts is None or not facts["stored"]:
        return ""
    stored = ", ".join(f"{count:,} {axes}" for axes, count in facts["stored"].items())
    if facts["plane"] is None:
        shown = "Images were taken as they are stored"
    else:
        planes = "each plane" if facts["plane"] == "any" else f"{facts['plane']} slices"
        shown = f"Images were turned as {planes} {'is' if facts['plane'] == 'any' else 'are'} looked at"
    return f"{shown} (columns and rows are stored towards: {stored}).{_pixel_sizes(facts['spacing_mm'])}"


def _pixel_sizes(spacing: Facts) -> str:
    if not spacing["known"]:
        return ""
    low, high = (f"{rows:.3g}×{columns:.3g} mm" for rows, columns in (spacing["least"], spacing["most"]))
    return f" Pixels are {low} large." if low == high else f" Pixels are {low} to {high} large."


def patient_source(prepared: Facts) -> Facts:
    """Return what ``prepare`` found out about whose the images are; nobody is known where it did not say."""
    nobody = {
        "status": "unknown",
        "source": "",
        "patients": 0,
        "samples_without": prepared.get("used", 0),
        "apart": False,
    }
    found: Facts = prepared.get("patient_source", nobody)
    return found


def read_recipe(path: Path) -> Facts:
    """Return the recipe without the places of data and weights, which may say whose they are; empty without a file."""
    recipe: Facts = yaml.safe_load(path.read_text("utf-8")) if path.is_file() else {}
    recipe.get("data", {}).pop("path", None)
    recipe.get("split", {}).pop("file", None)
    if "weights" in recipe.get("model", {}):
        recipe["model"]["weights"] = Path(recipe["model"]["weights"]).name
    return recipe
