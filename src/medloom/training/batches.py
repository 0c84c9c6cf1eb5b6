"""Batches as rows of the memory-mapped pixel store: no workers, no decoding, no copies of the data set.

Shapes: N images of a batch, C channels, H height, W width.

Which samples a batch holds follows from the seed, the epoch and the batch's number alone. Several processes
cut the same batch into shards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medloom.data.context import gathered
from medloom.memory import is_out_of_memory
from medloom.training.samples import Samples

__all__ = [
    "Batch",
    "DevicePixels",
    "HostPixels",
    "Loader",
    "NoPixels",
    "Pixels",
    "PlacedPixels",
    "Shard",
    "place_samples",
]

Rows = NDArray[np.int64]
Parts = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]

_PIECE = 256
"""Rows that are copied to the device at once: few enough to need little memory beside the store."""


@dataclass(frozen=True)
class Shard:
    """Which part of every batch this process takes.

    Args:
        rank: Number of the process, from 0.
        world: Number of processes.
    """

    rank: int = 0
    world: int = 1

    def picks(self, count: int) -> Rows:
        """Return the positions of this process in a batch of ``count``; at least one, so that no process idles."""
        picks = np.arange(self.rank, count, self.world)
        return picks if len(picks) else np.zeros(1, np.int64)

    def owned(self, count: int) -> int:
        """Return how many samples of the batch count for this process; 0 if it has only one that is another's."""
        return len(range(self.rank, count, self.world))


@dataclass(frozen=True)
class Batch:
    """One process's part of a batch.

    Args:
        images: ``(N, C, H, W)`` stored pixels; with context C are the channels of all slices that are seen.
        truth: ``(N, H, W)`` uint8 class indices, or ``(N, T)`` float32 labels.
        table: ``(N, F)`` float32 metadata; F = 0 without.
        offset: ``(N, C)`` float32 of the store.
        scale: ``(N, C)`` float32 of the store.
        rows: Rows of the store of the whole batch, over all processes.
        picks: Positions in ``rows`` that are here, ``(N,)``.
        owned: How many of them count: N, or 0 for a process whose sample is another's.
    """

    images: Tensor
    truth: Tensor
    table: Tensor
    offset: Tensor
    scale: Tensor
    rows: Rows
    picks: Rows
    owned: int


class Pixels(Protocol):
    """Where the pixels are."""

    @property
    def ahead(self) -> bool:
        """Whether the next batch is worth loading while the device computes."""

    def take(self, rows: Rows) -> Parts:
        """Return images, truth, table, offset and scale of some rows, on the device."""
        ...


class NoPixels:
    """For a process that only says which rows a batch has; others read them."""

    ahead = False

    def take(self, rows: Rows) -> Parts:
        """Return nothing for each row."""
        nothing = torch.empty((len(rows), 0))
        return nothing, nothing, nothing, nothing, nothing


class HostPixels:
    """Pixels in the memory-mapped files; batches are copied to the device as they are needed.

    Args:
        samples: The arrays.
        device: Where the batches go; to a GPU through pinned memory, without waiting.
    """

    def __init__(self, samples: Samples, device: torch.device) -> None:
        # As plain arrays: taking rows of a memory map makes another one for each batch, which takes as long again.
        self._seen = tuple(np.asarray(array) for array in (samples.images, samples.offset, samples.scale))
        self._own = tuple(np.asarray(array) for array in (samples.truth, samples.table))
        self._context = samples.context
        self._device = device
        self.ahead = device.type == "cuda"

    def take(self, rows: Rows) -> Parts:
        """Return images, truth, table, offset and scale of some rows, on the device."""
        images, offset, scale = (self._send(gathered(array, rows, self._context)) for array in self._seen)
        truth, table = (self._send(array[rows]) for array in self._own)
        return images, truth, table, offset, scale

    def _send(self, array: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(array)
        if not self.ahead:
            return tensor
        try:
            return tensor.pin_memory().to(self._device, non_blocking=True)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        return tensor.to(self._device)  # no more memory can be pinned


class DevicePixels:
    """The whole pixel store on the device, in its narrow dtype.

    Args:
        samples: The arrays.
        device: Where it goes.
    """

    ahead = False

    def __init__(self, samples: Samples, device: torch.device) -> None:
        small = (samples.truth, samples.table, samples.offset, samples.scale)
        self._images = _upload(samples.images, device)
        self._truth, self._table, self._offset, self._scale = (_upload(array, device) for array in small)
        self._context = None if samples.context is None else _upload(samples.context, device)
        self._wide = samples.images.dtype == np.uint16

    def take(self, rows: Rows) -> Parts:
        """Return images, truth, table, offset and scale of some rows, on the device."""
        index = torch.from_numpy(rows).to(self._images.device)
        images, offset, scale = (
            gathered(array, index, self._context) for array in (self._images, self._offset, self._scale)
        )
        shown = images.view(torch.uint16) if self._wide else images
        return shown, self._truth[index], self._table[index], offset, scale


def _upload(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """Copy an array piece by piece; torch cannot index uint16, so that goes as the int16 of the same bits."""
    source = array.view(np.int16) if array.dtype == np.uint16 else array
    whole = torch.empty(source.shape, dtype=torch.from_numpy(source[:1].copy()).dtype, device=device)
    for first in range(0, len(source), _PIECE):
        piece = slice(first, first + _PIECE)
        whole[piece] = torch.from_numpy(source[piece].copy()).to(device)
    return whole


class PlacedPixels:
    """Pixels on a GPU as long as its memory suffices, else in the memory-mapped files.

    The system keeps files in memory that are read again and again, as far as there is room, and reads them from the
    disk where there is none, so a store of any size can be learned from.

    Args:
        samples: The arrays.
        device: Where the network runs.
    """

    def __init__(self, samples: Samples, device: torch.device) -> None:
        self._samples, self._device = samples, device
        self._place: Pixels = _placed(samples, device)

    @property
    def ahead(self) -> bool:
        """Whether the next batch is worth loading while the device computes."""
        return self._place.ahead

    def take(self, rows: Rows) -> Parts:
        """Return images, truth, table, offset and scale of some rows, on the device."""
        return self._place.take(rows)

    def release(self) -> bool:
        """Read the pixels from the files from now on; return whether they were on the device."""
        if isinstance(self._place, HostPixels):
            return False
        self._place = HostPixels(self._samples, self._device)
        return True


def _placed(samples: Samples, device: torch.device) -> Pixels:
    if device.type == "cuda" and samples.nbytes <= torch.cuda.mem_get_info(device)[0] // 2:
        try:
            return DevicePixels(samples, device)
        except RuntimeError as error:  # others use the device, too
            if not is_out_of_memory(error):
                raise
        torch.cuda.empty_cache()
    return HostPixels(samples, device)


def place_samples(samples: Samples, device: torch.device) -> PlacedPixels:
    """Put the pixels onto a GPU when they fit into half of its free memory, else read them from the files.

    Args:
        samples: The arrays.
        device: Where the network runs.
    """
    return PlacedPixels(samples, device)


class Loader:
    """Goes through the batches of an epoch, from wherever the run stands in it.

    Args:
        pixels: Where the pixels are.
        plan: Gives the rows of an epoch, ``(M,)``, in order.
        count: M.
        batch_size: Over all processes. The last batch holds what is left.
        shard: This process's part.
        position: Gives the epoch and the first batch, both from 0, when the loader is iterated.
    """

    def __init__(
        self,
        pixels: Pixels,
        plan: Callable[[int], Rows],
        count: int,
        batch_size: int,
        shard: Shard,
        position: Callable[[], tuple[int, int]],
    ) -> None:
        self.pixels = pixels
        self._plan = plan
        self._count = count
        self._batch_size = batch_size
        self._shard = shard
        self._position = position

    def __len__(self) -> int:
        return -(-self._count // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        epoch, first = self._position()  # asked for with the first batch: only then does Lightning know
        rows = self._plan(epoch)
        cuts = range(first * self._batch_size, len(rows), self._batch_size)
        batches = [rows[cut : cut + self._batch_size] for cut in cuts]
        yield from self._load_ahead(batches) if self.pixels.ahead else map(self.load, batches)

    def load(self, rows: Rows) -> Batch:
        """Return this process's part of a batch.

        Args:
            rows: Rows of the store.
        """
        picks = self._shard.picks(len(rows))
        parts = self.pixels.take(rows[picks])
        return Batch(*parts, rows, picks, self._shard.owned(len(rows)))

    def _load_ahead(self, batches: Sequence[Rows]) -> Iterator[Batch]:
        """Copy the next batch in a thread while the device computes."""
        with ThreadPoolExecutor(1) as thread:
            coming = deque(thread.submit(self.load, rows) for rows in batches[:1])
            for rows in batches[1:]:
                coming.append(thread.submit(self.load, rows))
                yield coming.popleft().result()
            yield from (last.result() for last in coming)
