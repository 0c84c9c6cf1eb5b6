"""The training and validation steps. Knows no paths, no files and no plots.

Shapes: N images of a batch, C channels, K outputs of the network, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_
from torch.optim import Optimizer

from medloom.models.losses import sums_in
from medloom.models.network import Network
from medloom.training.answers import Answers
from medloom.training.averaging import Averaging
from medloom.training.batch_norm import Part
from medloom.training.batches import Batch, Rows
from medloom.training.micro import MicroBatches
from medloom.training.precision import Precision
from medloom.training.ranks import sum_over_ranks
from medloom.training.schedule import Schedule
from medloom.training.seeds import seed_device, step_generator, step_seed
from medloom.training.tasks import Task
from medloom.transforms.augment import Augment, AugmentParameters

__all__ = ["NonFiniteStep", "TaskModule", "total_norm"]


class NonFiniteStep(Exception):
    """The loss or a gradient of a step was NaN or infinite; the optimiser did not use it.

    Args:
        step: From 0.
        rows: The batch's rows of the pixel store.
    """

    def __init__(self, step: int, rows: Rows) -> None:
        super().__init__(step, rows)
        self.step = step
        self.rows = rows


class TaskModule(LightningModule):
    """A network, its loss and how one step goes.

    Everything random in a step follows from the seed and the step's number, so a run that is continued in the
    middle of an epoch takes the same steps as one that was never stopped.

    Args:
        network: What is trained.
        loss: Logits and truth to a scalar, in float32.
        task: What is learned.
        augment: Random changes to the training batches.
        make_optimizer: From the network to its optimiser.
        schedule: How the learning rate changes.
        averaging: The average of the weights, if one is kept.
        steps_per_epoch: Number of batches of an epoch.
        batch_size: Images of a whole batch, over all processes.
        seed: Of every step.
        clip: Largest norm of the gradient, or None.
        precision: With fp16, infinite gradients are left to the loss scaler, which skips the step.
        compiled: Compile the network for whole batches. The last of an epoch, if it is smaller, goes through the
            network as it is, and so does the validation: compiling for another size would take as long again.
        micro: How many images go through the network at a time; None for all of a batch.
    """

    def __init__(
        self,
        network: Network,
        loss: nn.Module,
        task: Task,
        augment: Augment,
        *,
        make_optimizer: Callable[[Network], Optimizer],
        schedule: Schedule,
        steps_per_epoch: int,
        batch_size: int,
        averaging: Averaging | None = None,
        seed: int = 0,
        clip: float | None = None,
        precision: Precision = "32",
        compiled: bool = False,
        micro: MicroBatches | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.averaging = averaging
        self.task = task
        self.augment = augment
        self.schedule = schedule
        self.steps_per_epoch = steps_per_epoch
        self.batch_size = batch_size
        self.seed = seed
        self.clip = clip
        self.precision = precision
        self.step = 0
        self.part = Part()
        self.micro = micro or MicroBatches(network, batch_size)
        self.metrics: dict[str, float] = {}
        self._sums = sums_in(loss)
        self._make_optimizer = make_optimizer
        self._scores = task.begin(torch.device("cpu"))
        self._train_sums = torch.zeros(2, dtype=torch.float64)
        self._step_loss = torch.zeros(())
        self._rows: Rows = np.zeros(0, np.int64)
        self.sees_activations = not compiled
        """Whether images go through the parts of this network in a training step, one by one."""
        if compiled:
            network.compile()

    def __setattr__(self, name: str, value: Any) -> None:  # noqa: ANN401 - as torch has it
        """Set an attribute; Lightning notes the name of every hook that it calls, some forty times a step."""
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)  # torch would look whether it is a weight or a module
        else:
            super().__setattr__(name, value)

    @property
    def best_network(self) -> Network:
        """The network that is validated and saved: the average of the weights, or the weights themselves."""
        return self.network if self.averaging is None else self.averaging.best_of(self.network)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the latest step; of the head, where parts have rates of their own."""
        return max(float(group["lr"]) for group in self.trainer.optimizers[0].param_groups)

    @property
    def last_loss(self) -> Tensor:
        """Loss of the latest step, on the device."""
        return self._step_loss

    def answers(self) -> Answers | None:
        """Return what was answered in the latest validation, over all processes; None where that was not kept."""
        return self._scores.answers()

    @cached_property
    def _weights(self) -> list[nn.Parameter]:
        """What is trained; walking the modules in every step takes milliseconds."""
        return list(self.network.parameters())

    def configure_optimizers(self) -> Optimizer:
        """Build the optimiser; the learning rate is set by the steps and epochs themselves."""
        optimizer = self._make_optimizer(self.network)
        self.schedule.begin(optimizer)
        return optimizer

    def on_train_epoch_start(self) -> None:
        """Begin the epoch's mean loss; a run continued in mid-epoch keeps what it had."""
        self._train_sums = torch.zeros(2, dtype=torch.float64, device=self.device)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set everything that depends on the step's number: random numbers and the learning rate."""
        epoch = self.trainer.current_epoch
        self.step = epoch * self.steps_per_epoch + batch_idx
        self.network.set_epoch(epoch)
        self._weigh(epoch)
        self.part.here, self.part.owned, self.part.whole = len(batch.picks), batch.owned, len(batch.rows)
        seed_device(self.device, step_seed(self.seed, self.step, self.global_rank))
        self.schedule.before_step(self.trainer.optimizers[0], self.step)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of an augmented batch."""
        network = self.micro.of(self.network.forward, self.network)
        logits, truth = self.task.learn(network, self.augment, batch, self._drawn(batch))
        loss: Tensor = self.loss(logits, truth)
        self._rows = batch.rows
        self._step_loss = loss.detach()
        share = batch.owned * self.trainer.world_size / len(batch.rows)
        return loss if share == 1.0 else loss * share

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip the gradients and stop before the weights change if anything is not finite."""
        norm = total_norm([weight.grad for weight in self._weights if weight.grad is not None])
        suspect = self._step_loss if self.precision == "fp16" else self._step_loss + norm
        broken = sum_over_ranks((~torch.isfinite(suspect)).float())
        wrong, size = torch.stack([broken, norm]).tolist()  # the device is waited for once
        if wrong > 0:
            raise NonFiniteStep(self.step, self._rows)
        if self.clip is not None and size > self.clip:
            clip_grads_with_norm_(self._weights, self.clip, norm)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step, in fewer images at a time where memory is short, then take the new weights into the average."""
        if optimizer_closure is not None:
            optimizer_closure = partial(self.micro.tried, optimizer_closure, partial(self._begin_again, optimizer))
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.on_stepped()
        self._train_sums = self._train_sums.to(self.device)
        self._train_sums[0] += self._step_loss.double() * self.part.owned
        self._train_sums[1] += self.part.owned
        if self.averaging is not None:
            self.averaging.after_step(self.network, epoch, ends_epoch=batch_idx + 1 == self.steps_per_epoch)

    def on_stepped(self) -> None:
        """Called when the optimiser has stepped, before the weights are taken into the average."""

    def on_validation_epoch_start(self) -> None:
        """Begin the sums of a validation pass, whose loss is weighed as that of its epoch's training."""
        self._weigh(self.trainer.current_epoch)
        self._scores = self.task.begin(self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch, normalised and not augmented, to the metrics."""
        network = self.micro.of_validation(self.best_network.forward)
        logits = self.task.answer(network, batch).float()
        self.task.score(self.loss(logits, batch.truth), logits, batch)

    def on_validation_epoch_end(self) -> None:
        """Turn the sums over all processes into metrics."""
        self._scores.sums = sum_over_ranks(self._scores.sums)
        self.metrics = self._scores.metrics()

    def train_loss(self) -> float:
        """Return the mean loss over the epoch's training samples so far, over all processes."""
        total, count = sum_over_ranks(self._train_sums).tolist()
        return float(total / count)

    def finish_epoch(self, value: float) -> None:
        """Let the schedule see the monitored metric of the epoch."""
        self.schedule.after_epoch(value)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not know of."""
        checkpoint["module"] = {
            "train_sums": sum_over_ranks(self._train_sums),
            "schedule": self.schedule.state(),
            "micro_batch": self.micro.size,
            "validation_micro_batch": self.micro.validation_size,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it back; the sums of all processes go to the first."""
        sums: Tensor = checkpoint["module"]["train_sums"]
        self._train_sums = sums if self.global_rank == 0 else torch.zeros_like(sums)
        self.schedule.restore(checkpoint["module"]["schedule"])
        self.micro.take_up(checkpoint["module"])

    def _begin_again(self, optimizer: Optimizer | LightningOptimizer) -> None:
        """Forget the gradients of a step that was not finished, and set its random numbers anew."""
        optimizer.zero_grad()
        seed_device(self.device, step_seed(self.seed, self.step, self.global_rank))

    def _weigh(self, epoch: int) -> None:
        """Take the weights that the terms of the loss have in an epoch."""
        for one in self._sums:
            one.set_epoch(epoch)

    def _drawn(self, batch: Batch) -> AugmentParameters:
        """Draw for the whole batch, so that it does not matter how many processes share it."""
        size = (batch.images.shape[2], batch.images.shape[3])
        generator = step_generator(self.seed, self.step)
        params = self.augment.sample(len(batch.rows), batch.images.shape[1], size, generator)
        if self.trainer.world_size == 1:
            return params
        return params.part(torch.from_numpy(batch.picks))


def total_norm(gradients: list[Tensor]) -> Tensor:
    """As torch's ``gettotal_norm``, without asking of each whether it is of the device and dtype that all are of."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return norm
