"""What a training ended with."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TrainResult"]


@dataclass(frozen=True)
class TrainResult:
    """What a training ended with.

    Args:
        best_epoch: The epoch, from 1, whose weights are saved as the best; 0 before the first.
        best_metric: Its monitored metric; NaN before the first.
        monitor: Which metric that is.
        epochs_done: Whole epochs so far.
        finished: False if the run was asked to stop; the same command continues it.
        stop_reason: Why it was asked to; None if it was not.
    """

    best_epoch: int
    best_metric: float
    monitor: str
    epochs_done: int
    finished: bool
    stop_reason: str | None = None
