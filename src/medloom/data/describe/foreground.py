"""How much of an image the foreground is, of each class, and masks that are unusually large or small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medloom.data.coverage import class_pixels
from medloom.data.describe.distributions import quantiles_of
from medloom.data.describe.outliers import LIMIT, robust_z
from medloom.data.splits.given import parts_in
from medloom.data.stored import StoredPixels

__all__ = ["foreground_facts", "foreground_table"]

ANY = "any foreground"
"""What all classes but the background are called together."""

_EDGES = np.logspace(-4, 0, 25)
"""Borders of the bins, a sixth of a power of ten apart; smaller shares are in the first bin."""

_LISTED = 50
_RULE = (
    "the logarithm of its share lies {limit:g} or more robust standard deviations (1.4826 times the median absolute "
    "deviation) from the median of the training images, and it is at least twice or at most half as large"
)

FloatArray = npt.NDArray[np.float64]


def foreground_table(catalogue: pd.DataFrame, store: StoredPixels, names: Sequence[str]) -> pd.DataFrame:
    """Return a row for each class that is in a mask, and one for all of them together where there are several.

    Args:
        catalogue: With ``sample_id``, ``split`` and ``foreground_px``.
        store: The masks of these samples; pixels are counted at its size.
        names: Names of the classes, the background first.

    Returns:
        ``sample_id``, ``split``, ``class``, ``pixels`` and ``share`` of the pixels of the mask that count.
    """
    counts, ignored = class_pixels(catalogue, store, len(names))
    known = np.maximum(np.prod(store.masks.shape[1:]) - ignored, 1)
    columns = {name: counts[:, place] for place, name in enumerate(names) if place}
    if len(columns) > 1:
        columns = {ANY: counts[:, 1:].sum(axis=1), **columns}
    ids = catalogue[["sample_id", "split"]].reset_index(drop=True)
    tables = [
        ids.assign(**{"class": name, "pixels": pixels, "share": pixels / known}) for name, pixels in columns.items()
    ]
    whole = pd.concat(tables, ignore_index=True)
    return whole[whole["pixels"] > 0].reset_index(drop=True)


def foreground_facts(table: pd.DataFrame, catalogue: pd.DataFrame) -> dict[str, Any]:
    """Return how the share of foreground is distributed over images that have some.

    Args:
        table: From ``foreground_table``.
        catalogue: With ``split``; what is usual comes from the images that train.

    Returns:
        ``classes``: for each class ``name``, and for each of the ``parts`` the number of ``images`` that have it and
        the ``quantiles`` of its share, None where there are none; for the training images ``edges`` and ``counts``,
        too. ``outliers``: ``rule``, ``limit``, the ``count`` and the first 50 of them, ``listed``.
    """
    parts = parts_in(catalogue["split"])
    classes = [_class(str(name), of_class, parts) for name, of_class in table.groupby("class", sort=False)]
    found = [row for _, of_class in table.groupby("class", sort=False) for row in _outliers(of_class)]
    found.sort(key=lambda row: -abs(row["z"]))
    outliers = {"rule": _RULE.format(limit=LIMIT), "limit": LIMIT, "count": len(found), "listed": found[:_LISTED]}
    return {"classes": classes, "outliers": outliers}


def _class(name: str, table: pd.DataFrame, parts: Sequence[str]) -> dict[str, Any]:
    shares = {part: table.loc[table["split"] == part, "share"].to_numpy() for part in parts}
    train = np.clip(shares["train"], _EDGES[0], 1.0)
    return {
        "name": name,
        "parts": {
            part: {"images": len(found), "quantiles": quantiles_of(found) if len(found) else None}
            for part, found in shares.items()
        },
        "edges": _EDGES.tolist(),
        "counts": np.histogram(train, _EDGES)[0].tolist(),
    }


def _outliers(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Images of a class that cover unusually much or little, among those that have it."""
    train = (table["split"] == "train").to_numpy()
    if not train.any():
        return
    size: FloatArray = np.log2(table["share"].to_numpy())
    z = robust_z(size, size[train])
    middle = float(np.median(size[train]))
    for place in np.flatnonzero((np.abs(z) >= LIMIT) & (np.abs(size - middle) >= 1)):
        row = table.iloc[int(place)]
        yield {
            "sample_id": str(row["sample_id"]), "split": str(row["split"]), "class": str(row["class"]),
            "share": float(row["share"]), "median": float(2**middle), "z": float(z[place]),
        }  # fmt: skip
