"""Where known samples stay when new ones come."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from medloom.data.splits.given import HELD_OUT, SPLITS

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
            frame = frame.assign(kept=kept_parts(frame, self.parts, _parts(self.parts, folds=folds)))
            if folds:
                held_out = (self.parts["split"] == HELD_OUT).astype(int).tolist()
                frame = frame.assign(kept_out=kept_parts(frame, self.parts, held_out))
        if self.of_fold is None:
            return frame
        return frame.assign(kept_split=kept_parts(frame, self.of_fold, _parts(self.of_fold, folds=False)))


UNKNOWN = Before()
"""Of a data set that was never prepared."""


def kept_parts(frame: pd.DataFrame, before: pd.DataFrame, parts: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return the part in which each sample stays.

    A sample is known by its place and page, or by its bytes where no other sample had the same: files may be moved, and
    pseudonyms begin anew when patients are added.

    Args:
        frame: The samples, with ``image``, ``frame`` and ``sha256``.
        before: The catalogue that was prepared before.
        parts: The number of the part of each of its samples; -1 for none.

    Returns:
        The number of the part; -1 for a sample that is not known.

    Example:
        >>> before = pd.DataFrame({"image": ["a"], "frame": [0], "sha256": ["1"]})
        >>> frame = pd.DataFrame({"image": ["a", "b"], "frame": [0, 0], "sha256": ["1", "2"]})
        >>> kept_parts(frame, before, [2]).tolist()
        [2, -1]
    """
    by_place = dict(zip(_places(before), parts, strict=True))
    by_bytes = _of_one(before["sha256"], parts)
    found = zip(_places(frame), frame["sha256"], strict=True)
    return np.array([by_place.get(place, by_bytes.get(sha256, -1)) for place, sha256 in found], np.int64)


def _parts(before: pd.DataFrame, *, folds: bool) -> list[int]:
    """The fold of each sample, or the place of its part in ``SPLITS``; -1 for what is held out."""
    if folds:
        return [int(fold) for fold in before["fold"]]
    return [SPLITS.index(split) if split in SPLITS else -1 for split in before["split"]]


def _places(table: pd.DataFrame) -> Keys:
    return list(zip(table["image"], table["frame"].astype(int), strict=True))


def _of_one(hashes: Iterable[str], parts: Iterable[int]) -> dict[str, int]:
    """The part of each hash that comes once; blank slices have the same bytes in many patients."""
    found: dict[str, list[int]] = {}
    for sha256, part in zip(hashes, parts, strict=True):
        found.setdefault(sha256, []).append(part)
    return {sha256: same[0] for sha256, same in found.items() if sha256 and len(same) == 1}
