"""Workers and one process with whole batches, in float64: the same to rounding where it must be, and not elsewhere."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from medloom.models.network import Network
from medloom.recipe.sections.training import AverageConfig
from medloom.rounds.coordinator import Coordinator, Rules
from medloom.rounds.store import FolderStore
from medloom.rounds.working import carry_out
from medloom.training.average.module import AveragedModule
from medloom.training.average.worker import ShardModule, Worker
from medloom.training.batches import place_samples
from medloom.training.data import StoreData
from medloom.training.module import TaskModule
from medloom.training.quiet import quiet_lightning
from medloom.training.samples import Samples
from medloom.training.schedule import Cosine, build_optimizer
from medloom.transforms.augment import Augment
from medloom.transforms.augment.mixing import Mixing, mix_images, mix_rows

COUNT, BATCH, EPOCHS = 23, 8, 3
STEPS = EPOCHS * -(-COUNT // BATCH)
UNCHANGED = Augment()


class Plain(Network):
    """Numbers of a table and of an image in, two logits out, in float64."""

    def __init__(self, *middle: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(6, 9), *middle, nn.Tanh(), nn.Linear(9, 2)).double()

    def forward(self, images: torch.Tensor, table: torch.Tensor | None = None) -> torch.Tensor:
        return self.layers(torch.cat([images.double().mean((2, 3)), table.double()], dim=1))


class Numbers:
    """The task: squares of what two numbers are away."""

    pictures = None

    def learn(self, network: Any, augment: Augment, batch: Any, params: Any) -> tuple[torch.Tensor, torch.Tensor]:
        images = augment.apply_image(batch.images, batch.offset, batch.scale, params)
        if params.mixing is None:
            return network(images, batch.table), batch.truth
        truth = mix_rows(batch.truth, params.mixing)
        return network(mix_images(images, params.mixing), mix_rows(batch.table, params.mixing)), truth

    def begin(self, device: torch.device) -> Any:
        return None


class Squares(nn.Module):
    """A mean over the images; or, not additive, the root of it."""

    def __init__(self, *, root: bool = False) -> None:
        super().__init__()
        self.root = root

    def forward(self, logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        mean = (logits - truth.double()).square().mean()
        return mean.sqrt() if self.root else mean


def samples() -> Samples:
    generator = np.random.default_rng(5)
    draw = partial(generator.normal, size=(COUNT, 4))
    images = generator.integers(0, 255, (COUNT, 2, 6, 6)).astype(np.uint8)
    truth = draw()[:, :2].astype(np.float32)
    table, flat = draw().astype(np.float32), np.full((COUNT, 2), 0.02, np.float32)
    return Samples(images, truth, table, 50 * flat, flat, truth[:, 0] > 0)


class Hands:
    """Workers in this process."""

    def __init__(self, store: FolderStore, worker: Worker) -> None:
        self.store, self.worker = store, worker

    def begin(self, order: Any) -> None:
        if not carry_out(self.store, order, self.worker):
            raise AssertionError(self.store.get(order.failure).decode())

    def wait(self, timeout_s: float) -> list[Any]:
        return []

    def give_up(self, order: Any) -> None:
        pass


def arguments(middle=(), *, root=False, augment=UNCHANGED, clip=None, steps=STEPS, **optimizer) -> dict[str, Any]:
    lr = optimizer.setdefault("lr", 0.2)
    return {
        "network": Plain(*(make() for make in middle)),
        "loss": Squares(root=root),
        "task": Numbers(),
        "augment": augment,
        "make_optimizer": lambda network: build_optimizer(network.parameter_groups(lr), **optimizer),
        "schedule": Cosine(lr, steps, 0.2),
        "batch_size": BATCH,
        "seed": 4,
        "clip": clip,
    }


def fit(module: TaskModule, data: StoreData) -> dict[str, np.ndarray]:
    with quiet_lightning():
        trainer = Trainer(
            accelerator="cpu", max_epochs=EPOCHS, limit_val_batches=0, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        )  # fmt: skip
        trainer.fit(module, datamodule=data)
    return {name: value.numpy().copy() for name, value in module.network.state_dict().items()}


def data_of(**more: Any) -> StoreData:
    rows = np.arange(COUNT)
    return StoreData(samples(), rows, rows[:0], batch_size=BATCH, seed=4, validates=False, **more)


def alone(**settings: Any) -> dict[str, np.ndarray]:
    """Weights of one process with the whole batch."""
    data = data_of()
    return fit(TaskModule(**arguments(**settings), steps_per_epoch=data.steps_per_epoch), data)


def by_workers(folder: Any, workers: int = 3, of: str = "gradients", every: int = 1, **settings: Any) -> Any:
    """Weights of workers that share each batch."""
    data = data_of(steps_in_batch=every, reads=False)
    store = FolderStore(folder)
    worker = Worker.__new__(Worker)
    worker.module = ShardModule(**arguments(**settings), steps_per_epoch=data.steps_per_epoch)
    worker.samples, worker.key = data.samples, "key"
    worker.pixels = place_samples(data.samples, torch.device("cpu"))
    module = AveragedModule(
        **arguments(**settings),
        steps_per_epoch=data.steps_per_epoch,
        coordinator=Coordinator(store, Hands(store, worker), Rules()),
        config=AverageConfig(workers=workers, of=of, every=every),
        data=data,
        key="key",
    )
    return fit(module, data)


def apart(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


SGD = {"name": "sgd", "momentum": 0.0, "weight_decay": 0.0}
MOMENTUM = {"name": "sgd", "momentum": 0.9, "weight_decay": 0.0}
DECAY = {"name": "sgd", "momentum": 0.9, "weight_decay": 0.01}
ADAM = {"name": "adam", "lr": 0.02, "weight_decay": 0.01}
ADAMW = {"name": "adamw", "lr": 0.02, "weight_decay": 0.1}
CHANGES = Augment(flip_p=0.5, rotate_p=0.5, noise_p=0.6, noise_std=0.3, scale_p=0.5, shift_p=0.5)
MIXED = Augment(flip_p=0.5, noise_p=0.6, noise_std=0.3, mixing=Mixing(mixup_p=0.5, cutmix_p=0.5))

EQUAL = {
    "sgd": SGD,
    "momentum": MOMENTUM,
    "decay": DECAY,
    "adam": ADAM,
    "adamw": ADAMW,
    "clipped": {**MOMENTUM, "clip": 0.05},
    "dropout": {**SGD, "middle": [nn.Dropout]},
    "augmented": {**SGD, "augment": CHANGES},
    "mixed": {**SGD, "augment": MIXED, "middle": [nn.Dropout]},
}


@pytest.mark.parametrize("workers", [2, 5])
@pytest.mark.parametrize("settings", EQUAL.values(), ids=EQUAL)
def test_the_mean_of_gradients_trains_as_whole_batches_do(tmp_path, settings, workers):
    assert apart(by_workers(tmp_path, workers, **settings), alone(**settings)) < 1e-12


@pytest.mark.parametrize("workers", [3])
@pytest.mark.parametrize("name", ["sgd", "momentum", "decay", "dropout", "mixed"])
def test_the_mean_of_weights_after_each_step_does_with_gradient_descent(tmp_path, name, workers):
    settings = EQUAL[name]
    assert apart(by_workers(tmp_path, workers, "weights", **settings), alone(**settings)) < 1e-12


def norm() -> nn.Module:
    return nn.BatchNorm1d(9).double()


UNEQUAL = {
    "adam by weights": {**ADAM, "of": "weights"},
    "adamw by weights": {**ADAMW, "of": "weights"},
    "several steps": {**SGD, "of": "weights", "every": 2},
    "several steps with momentum": {**MOMENTUM, "of": "weights", "every": 3},
    "clipped by each": {**SGD, "of": "weights", "clip": 0.05},
    "batch norm": {**SGD, "middle": [norm]},
    "a loss over the batch": {**SGD, "root": True},
}


@pytest.mark.parametrize("settings", UNEQUAL.values(), ids=UNEQUAL)
def test_what_is_warned_of_is_another_training(tmp_path, settings):
    plain = {key: value for key, value in settings.items() if key not in ("of", "every")}
    assert apart(by_workers(tmp_path, **settings), alone(**plain)) > 1e-5


def test_one_worker_that_takes_several_steps_takes_those_of_one_process(tmp_path):
    for settings in (ADAMW, {**DECAY, "clip": 0.05, "middle": [norm]}):
        found = by_workers(tmp_path, 1, "weights", 2, **settings)
        assert apart(found, alone(**settings)) < 1e-12
