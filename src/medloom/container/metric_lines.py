"""Lines in which a training says its metrics to SageMaker, which reads them out of what a container prints.

SageMaker's tuner judges a training by the *last* value of its objective. So the objective is the best value so far,
under a name that does not depend on the recipe: ``best``, said after each epoch, when a training goes on, and at the
end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medloom.events import EpochEnded, Event, StageBegun
from medloom.registry import METRICS

__all__ = ["MetricLines", "metric_line"]

_LOSS = "train_loss"


def metric_line(epoch: int, values: Mapping[str, float | int | None]) -> str:
    """Return one line of metrics; a value that is not known, or no number, is left out.

    Args:
        epoch: From 1.
        values: By name.

    Example:
        >>> metric_line(3, {"auc": 0.79, "train_loss": None, "best": 0.81})
        'epoch=3; auc=0.790000; best=0.810000;'
    """
    said = [f"{name}={value:.6f};" for name, value in values.items() if value is not None and value == value]
    return " ".join([f"epoch={epoch};", *said])


@dataclass
class MetricLines:
    """Says a line after each epoch; a listener.

    Args:
        say: Takes a line.
        monitor: The metric that picks the best epoch, a name in ``medloom.registry.METRICS``.
        known: Return the epochs and the best value with which a training in a folder goes on; None where it begins.

    Example:
        >>> lines = MetricLines(print, "auc", lambda folder: (2, 0.81))
        >>> lines(StageBegun("train", Path("run")))
        epoch=2; best=0.810000;
        >>> lines(EpochEnded(3, 5, {"epoch": 3, "train_loss": 0.5, "auc": 0.79}))
        epoch=3; train_loss=0.500000; val_auc=0.790000; val_best_auc=0.810000; value=0.790000; best=0.810000;
    """

    say: Callable[[str], object]
    monitor: str
    known: Callable[[Path], tuple[int, float] | None]
    epoch: int = 0
    best: float | None = field(default=None)

    def __call__(self, event: Event) -> None:
        """Say what an event brings."""
        if isinstance(event, StageBegun) and event.stage == "train":
            self._take_up(event.folder)
        elif isinstance(event, EpochEnded):
            self._ended(event)

    def close(self) -> None:
        """Say the best value once more, as the last that SageMaker sees."""
        if self.best is not None:
            self.say(metric_line(self.epoch, {"best": self.best}))

    def _take_up(self, folder: Path) -> None:
        found = self.known(folder)
        if found is not None:
            self.epoch, self.best = found
            self.close()

    def _ended(self, event: EpochEnded) -> None:
        column = METRICS[self.monitor].column or self.monitor
        value = event.metrics.get(column)
        if value is not None and (self.best is None or self._better(value, self.best)):
            self.best = value
        self.epoch = event.epoch
        name = column.removeprefix("val_")
        losses = {_LOSS: event.metrics.get(_LOSS)}
        ours = {f"val_{name}": value, f"val_best_{name}": self.best, "value": value, "best": self.best}
        self.say(metric_line(event.epoch, {**losses, **ours}))

    def _better(self, value: float, than: float) -> bool:
        return value > than if METRICS[self.monitor].larger_is_better else value < than
