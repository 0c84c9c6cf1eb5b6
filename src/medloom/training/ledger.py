"""What a run has achieved so far: one line an epoch, the best epoch, when to stop."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from medloom.recipe import TrainConfig
from medloom.training.scores import larger_is_better

__all__ = ["Ledger", "Line"]

Line = dict[str, float | int | None]


@dataclass
class Ledger:
    """The history of a run.

    NaN is never best. Of equal values the earlier epoch is best.

    Args:
        monitor: The recipe's ``train.monitor``.
        patience: Epochs without improvement before the run stops early, or None.
        min_delta: Smallest change that counts as improvement for that.

    Example:
        >>> ledger = Ledger("dice_lesion")
        >>> [ledger.record({"epoch": n, "dice_lesion": v}) for n, v in ((1, 0.5), (2, 0.9), (3, 0.3))]
        [True, True, False]
        >>> ledger.best_epoch, ledger.best_metric
        (2, 0.9)
    """

    monitor: str
    patience: int | None = None
    min_delta: float = 0.0
    best_epoch: int = 0
    best_metric: float = math.nan
    lines: list[Line] = field(default_factory=list)
    pictures: list[dict[str, Any]] = field(default_factory=list)
    train_seconds: float = 0.0
    _reference: float = math.nan
    _stale: int = 0

    @classmethod
    def of(cls, config: TrainConfig) -> Ledger:
        """Begin the history of a run."""
        return cls(config.monitor, config.early_stopping.patience, config.early_stopping.min_delta)

    @property
    def epochs_done(self) -> int:
        """Number of whole epochs so far."""
        return len(self.lines)

    @property
    def stops_early(self) -> bool:
        """Whether the metric has not improved for so long that the run ends here."""
        return self.patience is not None and self._stale >= self.patience

    def value(self, line: Line) -> float:
        """Return the monitored metric of a line; NaN if there is none."""
        value = line["val_loss" if self.monitor == "loss" else self.monitor]
        return math.nan if value is None else float(value)

    def record(self, line: Line) -> bool:
        """Add an epoch's line and return whether it is the best so far."""
        self.lines.append(line)
        value = self.value(line)
        self._stale = 0 if self._improves(value, self._reference, self.min_delta) else self._stale + 1
        if self._stale == 0:
            self._reference = value
        best = self._improves(value, self.best_metric, 0.0)
        if best:
            self.best_epoch, self.best_metric = int(line["epoch"] or 0), value
        return best

    def _improves(self, value: float, than: float, by: float) -> bool:
        if math.isnan(value) or math.isnan(than):
            return not math.isnan(value)
        return value > than + by if larger_is_better(self.monitor) else value < than - by

    def state(self) -> dict[str, Any]:
        """Return everything as plain types, for the checkpoint."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Ledger:
        """Take back what ``state`` returned."""
        return cls(**state)
