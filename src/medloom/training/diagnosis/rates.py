"""Rules about how far a step goes: weights that do not move, a learning rate that is too low or too high."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from medloom.training.diagnosis.records import History, Sample
from medloom.training.diagnosis.rule import Sign, since_epoch, since_step

__all__ = ["FrozenWeights", "LearningRateHigh", "LearningRateLow"]

_NEAR_PEAK = 0.05
"""Below this share of the largest learning rate, in warm-up and at the end, steps are small because they should be."""


def _at_rate(history: History, times: int) -> list[Sample]:
    """The latest sampled steps, if the learning rate was not far below its largest in any of them."""
    steps = history.latest(times)
    return steps if all(one.lr >= _NEAR_PEAK * history.setup.lr for one in steps) else []


def _ratio(history: History, sample: Sample) -> float:
    """What a step changes beside the weights, as it would be at the largest learning rate."""
    return sample.ratio * history.setup.lr / sample.lr


@dataclass(frozen=True)
class FrozenWeights:
    """Weights that are trained and do not move: what a step changes is below what float32 can add to them.

    Args:
        ratio: Change beside the weights below which a layer stands still.
        overall: The same of the median over the layers.
        times: In how many sampled steps in a row.
    """

    ratio: float = 1e-8
    overall: float = 1e-6
    times: int = 3

    def look(self, history: History) -> Sign | None:
        """See whether a layer, or the network, stood still in all of the latest steps."""
        steps = _at_rate(history, self.times)
        if not steps or not steps[-1].layers:
            return None
        advice = "raise train.optimizer.lr; for one layer look at model.tune, model.backbone_rate and model.layer_decay"
        if all(_ratio(history, one) < self.overall for one in steps):
            text = f"the weights hardly move: a step changes them by {steps[-1].ratio:.0e} of their size"
            return since_step(text, advice, steps)
        still = [name for name in steps[-1].layers if all(self._is_still(one, name) for one in steps)]
        if not still:
            return None
        more = f" and {len(still) - 1} more" if len(still) > 1 else ""
        return since_step(f"the weights of {still[0]}{more} do not move", advice, steps, still[0])

    def _is_still(self, sample: Sample, name: str) -> bool:
        layer = sample.layers.get(name)
        return layer is not None and layer.weight > 0 and layer.ratio < self.ratio


@dataclass(frozen=True)
class LearningRateLow:
    """Steps that are small beside the weights, and a training loss that falls slowly and steadily.

    Args:
        ratio: Change beside the weights, median over the layers.
        drop: Share of the first epoch's loss that is won in all epochs.
        epochs: How many there must be, besides those of the warm-up.
    """

    ratio: float = 5e-5
    drop: float = 0.1
    epochs: int = 3

    def look(self, history: History) -> Sign | None:
        """See whether steps are small and little was won by them."""
        steps, seen = _at_rate(history, 3), history.at_full_rate()
        losses = [value for epoch in seen if (value := epoch.value("train_loss")) is not None]
        if not steps or len(losses) < self.epochs or losses[0] <= 0:
            return None
        is_small = all(1e-6 <= _ratio(history, one) < self.ratio for one in steps)
        won = (losses[0] - losses[-1]) / losses[0]
        if not is_small or not 0 < won < self.drop:
            return None
        text = (
            f"the learning rate looks too low: a step changes the weights by {steps[-1].ratio:.0e} of their size, and "
            f"{len(losses)} epochs lowered the training loss by {won:.0%}"
        )
        return since_epoch(text, "raise train.optimizer.lr; `medloom train RUN --find-lr` looks for a value", seen[0])


@dataclass(frozen=True)
class LearningRateHigh:
    """A training loss that rises, or jumps up and down inside an epoch, while steps are large beside the weights.

    Args:
        rise: Share of the first epoch's loss by which the latest two epochs are above the best one.
        ratio: Change beside the weights, median over the layers.
        jump: Median difference between neighbouring eighths of an epoch, as a share of its loss.
    """

    rise: float = 0.1
    ratio: float = 0.01
    jump: float = 0.3

    def look(self, history: History) -> Sign | None:
        """See whether the loss is far above how it began, or rises or jumps."""
        if sign := self._blew_up(history):
            return sign
        steps = history.latest(3)
        if not steps or median(one.ratio for one in steps) < self.ratio:
            return None
        return self._rises(history) or self._jumps(history)

    def _blew_up(self, history: History) -> Sign | None:
        """Whether the latest epoch is far above the first step; one that is by little may pass."""
        losses, first = history.values("train_loss"), history.first
        if first is None or first.step > 1 or first.loss <= 0 or not losses:
            return None
        if losses[-1] <= 5 * first.loss and not (len(losses) > 1 and min(losses[-2:]) > 2 * first.loss):
            return None
        text = f"the training loss is {losses[-1]:.3g}, before the first step it was {first.loss:.3g}"
        return self._sign(text, history, len(history.epochs) - 1)

    def _rises(self, history: History) -> Sign | None:
        losses = history.values("train_loss")
        if len(losses) < 3 or losses[0] <= 0:
            return None
        best = min(losses[:-2])
        if min(losses[-2:]) - best <= self.rise * losses[0]:
            return None
        return self._sign(f"the training loss rose from {best:.3g} to {losses[-1]:.3g}", history, losses.index(best))

    def _jumps(self, history: History) -> Sign | None:
        sizes = []
        for epoch in history.epochs[-2:]:
            loss, pieces = epoch.value("train_loss"), list(epoch.losses)
            steps = zip(pieces[1:], pieces, strict=False)
            sizes.append(median(abs(b - a) for b, a in steps) / loss if len(pieces) == 8 and loss else 0.0)
        if len(sizes) < 2 or min(sizes) < self.jump or not self._has_stalled(history):
            return None
        text = f"the training loss jumps by {sizes[-1]:.0%} of its value inside an epoch and does not fall"
        return self._sign(text, history, len(history.epochs) - 2)

    def _has_stalled(self, history: History) -> bool:
        losses = history.values("train_loss")
        return len(losses) >= 3 and min(losses[-2:]) >= min(losses[:-2])

    def _sign(self, text: str, history: History, place: int) -> Sign:
        advice = "lower train.optimizer.lr to a third, or warm up for longer; `medloom train RUN --find-lr` looks for a"
        return since_epoch(f"the learning rate looks too high: {text}", f"{advice} value", history.epochs[place])
