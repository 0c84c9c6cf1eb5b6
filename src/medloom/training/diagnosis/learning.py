"""Rules about whether the network learns, and whether what it learns holds in validation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import mean, median

from medloom.training.diagnosis.records import History
from medloom.training.diagnosis.rule import Sign, since_epoch

__all__ = ["LossNotDecreasing", "Overfitting", "Overtraining", "Plateau", "UnstableValidation"]

_SOLVED = 0.05
"""A training loss below this share of the first epoch's leaves next to nothing to win."""


@dataclass(frozen=True)
class LossNotDecreasing:
    """The training loss has not fallen since the beginning.

    Args:
        drop: Smallest share of the loss that counts as a fall.
        epochs: How many there must be at more than a tenth of the largest learning rate.
        steps: How many steps they must have together.
    """

    drop: float = 0.01
    epochs: int = 4
    steps: int = 40

    def look(self, history: History) -> Sign | None:
        """See whether any epoch is below how the training began."""
        seen = history.at_full_rate()
        losses = [value for epoch in seen if (value := epoch.value("train_loss")) is not None]
        if len(losses) < self.epochs or len(losses) * history.setup.steps_per_epoch < self.steps:
            return None
        first = history.epochs[0]
        began = max([first.value("train_loss") or 0.0, *first.losses[:1]])
        if began <= 0 or min(losses) < (1 - self.drop) * began:
            return None
        text = f"the training loss does not fall: it began at {began:.3g} and after {len(losses)} epochs is"
        advice = "check that labels belong to their images, and the normalisation; try another train.optimizer.lr, less"
        return since_epoch(f"{text} {losses[-1]:.3g}", f"{advice} augmentation or another network", seen[0])


@dataclass(frozen=True)
class Overfitting:
    """The loss on validation rises while that of training falls, and the monitored metric has not got better either.

    Args:
        rise: Share of its lowest value by which the loss on validation is above it.
        margin: And by which share of its first value, so that a loss of next to nothing may tremble.
        fall: Share by which the training loss fell meanwhile.
        epochs: For how many epochs in a row.
    """

    rise: float = 0.2
    margin: float = 0.05
    fall: float = 0.1
    epochs: int = 3

    def look(self, history: History) -> Sign | None:
        """See whether the two have come apart since the best epoch."""
        pairs = [
            (line.value("val_loss"), line.value("train_loss"), line) for line in history.epochs
        ]  # an epoch without one of them is no evidence
        known = [(val, train, epoch) for val, train, epoch in pairs if val is not None and train is not None]
        if len(known) <= self.epochs or min(val for val, _, _ in known) <= 0:
            return None
        place = min(range(len(known)), key=lambda at: known[at][0])
        lowest, then, epoch = known[place]
        later = known[max(place + 1, len(known) - self.epochs) :]
        least = lowest + max(self.rise * lowest, self.margin * known[0][0])
        if len(later) < self.epochs or any(val < least for val, _, _ in later):
            return None
        falls = mean(train for _, train, _ in later) < (1 - self.fall) * then
        if not falls or _improves_after(history, epoch.epoch):
            return None
        text = (
            f"the network overfits: since epoch {epoch.epoch} the loss on validation rose from {lowest:.3g} to "
            f"{later[-1][0]:.3g} while that of training fell from {then:.3g} to {later[-1][1]:.3g}"
        )
        advice = "augment more, raise train.optimizer.weight_decay or dropout, take a smaller network or more images;"
        return since_epoch(text, f"{advice} the best epoch's weights are kept", epoch)


def _improves_after(history: History, epoch: int) -> bool:
    """Whether the monitored metric is best after an epoch and the next few, which may well lag behind the loss."""
    gains, sign = _gains_by_epoch(history), 3
    best = max(gains, key=lambda at: gains[at], default=epoch)
    return best > epoch + sign and best >= history.epochs[-1].epoch - sign


def _gains_by_epoch(history: History) -> dict[int, float]:
    turn = 1.0 if history.setup.larger_is_better else -1.0
    values = {one.epoch: one.value(history.setup.monitor) for one in history.epochs}
    return {epoch: turn * value for epoch, value in values.items() if value is not None}


@dataclass(frozen=True)
class Overtraining:
    """The best epoch is long ago, and the metric has been worse since.

    Args:
        epochs: How many epochs ago at least.
        share: What share of all epochs so far at least.
        worse: Share of the metric's range so far by which the latest epochs are below the best.
    """

    epochs: int = 10
    share: float = 0.4
    worse: float = 0.2

    def look(self, history: History) -> Sign | None:
        """See whether it is so."""
        gains = _gains_by_epoch(history)
        if len(gains) <= self.epochs:
            return None
        best, last = max(gains, key=lambda at: gains[at]), history.epochs[-1].epoch
        ago, spread = last - best, max(gains.values()) - min(gains.values())
        since = median([value for epoch, value in gains.items() if epoch > best] or [gains[best]])
        recent = mean(list(gains.values())[-3:])
        if ago < max(self.epochs, self.share * last) or spread <= 0:
            return None
        if gains[best] - max(since, recent) < max(self.worse * spread, 0.02 * abs(gains[best])):
            return None
        text = f"the training goes on without use: {history.setup.monitor} was best in epoch {best}, {ago} epochs ago"
        advice = "set train.early_stopping.patience or fewer train.epochs; the best epoch's weights are kept"
        return since_epoch(f"{text}, and has been worse since", advice, history.epochs[best - 1])


@dataclass(frozen=True)
class Plateau:
    """Neither the training loss nor the monitored metric has got better for long, at a learning rate that is not small.

    Args:
        epochs: For how many epochs.
        change: Share of the loss that it changed by at most.
    """

    epochs: int = 10
    change: float = 0.02

    def look(self, history: History) -> Sign | None:
        """See whether the latest epochs were all alike."""
        losses = history.values("train_loss")
        gains = _gains_by_epoch(history)
        window = history.epochs[-self.epochs :]
        if len(losses) < 2 * self.epochs or window != history.at_full_rate()[-self.epochs :] or losses[0] <= 0:
            return None
        before, half = losses[-self.epochs], self.epochs // 2
        fell = (mean(losses[-self.epochs : -half]) - mean(losses[-half:])) / max(before, 1e-12)
        best = max(gains, key=lambda at: gains[at], default=0)
        is_solved = losses[-1] < _SOLVED * losses[0] or _is_perfect(gains.get(best, 0.0), history)
        if (
            abs(fell) > self.change
            or best > window[0].epoch
            or is_solved
            or len(history.epochs) >= history.setup.epochs
        ):
            return None
        text = f"the training has reached a plateau: for {self.epochs} epochs neither the training loss nor"
        advice = "lower the learning rate (train.schedule.name=plateau or cosine), stop earlier, or give the network"
        return since_epoch(f"{text} {history.setup.monitor} got better", f"{advice} more freedom", window[0])


def _is_perfect(gain: float, history: History) -> bool:
    return history.setup.larger_is_better and gain >= 0.99


@dataclass(frozen=True)
class UnstableValidation:
    """The monitored metric jumps up and down from epoch to epoch.

    Args:
        epochs: How many of the latest epochs are looked at.
        jump: Median change from one to the next: of a metric in 0..1 as it is; of a loss as a share of its median, or
            of a third of its first value where that is more, for a loss of next to nothing may tremble.
        turns: Share of the changes that go the other way than the one before.
    """

    epochs: int = 8
    jump: float = 0.15
    turns: float = 0.6

    def look(self, history: History) -> Sign | None:
        """See whether it does."""
        gains = history.gains()[-self.epochs :]
        if len(gains) < self.epochs:
            return None
        scale = 1.0 if history.setup.larger_is_better else max(abs(median(gains)), abs(history.gains()[0]) / 3)
        changes = [after - before for before, after in pairwise(gains)]
        turned = [one * other < 0 for one, other in pairwise(changes)]
        size = median(abs(change) for change in changes)
        if size < self.jump * scale or mean(turned) < self.turns or scale == 0:
            return None
        text = f"validation is unstable: {history.setup.monitor} changes by about {size:.2g} from epoch to epoch"
        advice = "take more validation patients, a lower train.optimizer.lr, a larger train.batch_size, or"
        return since_epoch(text, f"{advice} train.averaging=ema", history.epochs[-self.epochs])
