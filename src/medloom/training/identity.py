"""What makes a run the same run: it may be continued only with the recipe and the data it began with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from medloom.errors import DataError, RecipeError
from medloom.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd

    from medloom.data.store import PixelStore
    from medloom.training.samples import LabelTable

__all__ = ["check_identity", "run_identity"]

_SECTIONS = ("preprocess", "augment", "model", "loss", "train")
_MAY_CHANGE = ("train.epochs", "train.checkpoint_minutes", "train.device")


def run_identity(
    recipe: Recipe, catalogue: pd.DataFrame, store: PixelStore, labels: LabelTable | None = None
) -> dict[str, Any]:
    """Return what a run stands on, as plain types.

    Args:
        recipe: The recipe.
        catalogue: The catalogue; who is in which split, and the hashes of the images.
        store: The pixel store.
        labels: Labels and metadata, for classification.
    """
    plain = recipe.plain()
    settings = {key: value for section in _SECTIONS for key, value in _flat(plain[section], section)}
    settings |= {f"data.{key}": plain["data"][key] for key in ("channels", "mask_values", "labels")}
    return {
        "settings": {key: value for key, value in settings.items() if key not in _MAY_CHANGE},
        "catalogue": _catalogue_hash(catalogue),
        "store": store.key,
        "labels": "" if labels is None else _label_hash(labels),
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
    keys = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
    advice = "Give the run another name, or delete its checkpoints to train from the start."
    if keys:
        changes = "".join(f"\n  - {key} was {before.get(key)!r}, is {after.get(key)!r}" for key in keys)
        raise RecipeError(f"this run began with another recipe and cannot go on with this one. {advice}{changes}")
    what = {
        "catalogue": "the split or the images of the catalogue",
        "store": "the pixels",
        "labels": "the labels or the metadata",
    }
    problems = [f"{text} are not those that the run began with" for key, text in what.items() if saved[key] != now[key]]
    if problems:
        raise DataError(f"the data of this run have changed. {advice}", problems)


def _label_hash(labels: LabelTable) -> str:
    return hashlib.sha256(labels.labels.tobytes() + labels.metadata.tobytes()).hexdigest()


def _flat(value: object, name: str) -> Iterator[tuple[str, Any]]:
    """Every leaf of nested dictionaries with its dotted name."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}")
    else:
        yield name, value


def _catalogue_hash(catalogue: pd.DataFrame) -> str:
    columns = zip(catalogue["sample_id"], catalogue["split"], catalogue["sha256"], strict=True)
    text = "\n".join(f"{sample},{split},{digest}" for sample, split, digest in columns)
    return hashlib.sha256(text.encode()).hexdigest()
