"""The training step of a coordinator: workers take it, and it makes one step of what they bring."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from medloom.recipe.sections.training import AverageConfig
from medloom.rounds.arrays import digest
from medloom.rounds.coordinator import Account, Coordinator, NotFiniteError
from medloom.rounds.mean import mean_of
from medloom.rounds.protocol import Manifest, cut
from medloom.training.average.tensors import put_gradients, put_network, put_state, state_of, tensors_of
from medloom.training.batches import Batch, Rows
from medloom.training.data import StoreData
from medloom.training.module import NonFiniteStep, TaskModule, total_norm

__all__ = ["AveragedModule"]

_LEAST_RATE = 1e-12


class AveragedModule(TaskModule):
    """A network whose training steps are rounds of work for others; everything else is as in one process.

    A training batch of Lightning's is a round. With gradients it is one step of the optimiser here. With weights, the
    workers take one step or several by themselves, and the mean of their weights and of what their optimisers remember
    is taken over here.

    Args:
        arguments: As for ``TaskModule``.
        coordinator: Has rounds carried out.
        config: How they are.
        data: What is trained on.
        key: Of the pixel store.
        further: As for ``TaskModule``.
    """

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 - those of ``TaskModule``
        coordinator: Coordinator,
        config: AverageConfig,
        data: StoreData,
        key: str,
        **further: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*arguments, **further)
        self.coordinator, self.config, self.key = coordinator, config, key
        self.sees_activations = False
        self.unequal: list[str] = []
        """Why the training is not that of whole batches, a sentence each."""
        self._size, self._steps = data.step_size, data.optimizer_steps
        self._rates: list[list[float]] = []
        self._mean: dict[str, NDArray[Any]] = {}

    @property
    def _by_weights(self) -> bool:
        return self.config.of == "weights"

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set everything that depends on the round's number, and the rates of each of its steps."""
        super().on_train_batch_start(batch, batch_idx)
        optimizer, first = self.trainer.optimizers[0], self._first_step(batch_idx)
        self._rates = []
        for step in range(first, first + -(-len(batch.rows) // self._size)):
            self.schedule.before_step(optimizer, step)
            self._rates.append([float(group["lr"]) for group in optimizer.param_groups])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Have a round carried out; return the mean loss of its images."""
        manifest, arrays = self._round(batch.rows, batch_idx)
        self._rows = batch.rows
        try:
            outcome = self.coordinator.run(manifest, arrays)
        except NotFiniteError as error:
            raise NonFiniteStep(self.step, _rows_of(manifest, error)) from error
        self._mean = mean_of(outcome.parts)
        self._step_loss = torch.tensor(float(self._mean["loss"]), device=self.device)
        return self._step_loss

    def backward(self, loss: Tensor, *further: Any, **more: Any) -> None:  # noqa: ANN401 - Lightning's
        """Take the mean of the gradients over, or what moved the weights where these are averaged."""
        if not self._by_weights:
            put_gradients(self.network, self._mean)
            put_network(self.network, self._mean)
            return
        rate = max(_LEAST_RATE, max(self._rates[0]))
        trained = (name for name, weight in self.network.named_parameters() if weight.requires_grad)
        mine = tensors_of(self.network)
        keys = ((name, f"network.{name}") for name in trained)
        put_gradients(self.network, {f"gradient.{name}": (mine[key] - self._mean[key]) / rate for name, key in keys})

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip the mean of the gradients; weights have been moved by clipped ones."""
        if not self._by_weights:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        norm = total_norm([weight.grad for weight in self._weights if weight.grad is not None])
        if not bool(torch.isfinite(norm)):
            raise NonFiniteStep(self.step, self._rows)
        for weight in self._weights:
            weight.grad = None  # the optimiser leaves alone what has none: the workers have taken the step

    def on_stepped(self) -> None:
        """Take over the weights to which the workers have stepped, where these are averaged."""
        if self._by_weights:
            put_network(self.network, self._mean)
            put_state(self.network, self.trainer.optimizers[0], self._mean)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what happened in the rounds."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["module"]["average"] = {**self.coordinator.account.plain(), "unequal": list(self.unequal)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back."""
        super().on_load_checkpoint(checkpoint)
        kept = dict(checkpoint["module"]["average"])
        kept.pop("unequal")
        self.coordinator.account = Account.of(kept)

    def _first_step(self, batch_idx: int) -> int:
        return self.trainer.current_epoch * self._steps + batch_idx * self.config.every

    def _round(self, rows: Rows, batch_idx: int) -> tuple[Manifest, dict[str, NDArray[Any]]]:
        """The round of a batch, and what its workers begin with."""
        batches = tuple(tuple(rows[at : at + self._size].tolist()) for at in range(0, len(rows), self._size))
        arrays, work = tensors_of(self.network), {"of": self.config.of, "store": self.key}
        if self._by_weights:
            arrays |= state_of(self.network, self.trainer.optimizers[0])
        place = {"step": self._first_step(batch_idx), "epoch": self.trainer.current_epoch, "rates": self._rates}
        shards = cut([len(batch) for batch in batches], self.config.workers)
        return Manifest(self.step, digest(arrays), batches, shards, {**work, **place}), arrays


def _rows_of(manifest: Manifest, error: NotFiniteError) -> Rows:
    """The rows of the shard whose numbers were not finite."""
    pairs = zip(manifest.batches, error.shard.parts, strict=True)
    return np.array([row for batch, (first, last) in pairs for row in batch[first:last]], np.int64)
