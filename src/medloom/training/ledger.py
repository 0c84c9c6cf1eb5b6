"""What a run has achieved so far: one line an epoch, the best epoch, when to stop."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from medloom.recipe.sections.training import TrainConfig
from medloom.registry import METRICS

__all__ = ["Ledger", "Line"]

Line = dict[str, float | int | None]


@dataclass
class Ledger:
    """The history of a run.

    NaN is never best. Of equal values the earlier epoch is best.

    Args:
        monitor: The metric that picks the best epoch, a name in ``medloom.registry.METRICS``.
        patience: Epochs without improvement before the run stops early, or None.
        min_delta: Smallest change that counts as improvement for that.
        stop_reason: Why the run was asked to stop where it stands; None again once it goes on.
        validated: Whether epochs are validated; else the last one is taken for the best.

    Example:
        >>> ledger = Ledger("dice_foreground")
        >>> [ledger.record({"epoch": n, "dice_foreground": v}) for n, v in ((1, 0.5), (2, 0.9), (3, 0.3))]
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
    stop_reason: str | None = None
    validated: bool = True
    _reference: float = math.nan
    _stale: int = 0

    @classmethod
    def of(cls, section: TrainConfig) -> Self:
        """Begin the history that a recipe's ``train`` asks for."""
        return cls(section.monitor, section.early_stopping.patience, section.early_stopping.min_delta)

    @property
    def epochs_done(self) -> int:
        """Number of whole epochs so far."""
        return len(self.lines)

    @property
    def stops_early(self) -> bool:
        """Whether the metric has not improved for so long that the run ends here."""
        return self.patience is not None and self._stale >= self.patience

    @property
    def patience_left(self) -> int | None:
        """Epochs without improvement after which the run ends here; None where it never ends early."""
        return None if self.patience is None else max(0, self.patience - self._stale)

    def value(self, line: Line) -> float:
        """Return the monitored metric of a line; NaN if there is none."""
        value = line[METRICS[self.monitor].column or self.monitor] if self.validated else None
        return math.nan if value is None else float(value)

    def record(self, line: Line) -> bool:
        """Add an epoch's line and return whether it is the best so far."""
        self.lines.append(line)
        if not self.validated:
            self.best_epoch = int(line["epoch"] or 0)
            return True
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
        return value > than + by if METRICS[self.monitor].larger_is_better else value < than - by

    def state(self) -> dict[str, Any]:
        """Return everything as plain types, for the checkpoint."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Ledger:
        """Take back what ``state`` returned."""
        return cls(**state)
