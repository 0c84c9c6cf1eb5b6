"""Keys that act only beside a value of another key are refused without it."""

from __future__ import annotations

import re

import pytest
import yaml
from pydantic import BaseModel

from medloom.errors import RecipeError
from medloom.recipe import parse_recipe
from medloom.recipe.dependent import ONLY
from medloom.recipe.kinds import KINDS

NAMED = {
    "masks": {"mask_values": {"background": 0, "lesion": 255}},
    "binary": {"classes": ["a", "b"]},
    "multi-class": {"classes": ["a", "b", "c"]},
    "multi-label": {"columns": ["a", "b"]},
    "regression": {"columns": ["a"]},
    "auto": {},
}
OTHER = {
    "data.image": "pictures/{sample}.png",
    "data.mask": "truth/{sample}.png",
    "data.array": "truth/{sample}.npy",
    "data.labels.file": "table.csv",
    "data.labels.image": "file",
    "data.labels.patient": "person",
    "model.blocks": 2,
    "data.quarantine_limit": 0.5,
    "preprocess.normalise.percentiles": [2.0, 98.0],
    "train.optimizer.momentum": 0.5,
    "train.schedule.warmup": 0.25,
    "train.schedule.factor": 0.25,
    "train.schedule.patience": 2,
    "train.early_stopping.min_delta": 0.25,
    "train.swa_start": 0.5,
    "train.ema_decay": 0.5,
    "evaluate.rule": "cost",
    "evaluate.min_sensitivity": 0.5,
    "evaluate.cost_ratio": 3.0,
}
"""A value of each key that is not its default."""


def without(key, other):
    """What keeps a key from acting, where the default does not."""
    values = {"train.schedule.name": "none", "evaluate.threshold": 0.5}
    values |= {"data.layout": "array"} if key.startswith("data.labels.") else {}
    return {other: values[other]} if other in values else {}


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
    if kind != "masks":
        values["model"] = {"name": "perceptron"}
    for key, value in settings.items():
        *groups, name = key.split(".")
        group = values
        for one in groups:
            group = group.setdefault(one, {})
        group[name] = value
    return yaml.safe_dump(values)


CASES = [(kind, key) for kind, model in KINDS.items() for key, _ in fields(model) if kind in NAMED and key in ONLY]


@pytest.mark.parametrize(("kind", "key"), CASES)
def test_a_key_is_refused_where_it_would_do_nothing_and_taken_where_it_acts(kind, key):
    acts = {only.other: only.values[0] if only.values else 3 for only in ONLY[key]}
    assert parse_recipe(text(kind, {**acts, key: OTHER[key]}))
    for only in ONLY[key]:
        idle = {**acts, key: OTHER[key]}
        idle.pop(only.other)
        idle |= without(key, only.other)
        with pytest.raises(RecipeError, match=rf"{re.escape(key)}: it acts only with .*{re.escape(only.other)}"):
            parse_recipe(text(kind, idle))


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_is_said_to_act_only_with_another_is_in_the_table(kind):
    said = {key for key, sentence in fields(KINDS[kind]) if re.match(r"`[^`]+` only\b", sentence)}
    assert said - {"split.by"} <= ONLY.keys()  # that is only meant for some data


def test_every_key_of_the_table_is_a_key_of_some_recipe():
    assert ONLY.keys() == OTHER.keys() == {key for _, key in CASES}
