"""Who the patients of each part are: their age, sex and whatever else the table beside the images says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from medloom.data.catalogue import meta_of
from medloom.data.metadata import as_number, is_blank
from medloom.data.splits.given import parts_in

__all__ = ["demographics"]

_MOST_WORDS = 12
"""A column with more different words is counted and not listed: it may hold names."""

Values = Sequence[str | float | None]


def demographics(catalogue: pd.DataFrame, *, known: bool = True) -> list[dict[str, Any]]:
    """Describe the metadata of the patients of each part.

    A patient counts once, with the mean where the numbers of its images differ. Where words differ between the images
    of a patient, such as the site of a lesion, every image counts.

    Args:
        catalogue: With ``patient_id``, ``split`` and ``meta``.
        known: Whether it is known whose the images are; otherwise every image counts.

    Returns:
        For each ``column`` what counts in it, ``over`` patients or images, and ``parts``: for ``train``,
        ``validation``, ``test`` and ``all`` how many are ``known`` and ``missing``, and of those that are known
        ``mean``, ``std``, ``min`` and ``max`` of numbers, or ``counts`` of words. Columns with more than 12 words
        have neither.

    Example:
        >>> rows = [{"patient_id": "P1", "split": "train", "meta": '{"age": "40"}'}]
        >>> demographics(pd.DataFrame(rows))[0]["parts"]["train"]["mean"]
        40.0
    """
    meta = meta_of(catalogue)
    columns = dict.fromkeys(name for row in meta for name in row)
    patients = {split: _images_of(catalogue, split) for split in parts_in(catalogue["split"])}
    found = [_column(name, meta, patients) for name in columns]
    return found if known else [{**one, "over": "images"} for one in found]


def _images_of(catalogue: pd.DataFrame, split: str) -> list[list[int]]:
    """The rows of each patient of a part."""
    places = catalogue.assign(place=range(len(catalogue)))
    part = places[places["split"] == split]
    return [rows.tolist() for _, rows in part.groupby("patient_id", sort=True)["place"]]


def _column(
    name: str, meta: Sequence[Mapping[str, str]], patients: Mapping[str, Sequence[Sequence[int]]]
) -> dict[str, Any]:
    given = [row.get(name, "").strip() for row in meta]
    known = [text for text in given if not is_blank(text)]
    numeric = bool(known) and all(as_number(text) is not None for text in known)
    whole = numeric or not any(_differ(given, rows) for found in patients.values() for rows in found)
    units = (
        patients
        if whole
        else {split: [[row] for row in chain.from_iterable(found)] for split, found in patients.items()}
    )
    one = _mean if numeric else _first
    parts = {split: [one([given[row] for row in rows]) for rows in found] for split, found in units.items()}
    every: Values = [value for values in parts.values() for value in values]
    describe = _numbers if numeric else _words if len(set(known)) <= _MOST_WORDS else _nothing
    described = {part: _known(values) | describe(values) for part, values in {**parts, "all": every}.items()}
    return {"column": name, "over": "patients" if whole else "images", "parts": described}


def _differ(texts: Sequence[str], rows: Sequence[int]) -> bool:
    return len({texts[row] for row in rows if not is_blank(texts[row])}) > 1


def _mean(texts: Sequence[str]) -> float | None:
    numbers = [number for text in texts if (number := as_number(text)) is not None]
    return float(np.mean(numbers)) if numbers else None


def _first(texts: Sequence[str]) -> str | None:
    return next((text for text in texts if not is_blank(text)), None)


def _known(values: Values) -> dict[str, Any]:
    missing = sum(value is None for value in values)
    return {"known": len(values) - missing, "missing": missing}


def _numbers(values: Values) -> dict[str, Any]:
    numbers = np.array([value for value in values if value is not None], float)
    if not len(numbers):
        return dict.fromkeys(("mean", "std", "min", "max"))
    spread = float(numbers.std(ddof=1)) if len(numbers) > 1 else None
    return {"mean": float(numbers.mean()), "std": spread, "min": float(numbers.min()), "max": float(numbers.max())}


def _words(values: Values) -> dict[str, Any]:
    counts = Counter(str(value) for value in values if value is not None)
    return {"counts": dict(sorted(counts.items()))}


def _nothing(values: Values) -> dict[str, Any]:
    return {}
