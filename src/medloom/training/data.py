"""The loaders of a run, for Lightning."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, Trainer
from numpy.typing import NDArray

from medloom.errors import DataError
from medloom.training.batches import Batch, Loader, NoPixels, Pixels, PlacedPixels, Rows, Shard, place_samples
from medloom.training.samples import Samples
from medloom.training.seeds import epoch_order

__all__ = ["StoreData"]


class StoreData(LightningDataModule):
    """Training and validation samples.

    Args:
        samples: The arrays.
        train_rows: Rows of the training samples.
        validation_rows: Rows of the validation samples.
        batch_size: Training images in a step, over all processes.
        validation_batch_size: The same for validation; None: ``batch_size``.
        seed: Of the order.
        positive_share: Share of the drawn training samples that are positive, or None to draw as the data are.
        validates: Whether there must be validation samples.
        steps_in_batch: Steps of the optimiser that are taken with a training batch, which holds so many times as many
            images: workers take these steps by themselves.
        reads: Whether the pixels of training batches are read; workers read their own.

    Raises:
        DataError: If there is nothing to train or validate on, or nothing to draw a share from.
    """

    def __init__(
        self,
        samples: Samples,
        train_rows: Rows,
        validation_rows: Rows,
        *,
        batch_size: int,
        validation_batch_size: int | None = None,
        seed: int = 0,
        positive_share: float | None = None,
        validates: bool = True,
        steps_in_batch: int = 1,
        reads: bool = True,
    ) -> None:
        super().__init__()
        self.samples = samples
        self.train_rows = train_rows
        self.validation_rows = validation_rows
        self.step_size = batch_size
        self.batch_size = batch_size * steps_in_batch
        self.reads = reads
        self.validation_batch_size = validation_batch_size or batch_size
        self.seed = seed
        self.positive_share = positive_share
        self.validates = validates
        self._positive: NDArray[np.bool_] = samples.positive[train_rows]
        self._pixels: PlacedPixels | None = None
        self._check()

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches of an epoch."""
        return -(-len(self.train_rows) // self.batch_size)

    @property
    def optimizer_steps(self) -> int:
        """Number of steps that an optimiser takes in an epoch."""
        return -(-len(self.train_rows) // self.step_size)

    def setup(self, stage: str) -> None:
        """Put the pixels where the device reads them best."""
        if self._pixels is None:
            self._pixels = place_samples(self.samples, self._device)

    def release(self) -> bool:
        """Give the memory back that pixels take of a GPU; return whether they took any."""
        return self._pixels is not None and self._pixels.release()

    def train_dataloader(self) -> Loader:
        """Return the training batches, from wherever the run stands in its epoch."""
        count, size = len(self.train_rows), self.batch_size
        return self._loader(self._training_plan, count, self._position, size, None if self.reads else NoPixels())

    def val_dataloader(self) -> Loader:
        """Return the validation batches, always in the same order."""
        rows, size = self.validation_rows, self.validation_batch_size
        return self._loader(lambda epoch: rows, len(rows), lambda: (0, 0), size)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Return the batch as it is: the loader has put it onto the device."""
        return batch

    def load_validation(self, rows: Rows) -> Batch:
        """Return some validation samples, whole in every process."""
        if self._pixels is None:
            raise RuntimeError("setup() comes before the pixels")
        picks = np.arange(len(rows))
        return Batch(*self._pixels.take(rows), rows, picks, len(rows))

    def _loader(
        self,
        plan: Callable[[int], Rows],
        count: int,
        position: Callable[[], tuple[int, int]],
        batch_size: int,
        pixels: Pixels | None = None,
    ) -> Loader:
        if self._pixels is None:
            raise RuntimeError("setup() comes before the loaders")
        shard = Shard(self._run.global_rank, self._run.world_size)
        return Loader(pixels or self._pixels, plan, count, batch_size, shard, position)

    @property
    def _device(self) -> torch.device:
        device: torch.device = self._run.strategy.root_device
        return device

    @property
    def _run(self) -> Trainer:
        if self.trainer is None:
            raise RuntimeError("the loaders belong to a Trainer")
        return self.trainer

    def _check(self) -> None:
        for name, rows in (("training", self.train_rows), ("validation", self.validation_rows)):
            if len(rows) == 0 and (name == "training" or self.validates):
                raise DataError(f"there is no {name} sample; look at the split in catalogue.csv")
        mixed = 0 < int(self._positive.sum()) < len(self._positive)
        if self.positive_share is not None and not mixed:
            raise DataError(
                "train.positive_share needs training samples with foreground, or not of the first class, and others"
            )

    def _training_plan(self, epoch: int) -> Rows:
        order = epoch_order(self._positive, self.seed, epoch, self.positive_share)
        return self.train_rows[order]

    def _position(self) -> tuple[int, int]:
        """Epoch and batch that come next. Lightning counts them and restores them from the checkpoint."""
        done = self._run.fit_loop.epoch_loop.batch_progress.current.ready
        return self._run.current_epoch, done
