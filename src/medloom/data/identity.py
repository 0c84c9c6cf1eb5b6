"""What a run stands on: the recipe and the data by which its network was trained, and what has changed since."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medloom.data.catalogue import labels_of, meta_of
from medloom.errors import DataError, RecipeError
from medloom.recipe.changes import changed, flat
from medloom.recipe.kinds import DEFAULT
from medloom.recipe.reference import allowed_at
from medloom.wording import counted

if TYPE_CHECKING:
    import pandas as pd

    from medloom.data.metadata import TableEncoding

__all__ = ["check_identity", "data_changes", "run_identity", "sample_changes"]

_SECTIONS = ("target", "preprocess", "augment", "model", "loss", "train")
_DATA = ("channels", "labels")
"""Keys of the section ``data`` that say what the network is given, as far as a recipe has them."""

_ADVICE = "Give the run another name, or delete its checkpoints to train from the start."


def run_identity(
    plain: Mapping[str, Any], catalogue: pd.DataFrame, store_key: str, tables: TableEncoding | None
) -> dict[str, Any]:
    """Return what a run stands on, as plain types.

    Args:
        plain: The recipe in plain types.
        catalogue: The catalogue; who is in which split, the hashes of the images, and labels where there are no masks.
        store_key: The pixel store's key, which also says which masks and preprocessing there are.
        tables: How the catalogue's metadata become numbers; None where the network takes none.
    """
    data = {key: plain["data"][key] for key in _DATA if key in plain["data"]}
    if plain["data"].get("context"):  # of runs without it, earlier versions did not say so
        data["context"] = plain["data"]["context"]
    settings = flat({"data": data, **{section: plain[section] for section in _SECTIONS}})
    return {
        "settings": {key: settings[key] for key in changed({}, settings)},  # those that may not change
        "catalogue": _catalogue_hash(catalogue),
        "store": store_key,
        "truth": _truth_hash(catalogue, tables),
    }


def check_identity(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to continue a run whose recipe or data have changed.

    A key that the run did not know, because an earlier version began it, may have its default: that does what was
    done before.

    Args:
        saved: The identity in the checkpoint.
        now: The identity of what is asked for.

    Raises:
        RecipeError: If a setting differs; names each, with both values.
        DataError: If the catalogue or the pixels differ.
    """
    before, after = saved["settings"], now["settings"]
    keys = [key for key in changed(before, after) if not _was_not_known(key, before, after)]
    if keys:
        changes = "".join(f"\n  - {key} was {before.get(key)!r}, is {after.get(key)!r}" for key in keys)
        raise RecipeError(f"this run began with another recipe and cannot go on with this one. {_ADVICE}{changes}")
    if problems := data_changes(saved, now):
        raise DataError(f"the data of this run have changed. {_ADVICE}", problems)


def _was_not_known(key: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    if key in before or key not in after:
        return False
    node = allowed_at(tuple(key.split(".")), str(after.get("target.kind", DEFAULT)))
    return "default" in node and bool(node["default"] == after[key])


def data_changes(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each part of the data that is not what it was."""
    what = {
        "catalogue": "the split or the images of the catalogue",
        "store": "the pixels",
        "truth": "the labels or the metadata",
    }
    return [f"{text} are not those that the run began with" for key, text in what.items() if saved[key] != now[key]]


def sample_changes(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """Return what differs between two catalogues, in counts.

    Samples are told by their bytes and their page, because pseudonyms begin anew when patients are added.

    Args:
        before: With ``sha256`` and ``split``, and ``labels`` where there are no masks.
        after: The same.

    Example:
        >>> import pandas as pd
        >>> one = pd.DataFrame({"sha256": ["a", "b"], "split": ["train", "test"]})
        >>> sample_changes(one, pd.DataFrame({"sha256": ["a", "b", "c"], "split": ["test", "test", "train"]}))
        ['1 sample added', '1 sample moved between parts']
    """
    added, removed = _beyond(after, before, "sha256"), _beyond(before, after, "sha256")
    gained, lost = _beyond(after, before, "sha256", "split"), _beyond(before, after, "sha256", "split")
    moved = min(gained - added, lost - removed)
    found = [(added, "added"), (removed, "removed"), (moved, "moved between parts")]
    if "labels" in before and "labels" in after:
        relabelled = _beyond(after, before, "sha256", "split", "labels") - gained
        found.append((relabelled, "with another label"))
    return [f"{counted(count, 'sample')} {what}" for count, what in found if count > 0]


def _beyond(one: pd.DataFrame, other: pd.DataFrame, *columns: str) -> int:
    """How many rows of one table, by some of its columns, the other does not have."""
    rows, others = (Counter(zip(*(table[name] for name in columns), strict=True)) for table in (one, other))
    return (rows - others).total()


def _catalogue_hash(catalogue: pd.DataFrame) -> str:
    columns = zip(catalogue["sample_id"], catalogue["split"], catalogue["sha256"], strict=True)
    text = "\n".join(f"{sample},{split},{digest}" for sample, split, digest in columns)
    return hashlib.sha256(text.encode()).hexdigest()


def _truth_hash(catalogue: pd.DataFrame, tables: TableEncoding | None) -> str:
    """Hash of the labels and the encoded metadata; empty where there are masks, which the store's key stands for."""
    cells: Sequence[str] = catalogue["labels"].tolist() if "labels" in catalogue else []
    if not any(cells):
        return ""
    labels = labels_of(catalogue).astype(np.float32)
    table = np.zeros((len(labels), 0), np.float32) if tables is None else tables.encode(meta_of(catalogue))
    return hashlib.sha256(labels.tobytes() + table.tobytes()).hexdigest()
