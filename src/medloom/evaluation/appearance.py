"""How the training images look, learned from some of them as serving will see them; ``appearance.json`` of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.evaluation.reading import Reading
from medloom.files import read_json, write_json
from medloom.imaging.canonical import turned
from medloom.inference.appearance import FEATURES, Appearance, describe_image

__all__ = ["APPEARANCE", "described", "read_appearance", "some", "write_appearance"]

APPEARANCE = "appearance.json"
"""Its name in a run directory."""

_MOST = 400
"""Images that are looked at of each part; more say nothing new."""


def write_appearance(run_dir: Path, reading: Reading, catalogue: pd.DataFrame) -> None:
    """Learn how the training images look, with those of validation for the limit; nothing is written of too few.

    Args:
        run_dir: The run directory.
        reading: Reads the images as serving will.
        catalogue: The catalogue, all splits.
    """
    train, validation = (some(catalogue[catalogue["split"] == part]) for part in ("train", "validation"))
    found = Appearance.fit(described(reading, train), train["patient_id"].to_numpy(), described(reading, validation))
    if found is None:
        (run_dir / APPEARANCE).unlink(missing_ok=True)
    else:
        write_json(run_dir / APPEARANCE, found.plain())


def read_appearance(run_dir: Path) -> Appearance | None:
    """Return how a run's training images look; None where it is not known."""
    path = run_dir / APPEARANCE
    return Appearance.from_plain(read_json(path)) if path.is_file() else None


def some(rows: pd.DataFrame) -> pd.DataFrame:
    """Return some rows, drawn evenly and the same each time."""
    return rows if len(rows) <= _MOST else rows.sample(_MOST, random_state=0).sort_index()


def described(reading: Reading, rows: pd.DataFrame) -> NDArray[np.float64]:
    """Return the descriptions of images as decoded, in this order: (N, 30)."""
    orientation = reading.predictor.orientation
    found = [describe_image(turned(image, orientation)[0].pixels) for image in reading.images(rows)]
    return np.array(found).reshape(len(found), FEATURES)
