"""Where known samples stay when new ones come."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from medloom.data.splits.given import SPLITS

__all__ = ["UNKNOWN", "Before", "kept_parts"]

Keys = list[Hashable]


@dataclass(frozen=True, eq=False)
class Before:
    """What was prepared before by the same rule of the split.

    Args:
        parts: A catalogue whose patients stay in their parts, or in their folds; None: nobody is known.
        of_fold: That of this fold, whose patients stay in training and in validation; None for one that is new, and
            where there are no folds.
    """

    parts: pd.DataFrame | None = None
    of_fold: pd.DataFrame | None = None

    def kept(self, frame: pd.DataFrame, *, folds: bool) -> pd.DataFrame:
        """Return samples with the columns ``kept`` and ``kept_split``, as far as there is something to keep."""
        if self.parts is not None:
            frame = frame.assign(kept=kept_parts(frame, self.parts, folds=folds))
        return frame if self.of_fold is None else frame.assign(kept_split=kept_parts(frame, self.of_fold, folds=False))


UNKNOWN = Before()
"""Of a data set that was never prepared."""


def kept_parts(frame: pd.DataFrame, before: pd.DataFrame, *, folds: bool) -> npt.NDArray[np.int64]:
    """Return the part in which each sample stays.

    A sample is known by its place and page, or by its bytes where no other sample had the same: files may be moved, and
    pseudonyms begin anew when patients are added.

    Args:
        frame: The samples, with ``image``, ``frame`` and ``sha256``.
        before: The catalogue that was prepared before.
        folds: Whether the parts are folds.

    Returns:
        The number of the part in ``SPLITS``, or of the fold; -1 for a sample that is not known.

    Example:
        >>> before = pd.DataFrame({"image": ["a"], "frame": [0], "sha256": ["1"], "split": ["test"], "fold": [-1]})
        >>> frame = pd.DataFrame({"image": ["a", "b"], "frame": [0, 0], "sha256": ["1", "2"]})
        >>> kept_parts(frame, before, folds=False).tolist()
        [2, -1]
    """
    parts = before["fold"].tolist() if folds else [SPLITS.index(split) for split in before["split"]]
    by_place = dict(zip(_places(before), parts, strict=True))
    by_bytes = _of_one(before["sha256"], parts)
    found = zip(_places(frame), frame["sha256"], strict=True)
    return np.array([by_place.get(place, by_bytes.get(sha256, -1)) for place, sha256 in found], np.int64)


def _places(table: pd.DataFrame) -> Keys:
    return list(zip(table["image"], table["frame"].astype(int), strict=True))


def _of_one(hashes: Iterable[str], parts: Iterable[int]) -> dict[str, int]:
    """The part of each hash that comes once; blank slices have the same bytes in many patients."""
    found: dict[str, list[int]] = {}
    for sha256, part in zip(hashes, parts, strict=True):
        found.setdefault(sha256, []).append(part)
    return {sha256: same[0] for sha256, same in found.items() if sha256 and len(same) == 1}
