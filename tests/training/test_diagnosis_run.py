from __future__ import annotations

import json

import pytest

from medloom.events import Events, RuleFired
from medloom.training import train
from medloom.training.checkpoint import LAST
from medloom.training.tree import read_tree

pytestmark = pytest.mark.usefixtures("one_thread")


def diagnosed(recipe, **diagnose):
    return recipe.model_copy(update={"diagnose": type(recipe.diagnose).model_validate(diagnose)})


def test_it_changes_no_weight_by_a_bit(store, catalogue, make_recipe, tmp_path):
    recipe = make_recipe(epochs=2)
    train(diagnosed(recipe, every=1), catalogue, store, tmp_path / "on")
    train(diagnosed(recipe, rules="none"), catalogue, store, tmp_path / "off")
    on, off = (read_tree(tmp_path / name / LAST) for name in ("on", "off"))
    assert on["state_dict"].keys() == off["state_dict"].keys()
    for name, tensor in on["state_dict"].items():
        assert tensor.equal(off["state_dict"][name])
    assert not (tmp_path / "off" / "diagnosis.json").exists()


@pytest.mark.parametrize("kind", ["masks", "binary", "multi-class", "multi-label", "regression"])
def test_a_healthy_run_of_every_kind_of_answer_is_silent(
    store, catalogue, make_recipe, labelled, make_label_recipe, tmp_path, kind
):
    heard = []
    settings = {"epochs": 12}
    if kind == "masks":
        recipe, seen, pixels = make_recipe(**settings), catalogue, store
    else:
        recipe, seen, pixels = make_label_recipe(kind, **settings), labelled.catalogue(kind), labelled.store
    train(diagnosed(recipe, every=1), seen, pixels, tmp_path, events=Events([heard.append]))
    print((tmp_path / "metrics.jsonl").read_text())
    assert [event.sentence() for event in heard if isinstance(event, RuleFired)] == []
    rules = json.loads((tmp_path / "diagnosis.json").read_text())["rules"]
    assert min(rule["looks"] for rule in rules.values()) >= 12
