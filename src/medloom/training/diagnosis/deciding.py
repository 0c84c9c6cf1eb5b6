"""Rules about what the network answers in validation: the same for everyone, or surely not what is written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medloom.training.answers import Variety
from medloom.training.diagnosis.records import Epoch, History
from medloom.training.diagnosis.rule import Sign, since_epoch
from medloom.training.diagnosis.suspects import SURE

__all__ = ["OneAnswer", "WrongLabels"]

_RANKS_WELL = {"auc": 0.65, "dice_foreground": 0.1}
"""From which value of a metric on the network tells samples apart, whatever it says at one half."""


@dataclass(frozen=True)
class OneAnswer:
    """The network answers the same for every validation sample, although they differ.

    Where it ranks samples well it is silent: then the operating point, which is chosen after the training, finds the
    few that are positive.

    Args:
        epochs: In how many epochs in a row.
        samples: How many validation samples there are at least.
        varied: Share of the truth's standard deviation below which answers count as the same.
    """

    epochs: int = 4
    samples: int = 8
    varied: float = 0.02

    def look(self, history: History) -> Sign | None:
        """See whether the latest epochs were like that."""
        latest = history.epochs[-self.epochs :]
        if len(latest) < self.epochs or any(self._ranks(epoch) for epoch in latest):
            return None
        if not all(self._is_one(epoch) for epoch in latest):
            return None
        text = f"the network ignores what the images show: {_answer(latest[-1].variety)} for every validation sample"
        advice = "weigh classes (loss.args.class_weights=balanced) or draw rare ones more often (train.positive_share)"
        return since_epoch(text, f"{advice}, try another train.optimizer.lr, and train for longer", latest[0])

    def _is_one(self, epoch: Epoch) -> bool:
        differ = [one for one in epoch.variety if one.true > 0 and one.samples >= self.samples]
        return bool(differ) and all(one.answered <= self.varied * one.true for one in differ)

    def _ranks(self, epoch: Epoch) -> bool:
        return any((epoch.value(name) or 0.0) >= least for name, least in _RANKS_WELL.items())


def _answer(variety: Sequence[Variety]) -> str:
    """What it says of everyone."""
    if len(variety) == 1:
        return f"it says {variety[0].mean:.3g} of {variety[0].name}"
    most = max(variety, key=lambda one: one.mean)
    return f"it says {most.name}" if most.mean >= 1 else "it says the same"


@dataclass(frozen=True)
class WrongLabels:
    """Validation samples that the network is sure to be of another class than their label says.

    What is looked at are means over the latest epochs, and only where the network is about as good at the other
    samples as at its training images: one that knows those by heart is sure of everything.

    Args:
        probability: Largest probability of the label.
        fewest: So many such samples at least.
        share: So large a share of the samples at most; more are the network's fault.
        epochs: How many epochs must have been.
        others: Largest cross-entropy of the other samples.
        by_heart: Largest factor by which that is above the training loss.
    """

    probability: float = SURE
    fewest: int = 2
    share: float = 0.15
    epochs: int = 3
    others: float = 0.3
    by_heart: float = 4.0

    def look(self, history: History) -> Sign | None:
        """See whether there are such samples."""
        last = history.epochs[-1]
        sure = [one for one in last.suspects if one.probability <= self.probability]
        count = max((one.samples for one in last.variety), default=0)
        if len(history.epochs) < self.epochs or not self.fewest <= len(sure) <= self.share * count:
            return None
        train, others = last.value("train_loss"), last.others
        if train is None or others is None or others > min(self.others, self.by_heart * max(train, 0.01)):
            return None
        text = (
            f"{len(sure)} of {count} validation samples may be labelled wrongly: the network is sure of another class"
        )
        return since_epoch(text, "look at the samples that the run report lists, the first ones first", last)
