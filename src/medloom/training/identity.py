"""What makes a run the same run: it may be continued only with the recipe and the data it began with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medloom.errors import DataError, RecipeError
from medloom.recipe.changes import changed, flat

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["check_identity", "run_identity"]

_SECTIONS = ("target", "preprocess", "augment", "model", "loss", "train")
_DATA = ("channels", "labels")
"""Keys of the section ``data`` that say what the network is given, as far as a recipe has them."""


def run_identity(plain: Mapping[str, Any], catalogue: pd.DataFrame, store_key: str, truth: str) -> dict[str, Any]:
    """Return what a run stands on, as plain types.

    Args:
        plain: The recipe in plain types.
        catalogue: The catalogue; who is in which split, and the hashes of the images.
        store_key: The pixel store's key.
        truth: Hash of what is learned that the store does not hold.
    """
    data = {key: plain["data"][key] for key in _DATA if key in plain["data"]}
    settings = flat({"data": data, **{section: plain[section] for section in _SECTIONS}})
    return {
        "settings": {key: settings[key] for key in changed({}, settings)},  # those that may not change
        "catalogue": _catalogue_hash(catalogue),
        "store": store_key,
        "truth": truth,
    }


def check_identity(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to continue a run whose recipe or data have changed.

    Args:
        saved: The identity in the checkpoint.
        now: The identity of what is asked for.

    Raises:
        RecipeError: If a setting differs; names each, with both values.
        DataError: If the catalogue or the pixels differ.
    """
    before, after = saved["settings"], now["settings"]
    keys = changed(before, after)
    advice = "Give the run another name, or delete its checkpoints to train from the start."
    if keys:
        changes = "".join(f"\n  - {key} was {before.get(key)!r}, is {after.get(key)!r}" for key in keys)
        raise RecipeError(f"this run began with another recipe and cannot go on with this one. {advice}{changes}")
    what = {
        "catalogue": "the split or the images of the catalogue",
        "store": "the pixels",
        "truth": "the labels or the metadata",
    }
    problems = [f"{text} are not those that the run began with" for key, text in what.items() if saved[key] != now[key]]
    if problems:
        raise DataError(f"the data of this run have changed. {advice}", problems)


def _catalogue_hash(catalogue: pd.DataFrame) -> str:
    columns = zip(catalogue["sample_id"], catalogue["split"], catalogue["sha256"], strict=True)
    text = "\n".join(f"{sample},{split},{digest}" for sample, split, digest in columns)
    return hashlib.sha256(text.encode()).hexdigest()
