"""Keys that act only beside a certain value of another: set without it, they would do nothing, so they are refused."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from pydantic import BaseModel

__all__ = ["ONLY", "Only", "idle_keys"]


@dataclass(frozen=True)
class Only:
    """When a key acts.

    Args:
        other: The key that it depends on, dotted.
        values: With which values of that key; empty for any but an empty one.
    """

    other: str
    values: tuple[object, ...] = ()

    def acts(self, recipe: BaseModel) -> bool:
        """Return whether a recipe has such a value."""
        value = attrgetter(self.other)(recipe)
        return value in self.values if self.values else value is not None

    @property
    def text(self) -> str:
        """What has to be set."""
        return f"{self.other}={' or '.join(map(str, self.values))}" if self.values else f"a value of {self.other}"


ONLY: dict[str, tuple[Only, ...]] = {
    "data.quarantine_limit": (Only("data.policy", ("quarantine",)),),
    "data.image": (Only("data.layout", ("array", "image-mask")),),
    "data.mask": (Only("data.layout", ("array", "image-mask")),),
    "data.array": (Only("data.layout", ("array",)),),
    "data.labels.file": (Only("data.layout", ("csv",)),),
    "data.labels.image": (Only("data.layout", ("csv",)),),
    "data.labels.patient": (Only("data.layout", ("csv",)),),
    "model.blocks": (Only("model.tune", ("blocks",)),),
    "preprocess.normalise.percentiles": (Only("preprocess.normalise.method", ("percentile",)),),
    "train.optimizer.momentum": (Only("train.optimizer.name", ("sgd",)),),
    "train.schedule.warmup": (Only("train.schedule.name", ("cosine",)),),
    "train.schedule.factor": (Only("train.schedule.name", ("plateau",)),),
    "train.schedule.patience": (Only("train.schedule.name", ("plateau",)),),
    "train.early_stopping.min_delta": (Only("train.early_stopping.patience"),),
    "train.swa_start": (Only("train.averaging", ("swa",)),),
    "train.ema_decay": (Only("train.averaging", ("ema",)),),
    "evaluate.rule": (Only("evaluate.threshold", ("auto",)),),
    "evaluate.min_sensitivity": (Only("evaluate.rule", ("sensitivity",)), Only("evaluate.threshold", ("auto",))),
    "evaluate.cost_ratio": (Only("evaluate.rule", ("cost",)), Only("evaluate.threshold", ("auto",))),
}
"""By dotted key; a kind of answer that does not have a key is not asked for it."""


def idle_keys(recipe: BaseModel) -> list[str]:
    """Return one sentence for each key of a recipe that was changed and does nothing.

    Args:
        recipe: A checked recipe of any kind of answer.
    """
    return [
        f"{key}: it acts only with {condition.text}, so here it would do nothing; leave it out"
        for key, conditions in ONLY.items()
        if _is_changed(recipe, key)
        for condition in conditions
        if not condition.acts(recipe)
    ]


def _is_changed(recipe: BaseModel, key: str) -> bool:
    """Whether a recipe has a key, with another value than its default."""
    section, _, name = key.rpartition(".")
    try:
        group: Any = attrgetter(section)(recipe)
    except AttributeError:
        return False
    field = type(group).model_fields.get(name)
    return field is not None and getattr(group, name) != field.get_default(call_default_factory=True)
