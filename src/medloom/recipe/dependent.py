"""Keys that act only beside a certain value of another: set without it, they would do nothing, so they are refused."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Protocol

from pydantic import BaseModel

from medloom.registry import NETWORKS

__all__ = ["ONLY", "Condition", "Either", "Filled", "Holding", "Only", "Unless", "idle_keys"]


class Condition(Protocol):
    """When a key acts."""

    @property
    def text(self) -> str:
        """What has to be set."""

    def acts(self, recipe: BaseModel) -> bool:
        """Return whether a recipe has it set."""


@dataclass(frozen=True)
class Only:
    """A key acts with certain values of another.

    Args:
        other: The key that it depends on, dotted.
        values: With which values of that key; None is an empty one.
    """

    other: str
    values: tuple[object, ...]

    @property
    def text(self) -> str:
        """What has to be set."""
        return f"{self.other}={_words(self.values)}"

    def acts(self, recipe: BaseModel) -> bool:
        """Return whether a recipe has such a value."""
        return _value(recipe, self.other) in self.values


@dataclass(frozen=True)
class Unless:
    """A key acts with any value of another but some.

    Args:
        other: The key that it depends on, dotted.
        values: With which values of that key it does not act; None is an empty one.
    """

    other: str
    values: tuple[object, ...]

    @property
    def text(self) -> str:
        """What has to be set."""
        return f"another value of {self.other} than {_words(self.values)}"

    def acts(self, recipe: BaseModel) -> bool:
        """Return whether a recipe has another value."""
        return _value(recipe, self.other) not in self.values


@dataclass(frozen=True)
class Holding:
    """A key acts where another, which is text, holds a certain part.

    Args:
        other: The key that it depends on, dotted.
        part: The part.
    """

    other: str
    part: str

    @property
    def text(self) -> str:
        """What has to be set."""
        return f"{self.part} in {self.other}"

    def acts(self, recipe: BaseModel) -> bool:
        """Return whether a recipe has it there."""
        return self.part in str(_value(recipe, self.other))


@dataclass(frozen=True)
class Filled:
    """A key acts where another holds anything.

    Args:
        other: The key that it depends on, dotted.
    """

    other: str

    @property
    def text(self) -> str:
        """What has to be set."""
        return self.other

    def acts(self, recipe: BaseModel) -> bool:
        """Return whether a recipe has it filled."""
        return bool(_value(recipe, self.other))


@dataclass(frozen=True)
class Either:
    """A key acts with one of two conditions.

    Args:
        one: The first.
        other: The second.
    """

    one: Condition
    other: Condition

    @property
    def text(self) -> str:
        """What has to be set."""
        return f"{self.one.text} or {self.other.text}"

    def acts(self, recipe: BaseModel) -> bool:
        """Return whether a recipe has one of them set."""
        return self.one.acts(recipe) or self.other.acts(recipe)


def _value(recipe: BaseModel, key: str) -> object:
    """The value of a key; None where this kind of answer does not have it."""
    try:
        return attrgetter(key)(recipe)
    except AttributeError:
        return None


def _words(values: tuple[object, ...]) -> str:
    return " or ".join("null" if value is None else str(value).replace("'", "") for value in values)


_PATTERNS = Only("data.layout", ("array", "image-mask"))
_TABLE = Only("data.layout", ("csv",))
_MEASURED = Only("preprocess.normalise.method", ("zscore", "percentile", "minmax"))
_CHOSEN = Only("evaluate.threshold", ("auto",))
_SEARCHED = Only("evaluate.threshold", ("auto", "per-class"))
_IMAGES = Unless("model.metadata", ("only",))
_BUILT_IN = Unless("model.name", tuple(name for name, entry in NETWORKS.items() if "weights" not in entry.traits))
_ENCODER = Unless("model.name", tuple(name for name, entry in NETWORKS.items() if "encoder" not in entry.traits))
_SCALES = Only("model.name", tuple(name for name, entry in NETWORKS.items() if "scales" in entry.traits))
_BLOCKS = Unless("model.name", ("perceptron",))
_TRAINED = Unless("model.tune", ("head",))
_WATCHED = Unless("diagnose.rules", ("none",))
_AVERAGED = Only("train.strategy", ("average",))
_DRAWN = Only("split.file", (None,))
_SHARES = Only("split.folds", (None,))
_PUBLISHED = Either(
    Either(Only("data.layout", ("folder-classes",)), Filled("data.labels.files")),
    Either(Filled("split.lists"), Holding("data.image", "{split}")),
)
_COLOURED = Either(Only("preprocess.colour", ("rgb",)), Only("data.channels", (("red", "green", "blue"),)))
_NOT_GREY = Unless("preprocess.colour", ("grey",))
_STEPS = {
    "rotate": ("degrees",),
    "crop": ("min_scale",),
    "elastic": ("amount", "spacing"),
    "bias_field": ("amount",),
    "gamma": ("amount",),
    "contrast": ("amount",),
    "brightness": ("amount",),
    "colour": ("hue", "saturation"),
    "blur": ("sigma",),
    "low_resolution": ("zoom",),
    "cutout": ("size", "holes"),
    "scale": ("amount",),
    "shift": ("amount",),
    "noise": ("std",),
    "mixup": ("alpha",),
    "cutmix": ("alpha",),
}
"""Of each step of the augmentation that may be switched off, the keys that are then of no use."""

ONLY: dict[str, tuple[Condition, ...]] = {
    "target.columns": (Unless("data.layout", ("folder-classes",)),),
    "data.image": (_PATTERNS,),
    "data.context": (_IMAGES,),
    "data.missing_channel": (_PATTERNS, Holding("data.image", "{channel}")),
    "data.quarantine_limit": (Only("data.policy", ("quarantine",)),),
    "data.phantom.prevalence": (Unless("data.phantom.kind", ("brain-mri",)),),
    "data.mask": (_PATTERNS,),
    "data.patient_pattern": (Only("data.layout", ("dataset-json",)),),
    "data.array": (Only("data.layout", ("array",)),),
    "data.labels.file": (_TABLE,),
    "data.labels.files": (_TABLE,),
    "data.labels.image": (_TABLE,),
    "data.labels.patient": (_TABLE,),
    "data.labels.repeated": (_TABLE,),
    "data.labels.patient_pattern": (
        Unless("data.layout", ("array",)),
        Only("data.labels.patient", (None,)),
    ),
    "split.train": (_SHARES, _DRAWN),
    "split.validation": (_DRAWN,),
    "split.test": (_SHARES, _DRAWN),
    "split.lists": (_DRAWN,),
    "split.hold_out": (Filled("split.folds"),),
    "split.published": (_PUBLISHED, _DRAWN),
    "split.by": (_DRAWN,),
    "split.keep": (_DRAWN,),
    "split.stratify": (_DRAWN,),
    "split.seed": (_DRAWN,),
    "preprocess.normalise.nonzero": (_MEASURED,),
    "preprocess.normalise.per_channel": (_MEASURED,),
    "preprocess.normalise.percentiles": (Only("preprocess.normalise.method", ("percentile",)),),
    "preprocess.normalise.min_spread": (_MEASURED,),
    "augment.colour.p": (_COLOURED, _NOT_GREY, Only("data.context", (0,))),
    **{f"augment.{step}.{key}": (Unless(f"augment.{step}.p", (0,)),) for step, keys in _STEPS.items() for key in keys},
    "model.args": (_IMAGES,),
    "model.encoder": (_ENCODER,),
    "model.deep_supervision": (_SCALES,),
    "model.weights": (_IMAGES, _BUILT_IN),
    "model.tune": (_IMAGES, _BLOCKS, _BUILT_IN),
    "model.blocks": (Only("model.tune", ("blocks",)),),
    "model.backbone_rate": (_IMAGES, _BLOCKS, _BUILT_IN, _TRAINED),
    "model.layer_decay": (_IMAGES, _BLOCKS, _BUILT_IN, _TRAINED),
    "model.unfreeze_every": (_IMAGES, _BLOCKS, _BUILT_IN),
    "model.head_epochs": (_IMAGES, _BLOCKS, _BUILT_IN, _TRAINED, Only("model.unfreeze_every", (None,))),
    "model.freeze_statistics": (_IMAGES, _BLOCKS, _BUILT_IN, _TRAINED),
    "model.table_width": (Either(Only("model.metadata", ("fused", "only")), Only("model.name", ("perceptron",))),),
    **{f"train.{key}": (Only("train.strategy", ("single",)),) for key in ("micro_batch", "compile")},
    **{f"train.average.{key}": (_AVERAGED,) for key in ("workers", "of", "quorum", "lease", "attempts")},
    "train.average.every": (_AVERAGED, Only("train.average.of", ("weights",))),
    "train.optimizer.momentum": (Only("train.optimizer.name", ("sgd",)),),
    "train.schedule.warmup": (Only("train.schedule.name", ("cosine",)),),
    "train.schedule.factor": (Only("train.schedule.name", ("plateau",)),),
    "train.schedule.patience": (Only("train.schedule.name", ("plateau",)),),
    "train.early_stopping.min_delta": (Unless("train.early_stopping.patience", (None,)),),
    "train.seeds": (_SHARES,),
    "train.swa_start": (Only("train.averaging", ("swa",)),),
    "train.ema_decay": (Only("train.averaging", ("ema",)),),
    "diagnose.every": (_WATCHED,),
    "diagnose.action": (_WATCHED,),
    "tune.startup_trials": (Only("tune.sampler", ("tpe", "gp")),),
    "tune.grid_points": (Only("tune.sampler", ("grid",)),),
    "tune.cost": (Only("tune.sampler", ("nsga2",)),),
    "tune.pruner": (Unless("tune.sampler", ("nsga2",)),),
    "tracking.pictures": (Filled("tracking.trackers"),),
    "tracking.wandb.project": (Holding("tracking.trackers", "wandb"),),
    "tracking.wandb.mode": (Holding("tracking.trackers", "wandb"),),
    "tracking.mlflow.uri": (Holding("tracking.trackers", "mlflow"),),
    "tracking.mlflow.experiment": (Holding("tracking.trackers", "mlflow"),),
    "evaluate.max_false_positive_rate": (Either(_SEARCHED, Only("evaluate.min_region_px", ("auto",))),),
    "evaluate.rule": (_CHOSEN,),
    "evaluate.min_sensitivity": (Only("evaluate.rule", ("sensitivity",)), _CHOSEN),
    "evaluate.cost_ratio": (Only("evaluate.rule", ("cost",)), _CHOSEN),
    **{f"distil.{key}": (Only("package.serve", ("distilled",)),) for key in ("model", "epochs", "temperature")},
    "package.precision_limit": (Unless("package.precision", ("fp32",)),),
    "package.serve": (Filled("split.folds"), Only("split.fold", (None,))),
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
    group = _value(recipe, section)
    field = type(group).model_fields.get(name) if isinstance(group, BaseModel) else None
    return field is not None and getattr(group, name) != field.get_default(call_default_factory=True)
