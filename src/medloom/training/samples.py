"""What is learned from what: the pixels of a store beside masks, or beside labels and metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medloom.data.store import PixelStore

__all__ = ["LabelTable", "Samples", "label_table", "samples_with_labels", "samples_with_masks"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class LabelTable:
    """Labels and metadata of the samples, in the order of the catalogue.

    Args:
        sample_ids: ``(M,)``.
        labels: ``(M, T)`` float32: a class index, or a number for each target.
        metadata: ``(M, F)`` float32, encoded; F may be 0.
    """

    sample_ids: tuple[str, ...]
    labels: Floats
    metadata: Floats


@dataclass(frozen=True)
class Samples:
    """Arrays with one row for each row of the store.

    Args:
        images: ``(N, C, H, W)`` in the store's dtype.
        truth: ``(N, H, W)`` class indices, or ``(N, T)`` float32 labels.
        table: ``(N, F)`` float32; F = 0 without metadata.
        offset: ``(N, C)`` float32.
        scale: ``(N, C)`` float32.
        positive: ``(N,)`` whether a sample holds a lesion, or is not of the first class.
    """

    images: NDArray[Any]
    truth: NDArray[Any]
    table: Floats
    offset: Floats
    scale: Floats
    positive: NDArray[np.bool_]

    @property
    def nbytes(self) -> int:
        """Bytes of the large arrays."""
        return int(self.images.nbytes + self.truth.nbytes)


def label_table(sample_ids: Sequence[str], labels: NDArray[Any], metadata: Floats | None = None) -> LabelTable:
    """Collect labels and metadata of samples.

    Args:
        sample_ids: M of them.
        labels: ``(M, T)``.
        metadata: ``(M, F)`` float32 or None.
    """
    empty = np.zeros((len(sample_ids), 0), np.float32)
    return LabelTable(tuple(sample_ids), labels.astype(np.float32), empty if metadata is None else metadata)


def samples_with_masks(store: PixelStore) -> Samples:
    """Return the store's images with its masks."""
    table = np.zeros((len(store), 0), np.float32)
    positive = np.asarray(np.asarray(store.lesion_px) > 0)
    return Samples(store.images, store.masks, table, store.offset, store.scale, positive)


def samples_with_labels(store: PixelStore, known: LabelTable) -> Samples:
    """Return the store's images with labels and metadata, in the order of the store's rows.

    Raises:
        DataError: If the store does not hold one of the samples.
    """
    rows = store.rows(known.sample_ids)
    truth = np.zeros((len(store), known.labels.shape[1]), np.float32)
    table = np.zeros((len(store), known.metadata.shape[1]), np.float32)
    truth[rows], table[rows] = known.labels, known.metadata
    positive = np.asarray((truth > 0).any(axis=1))
    return Samples(store.images, truth, table, store.offset, store.scale, positive)
