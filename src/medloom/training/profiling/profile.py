"""The callback that keeps the account of a training and writes it beside the run."""

from __future__ import annotations

import contextlib
import copy
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from medloom.errors import MedloomError
from medloom.events import Listener
from medloom.files import read_json, write_json
from medloom.machine import cores, memory_limit, thread_cpu_s, used_so_far
from medloom.recipe import Recipe
from medloom.training.batches import Batch, Loader, Parts, Pixels, Rows
from medloom.training.module import TaskModule
from medloom.training.profiling.account import Account, Gpu, Session
from medloom.training.profiling.actions import Actions
from medloom.training.profiling.clocks import HostClock, clock_for
from medloom.training.profiling.operators import Tracer
from medloom.training.profiling.phases import LOOP, VALIDATION
from medloom.training.profiling.rules import judge
from medloom.training.profiling.sampling import Sampling, mean_busy, reading_of
from medloom.training.profiling.stretches import Lap, Seen, StretchMaker
from medloom.training.profiling.watch import Watch
from medloom.transforms.augment import Augment

__all__ = ["PROFILE", "Profile", "build_profile"]

PROFILE = "profile.json"

_EVERY_S = {"light": 5.0, "full": 0.5}
_TRACKERS = "medloom-"
_OURS = ("medloom-profile", "medloom-system")


def build_profile(recipe: Recipe, run_dir: Path, listener: Listener, *, goes_on: bool) -> Profile | None:
    """Return the account that a recipe asks for, or None if it asks for none.

    Args:
        recipe: The recipe.
        run_dir: The run directory.
        listener: Whose time is accounted for.
        goes_on: Whether the training is continued, and so its account.
    """
    level = recipe.train.profile
    return None if level == "none" else Profile(recipe, run_dir, listener, level=level, goes_on=goes_on)


class Profile(Callback):
    """Times the parts of a training and looks at the machine; nothing that is computed depends on it.

    Of several processes the first one keeps the account, of itself. A training that is killed loses the account of
    what came after the last stretch that was written.

    Args:
        recipe: The recipe.
        run_dir: The run directory.
        listener: Whose time is accounted for.
        level: ``light``, or ``full`` with the operators of a few steps, a trace, and the machine looked at more often.
        goes_on: Whether to go on with the account that is there.
    """

    def __init__(self, recipe: Recipe, run_dir: Path, listener: Listener, *, level: str, goes_on: bool) -> None:
        self.watch = Watch(HostClock())
        self.actions = Actions(self.watch)
        self.listener: Listener = self.watch.around("listeners", listener)
        self.account = _known(run_dir / PROFILE) if goes_on else Account()
        self.account.level = level
        self._recipe = recipe
        self._path = run_dir / PROFILE
        self._pixels: list[TimedPixels] = []
        self._checkpoints = 0
        self._tracer = Tracer(run_dir, self.watch) if level == "full" else None
        self._maker: StretchMaker | None = None
        self._sampling: Sampling | None = None
        self._device = torch.device("cpu")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin; only the first process does."""
        if not trainer.is_global_zero:
            return
        self._device = pl_module.device
        self.watch.clock = clock_for(self._device)
        self.actions.know(getattr(trainer, "callbacks", ()))
        if isinstance(pl_module, TaskModule):
            pl_module.augment = _marked(pl_module.augment, self.watch)
        store = self._time_pixels(trainer.train_dataloader)
        batch_size = pl_module.batch_size if isinstance(pl_module, TaskModule) else 0
        self.account.sessions.append(self._session(trainer.world_size, batch_size, store))
        gpu = str(torch.cuda.get_device_properties(self._device).uuid) if self._device.type == "cuda" else None
        which = None if gpu is None else f"GPU-{gpu}"
        self._sampling = Sampling(reading_of(which), _EVERY_S[self.account.level], self.account.wall_s)
        self._maker = StretchMaker(len(self.account.sessions) - 1, self._look)
        self.watch.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        """Take the step down."""
        if self._maker is None:
            return
        traced = self._tracer is not None and self._tracer.at_work
        self.watch.lap(Lap(trainer.current_epoch + 1, len(batch.rows), traced))
        if self._tracer is not None:
            self._tracer.after_step()
        self._settle(ends_epoch=False)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What comes until its end is the validation."""
        self.watch.rest(VALIDATION)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Back to the loop."""
        self.watch.rest(LOOP)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Count it."""
        self._checkpoints += 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take down what came after the last step: validation, checkpoint, what listeners did."""
        if self._maker is not None:
            self.watch.lap(Lap(trainer.current_epoch + 1))
            self._settle(ends_epoch=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Conclude."""
        if self._maker is not None:
            self._conclude(trainer.current_epoch)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Keep what there is; a GPU that has failed tells no time any more."""
        if self._maker is not None:
            with contextlib.suppress(RuntimeError):
                self._conclude(trainer.current_epoch + 1)

    def _session(self, processes: int, batch_size: int, store: str) -> Session:
        return Session(
            device=self._device.type,
            processes=processes,
            threads=torch.get_num_threads(),
            cores=cores(),
            memory_bytes=memory_limit(),
            batch_size=batch_size,
            store=store,
            trackers=tuple(self._recipe.tracking.trackers),
        )

    def _time_pixels(self, loader: object) -> str:
        """Time how long batches take to make, and say where they come from."""
        if not isinstance(loader, Loader):
            return "mapped"
        kind = "ahead" if loader.pixels.ahead else "mapped" if self._device.type == "cpu" else "device"
        loader.pixels = TimedPixels(loader.pixels)
        self._pixels.append(loader.pixels)
        return kind

    def _look(self) -> Seen:
        tracked = thread_cpu_s(_TRACKERS, _OURS) if self._recipe.tracking.trackers else None
        return Seen(
            wall_s=perf_counter(),
            used=used_so_far(),
            batches=sum(one.batches for one in self._pixels),
            batch_s=sum(one.seconds for one in self._pixels),
            checkpoints=self._checkpoints,
            tracker_s=tracked,
            retries=_retries(self._device),
        )

    def _settle(self, *, ends_epoch: bool) -> None:
        """Take the laps that can be read by now; where it is time, make a stretch of them and write it down."""
        maker = self._maker
        if maker is None:
            return
        for lap, seconds in self.watch.finished():
            maker.add(lap, seconds)
        if maker.is_due(perf_counter(), ends_epoch=ends_epoch):
            self._write_down(maker)

    def _write_down(self, maker: StretchMaker) -> None:
        points = self._sampling.take() if self._sampling is not None else []
        self.account.add_use(points)
        stretch = maker.finish(lambda retries: _gpu(self._device, points, retries))
        if stretch is not None:
            self.account.add(stretch)
        if self._tracer is not None and self._tracer.trace is not None:
            self.account.operators, self.account.trace = self._tracer.operators, self._tracer.trace
        facts = {**self.account.plain(), "rules": [asdict(verdict) for verdict in judge(self.account)]}
        with contextlib.suppress(OSError, MedloomError):  # a training does not end for its statistics
            write_json(self._path, facts)

    def _conclude(self, epoch: int) -> None:
        maker = self._maker
        if maker is None:
            return
        if self._tracer is not None:
            self._tracer.close()
        self.watch.lap(Lap(max(1, epoch)))
        self.watch.clock.wait()
        for lap, seconds in self.watch.finished():
            maker.add(lap, seconds)
        self.watch.stop()
        self._write_down(maker)
        if self._sampling is not None:
            self._sampling.close()
        self._maker = None


class TimedPixels:
    """Pixels that note how long it takes to make a batch of them.

    Args:
        pixels: Where they are.
    """

    def __init__(self, pixels: Pixels) -> None:
        self.batches = 0
        self.seconds = 0.0
        self._pixels = pixels

    @property
    def ahead(self) -> bool:
        """Whether the next batch is worth loading while the device computes; they may be moved off it."""
        return self._pixels.ahead

    def take(self, rows: Rows) -> Parts:
        """Return the parts of a batch."""
        begun_s = perf_counter()
        parts = self._pixels.take(rows)
        self.seconds += perf_counter() - begun_s
        self.batches += 1
        return parts


def _marked(augment: Augment, watch: Watch) -> Augment:
    """The same random changes, whose time counts as augmentation."""
    marked = copy.copy(augment)
    for name in ("sample", "apply", "apply_image"):
        object.__setattr__(marked, name, watch.around("augment", getattr(augment, name)))
    return marked


def _known(path: Path) -> Account:
    """The account that is there; a new one if there is none, or a damaged one."""
    try:
        return Account.of(read_json(path))
    except (OSError, ValueError, KeyError, TypeError):
        return Account()


def _retries(device: torch.device) -> int:
    if device.type != "cuda":
        return 0
    return int(torch.cuda.memory_stats(device).get("num_alloc_retries", 0))


def _gpu(device: torch.device, points: list[dict[str, float]], retries: int) -> Gpu | None:
    if device.type != "cuda":
        return None
    return Gpu(
        busy=mean_busy(points),
        reserved_bytes=torch.cuda.memory_reserved(device),
        peak_bytes=torch.cuda.max_memory_allocated(device),
        total_bytes=torch.cuda.get_device_properties(device).total_memory,
        retries=retries,
    )
