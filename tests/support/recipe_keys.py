"""Every key of the recipe, with recipes of each kind of answer that set it."""

from __future__ import annotations

import yaml
from pydantic import BaseModel

from medloom.recipe.kinds import KINDS
from medloom.registry import LAYOUTS, names_for

NAMED = {
    "masks": {"mask_values": {"background": 0, "lesion": 255}},
    "binary": {"classes": ["a", "b"]},
    "multi-class": {"classes": ["a", "b", "c"]},
    "multi-label": {"columns": ["a", "b"]},
    "regression": {"columns": ["a"]},
    "auto": {},
}
LAYOUTS_OF = {"auto": "binary"}
GIVEN = {"split.file": "split.csv"}
COLOURED = {"preprocess.colour": "rgb"}
CHANNELS = {"data.channels": ["red", "green", "blue"]}
LABELS_ALONE: dict[str, object] = {"model.dropout": 0.1}
"""A key that recipes for masks do not have; theirs need a network on an encoder (test_dependent)."""
UNTUNED: list[dict[str, object]] = [
    {"model.metadata": "only"},
    {"model.name": "perceptron", "model.dropout": 0.0},
    {"model.encoder": "resnet18"},  # masks alone have it, and here a plain U-Net
]
AVERAGED: dict[str, object] = {"train.strategy": "average"}
CASES: dict[str, tuple[object, dict[str, object], list[dict[str, object]]]] = {
    "target.columns": (["grade"], {}, [{"data.layout": "folder-classes"}]),
    "data.image": ("pictures/{sample}.png", {"data.layout": "array"}, [{}]),
    "data.mask": ("truth/{sample}.png", {"data.layout": "image-mask"}, [{}]),
    "data.array": ("truth/{sample}.npy", {"data.layout": "array"}, [{}]),
    "data.missing_channel": (
        "zeros",
        {"data.layout": "array", "data.image": "{sample}/{channel}.png"},
        [{"data.layout": "array"}],
    ),
    "data.context": (1, {}, [{"model.metadata": "only"}]),
    "data.labels.file": ("table.csv", {}, [{"data.layout": "array"}]),
    "data.labels.files": ({"train": "a.csv", "test": "b.csv"}, {}, [{"data.layout": "array"}]),
    "data.labels.image": ("file", {}, [{"data.layout": "array"}]),
    "data.labels.patient": ("person", {}, [{"data.layout": "array"}]),
    "data.labels.patient_pattern": (r"(p\d)_", {}, [{"data.layout": "array"}, {"data.labels.patient": "person"}]),
    "data.patient_pattern": (r"(p\d)_", {"data.layout": "dataset-json"}, [{}]),
    "data.labels.repeated": ("agree", {}, [{"data.layout": "array"}]),
    "data.quarantine_limit": (0.5, {"data.policy": "quarantine"}, [{}]),
    "data.phantom.prevalence": (0.5, {"data.phantom.kind": "melanoma"}, [{}]),
    "split.train": (0.6, {"split.test": 0.25}, [{"split.test": 0.25, **GIVEN}, {"split.test": 0.25, "split.folds": 5}]),
    "split.validation": (0.25, {"split.train": 0.6}, [{"split.train": 0.6, **GIVEN}]),
    "split.test": (0.25, {"split.train": 0.6}, [{"split.train": 0.6, **GIVEN}]),
    "split.published": (
        "repair",
        {"data.layout": "folder-classes"},
        [{}, {"data.layout": "folder-classes", **GIVEN}],
    ),
    "split.hold_out": (0.25, {"split.folds": 5}, [{}]),
    "split.lists": ({"train": "most.txt", "test": "rest.txt"}, {}, [GIVEN]),
    "split.by": ("sample", {}, [GIVEN]),
    "split.keep": (False, {}, [GIVEN]),
    "split.stratify": (False, {"split.folds": 5}, [GIVEN]),
    "split.seed": (5, {"split.folds": 5}, [GIVEN]),
    **{
        f"preprocess.normalise.{key}": (
            value,
            {"preprocess.normalise.method": acts},
            [{"preprocess.normalise.method": method} for method in idle],
        )
        for key, value, acts, idle in (
            ("nonzero", False, "zscore", ("imagenet", "none")),
            ("per_channel", False, "minmax", ("imagenet", "none")),
            ("min_spread", 5.0, "percentile", ("imagenet", "none")),
            ("percentiles", [2.0, 98.0], "percentile", ("zscore", "minmax", "imagenet", "none")),
        )
    },
    **{
        f"augment.{step}.{key}": (value, {f"augment.{step}.p": 0.4}, [{f"augment.{step}.p": 0}])
        for step, key, value in (
            ("rotate", "degrees", 5),
            ("crop", "min_scale", 0.5),
            ("elastic", "amount", 0.05),
            ("elastic", "spacing", 0.4),
            ("bias_field", "amount", 0.5),
            ("gamma", "amount", 0.5),
            ("contrast", "amount", 0.5),
            ("brightness", "amount", 0.5),
            ("blur", "sigma", 2.0),
            ("low_resolution", "zoom", 0.25),
            ("cutout", "size", 0.5),
            ("cutout", "holes", 3),
            ("scale", "amount", 0.5),
            ("shift", "amount", 0.5),
            ("noise", "std", 0.5),
            ("mixup", "alpha", 2.0),
            ("cutmix", "alpha", 2.0),
        )
    },
    "augment.colour.p": (
        0.5,
        COLOURED,
        [{}, {**CHANNELS, "preprocess.colour": "grey"}, {**COLOURED, "data.context": 1, "data.page": "all"}],
    ),
    **{
        f"augment.colour.{key}": (value, {**COLOURED, "augment.colour.p": 0.5}, [{}, COLOURED])
        for key, value in (("hue", 0.4), ("saturation", 0.9))
    },
    "model.args": ({"a": 1}, {}, [{"model.metadata": "only"}]),
    "model.encoder": ("resnet18", {"model.name": "smp-unet"}, [{}]),
    "model.weights": (
        "imagenet",
        {"model.metadata": "fused"},
        [
            {"model.metadata": "only"},
            {"model.encoder": "resnet18"},
        ],  # masks alone have the latter, and here a plain U-Net
    ),
    "model.deep_supervision": (
        True,
        {"model.name": "dynunet"},
        [{}, {"model.name": "segresnet"}, {"model.name": "smp-unet"}],
    ),
    "model.tune": ("head", LABELS_ALONE, [*UNTUNED]),
    "model.blocks": (2, {"model.tune": "blocks", **LABELS_ALONE}, [{}]),
    "model.backbone_rate": (0.5, LABELS_ALONE, [*UNTUNED, {"model.tune": "head"}]),
    "model.layer_decay": (0.5, LABELS_ALONE, [*UNTUNED, {"model.tune": "head"}]),
    "model.unfreeze_every": (2, LABELS_ALONE, [*UNTUNED]),
    "model.head_epochs": (2, LABELS_ALONE, [*UNTUNED, {"model.tune": "head"}, {"model.unfreeze_every": 1}]),
    "model.freeze_statistics": (True, LABELS_ALONE, [*UNTUNED, {"model.tune": "head"}]),
    "model.table_width": (8, {"model.name": "perceptron"}, [{}]),
    "train.micro_batch": (2, {}, [AVERAGED]),
    "train.compile": (True, {}, [AVERAGED]),
    **{
        f"train.average.{key}": (value, AVERAGED, [{}])
        for key, value in (("workers", 3), ("of", "weights"), ("quorum", 0.9), ("lease", 60), ("attempts", 5))
    },
    "train.average.every": (4, {**AVERAGED, "train.average.of": "weights"}, [{}, AVERAGED]),
    "train.optimizer.momentum": (0.5, {"train.optimizer.name": "sgd"}, [{}]),
    "train.schedule.warmup": (0.25, {"train.schedule.name": "cosine"}, [{"train.schedule.name": "none"}]),
    "train.schedule.factor": (0.25, {"train.schedule.name": "plateau"}, [{}]),
    "train.schedule.patience": (2, {"train.schedule.name": "plateau"}, [{}]),
    "train.early_stopping.min_delta": (0.25, {"train.early_stopping.patience": 3}, [{}]),
    "train.seeds": (3, {}, [{"split.folds": 5}]),
    "train.swa_start": (0.5, {"train.averaging": "swa"}, [{}]),
    "train.ema_decay": (0.5, {"train.averaging": "ema"}, [{}]),
    "diagnose.every": (7, {"diagnose.rules": "all"}, [{"diagnose.rules": "none"}]),
    "diagnose.action": ("stop", {"diagnose.rules": ["plateau"]}, [{"diagnose.rules": "none"}]),
    "tune.startup_trials": (3, {"tune.sampler": "gp"}, [{"tune.sampler": "grid"}, {"tune.sampler": "nsga2"}]),
    "tune.grid_points": (3, {"tune.sampler": "grid"}, [{}]),
    "tune.cost": ("parameters", {"tune.sampler": "nsga2"}, [{}]),
    "tune.pruner": ("hyperband", {}, [{"tune.sampler": "nsga2"}]),
    "tracking.pictures": (False, {"tracking.trackers": ["mlflow"]}, [{}]),
    **{
        f"tracking.{tracker}.{key}": (
            value,
            {"tracking.trackers": [tracker]},
            [{}, {"tracking.trackers": ["tensorboard"]}],
        )
        for tracker, key, value in (
            ("mlflow", "uri", "sqlite:///other.db"),
            ("mlflow", "experiment", "other"),
            ("wandb", "project", "other"),
            ("wandb", "mode", "online"),
        )
    },
    "evaluate.max_false_positive_rate": (
        0.5,
        {"evaluate.threshold": 0.5},
        [{"evaluate.threshold": 0.5, "evaluate.min_region_px": 0}],
    ),
    **{
        f"distil.{key}": (value, {"split.folds": 5, "package.serve": "distilled"}, [{}, {"split.folds": 5}])
        for key, value in (("model", {"args": {}}), ("epochs", 7), ("temperature", 4.0))
    },
    "package.precision_limit": (0.5, {"package.precision": "int8"}, [{}]),
    "package.serve": (
        "soup",
        {"split.folds": 5},
        [{}, {"split.folds": 5, "split.fold": 1}],
    ),
    "evaluate.rule": ("cost", {}, [{"evaluate.threshold": 0.5}]),
    "evaluate.min_sensitivity": (
        0.5,
        {"evaluate.rule": "sensitivity"},
        [{}, {"evaluate.rule": "sensitivity", "evaluate.threshold": 0.5}],
    ),
    "evaluate.cost_ratio": (
        3.0,
        {"evaluate.rule": "cost"},
        [{}, {"evaluate.rule": "cost", "evaluate.threshold": 0.5}],
    ),
}
"""By key: another value than its default, settings with which it acts, and settings with each of which it does not."""


def fields(model: type[BaseModel], above: str = ""):
    """Every key of a recipe with its sentence."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from fields(inner, f"{above}{name}.")
        else:
            yield f"{above}{name}", field.description or ""


def text(kind, settings):
    layout = "lgg-mri" if kind == "masks" else "csv"
    values = {"name": "one", "target": {"kind": kind, **NAMED[kind]}, "data": {"layout": layout, "channels": ["a"]}}
    for key, value in settings.items():
        *groups, name = key.split(".")
        group = values
        for one in groups:
            group = group.setdefault(one, {})
        group[name] = value
    return yaml.safe_dump(values)


def exists(kind, key, settings):
    """Whether a kind of answer has the keys and the layout."""
    layout = settings.get("data.layout")
    known = {name for name, _ in fields(KINDS[kind])}
    return {key, *settings} <= known and (layout is None or layout in names_for(LAYOUTS, LAYOUTS_OF.get(kind, kind)))
