"""Trainings that are watched: what is found in them, and that nothing else is different."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medloom.errors import NonFiniteLossError, RecipeError, UserError
from medloom.events import BatchEnded, Events, RuleFired, Stop, Warned
from medloom.training import train
from medloom.training.checkpoint import LAST
from medloom.training.diagnosis.hooks import HOOKS, hooked
from medloom.training.tree import read_tree

pytestmark = pytest.mark.usefixtures("one_thread")


def diagnosed(recipe, **diagnose):
    return recipe.model_copy(update={"diagnose": type(recipe.diagnose).model_validate({"every": 1, **diagnose})})


def facts_of(folder) -> dict:
    return json.loads((folder / "diagnosis.json").read_text())


@pytest.fixture
def watch(labelled, make_label_recipe, tmp_path):
    """Train on labels and return the result, what was said, and what was written."""

    def go(folder="run", *, kind="binary", labels=None, events=(), diagnose=None, **settings):
        recipe = diagnosed(make_label_recipe(kind, **{"epochs": 4, **settings}), **(diagnose or {}))
        heard = []
        catalogue = labelled.catalogue(kind, labels)
        result = train(recipe, catalogue, labelled.store, tmp_path / folder, events=Events([heard.append, *events]))
        return result, [event for event in heard if isinstance(event, (RuleFired, Warned))], facts_of(tmp_path / folder)

    return go


def test_it_changes_no_weight_by_a_bit(store, catalogue, make_recipe, tmp_path):
    recipe = make_recipe(epochs=2)
    train(diagnosed(recipe), catalogue, store, tmp_path / "on")
    train(diagnosed(recipe, rules="none"), catalogue, store, tmp_path / "off")
    on, off = (read_tree(tmp_path / name / LAST)["state_dict"] for name in ("on", "off"))
    assert on.keys() == off.keys()
    assert all(tensor.equal(off[name]) for name, tensor in on.items())
    assert not (tmp_path / "off" / "diagnosis.json").exists()


@pytest.mark.parametrize("kind", ["masks", "binary", "multi-class", "multi-label", "regression"])
def test_a_healthy_run_of_every_kind_of_answer_is_silent(
    store, catalogue, make_recipe, labelled, make_label_recipe, tmp_path, kind
):
    heard = []
    if kind == "masks":
        recipe, seen, pixels = make_recipe(epochs=12), catalogue, store
    else:
        recipe, seen, pixels = make_label_recipe(kind, epochs=12), labelled.catalogue(kind), labelled.store
    train(diagnosed(recipe), seen, pixels, tmp_path, events=Events([heard.append]))
    assert [event.sentence() for event in heard if isinstance(event, RuleFired)] == []
    facts = facts_of(tmp_path)
    assert min(rule["looks"] for rule in facts["rules"].values()) >= 12
    assert facts["findings"] == []
    assert ("wrong-labels" in facts["rules"]) == (kind not in ("masks", "regression"))


def test_a_rate_that_is_far_too_low_is_found_and_said(watch):
    _, heard, facts = watch(optimizer={"lr": 1e-10})
    told = [event for event in heard if event.rule == "frozen-weights"]
    assert [(event.epoch, event.step, event.ends) for event in told] == [(1, 1, False)]
    (finding,) = (one for one in facts["findings"] if one["rule"] == "frozen-weights")
    assert finding["text"] == told[0].text or finding["last_epoch"] > finding["epoch"]
    assert facts["rules"]["frozen-weights"]["fired"] > 3
    assert finding["last_epoch"] <= 4


def test_a_rate_that_is_far_too_high_is_found(watch):
    _, heard, _ = watch(kind="regression", optimizer={"lr": 1.0})
    assert "learning-rate-high" in {event.rule for event in heard}


def test_labels_that_were_swapped_in_validation_are_listed_first(watch, labelled):
    labels = labelled.truth("binary").copy()
    rows = {part: np.flatnonzero(labelled.catalogue()["split"] == part) for part in ("train", "validation")}
    swapped = rows["validation"][[2, 9]]
    for row in (*swapped, rows["train"][12]):
        labels[row] = 1 - labels[row]
    _, heard, facts = watch(labels=labels, epochs=6, optimizer={"lr": 0.003})
    first = [one["sample_id"] for one in facts["suspects"][:2]]
    assert sorted(first) == sorted(labelled.store.sample_ids[row] for row in swapped)
    assert "wrong-labels" in {event.rule for event in heard}
    assert not any(sample in event.sentence() for event in heard for sample in first)


def test_action_stop_ends_the_training_with_its_reason_once(watch):
    slow = {"optimizer": {"lr": 1e-10}, "diagnose": {"action": "stop", "rules": ["frozen-weights"]}}
    stopped, heard, _ = watch(**slow)
    assert (stopped.finished, stopped.epochs_done) == (False, 0)
    assert stopped.stop_reason.startswith("frozen-weights: the weights hardly move")
    assert [event.ends for event in heard] == [True]
    finished, heard, _ = watch(**slow)
    assert (finished.finished, heard) == (True, [])


def test_a_run_that_is_stopped_and_goes_on_finds_the_same(watch):
    def stopping(event):
        return Stop("enough") if isinstance(event, BatchEnded) else None

    slow = {"optimizer": {"lr": 1e-10}, "epochs": 3}
    stopped, _, before = watch("stopped", events=[stopping], **slow)
    assert (stopped.epochs_done, len(before["samples"])) == (0, 1)
    assert watch("stopped", **slow)[2] == watch("undisturbed", **slow)[2]


def test_where_numbers_broke_is_written_down(watch, tmp_path, monkeypatch):
    monkeypatch.setattr("medloom.training.module.total_norm", lambda gradients: gradients[0].sum() * np.inf)
    with pytest.raises(NonFiniteLossError):
        watch()
    (finding,) = facts_of(tmp_path / "run")["findings"]
    assert (finding["rule"], finding["step"]) == ("non-finite", 1)


def test_a_rule_that_has_nothing_to_look_at_is_refused(watch):
    with pytest.raises(RecipeError, match="wrong-labels has nothing to look at"):
        watch(kind="regression", diagnose={"rules": ["wrong-labels"]})


HOOK = """
class Mine:
    '''Losses above a limit.'''

    def look(self, history):
        return "the loss is large" if history.moment == "epoch" and history.values("train_loss")[-1] > 0 else None

    def fired(self, finding):
        from medloom.events import Stop

        return Stop(f"as I wish: {finding.rule}") if finding.epoch == 2 else None


class Broken:
    def look(self, history):
        raise KeyError("typo")


class Nothing:
    pass
"""


def test_a_users_own_rule_is_one_of_them_and_a_broken_one_harms_nothing(watch, tmp_path):
    (tmp_path / "mine.py").write_text(HOOK)
    with hooked([f"{tmp_path}/mine.py:Mine", f"{tmp_path}/mine.py:Broken"]):
        result, heard, facts = watch(epochs=2)
    assert result.finished
    assert [(event.rule, event.epoch) for event in heard if isinstance(event, RuleFired)] == [("Mine", 1)]
    assert [event.text for event in heard if isinstance(event, Warned)] == [
        "the rule Broken failed and looks no more: KeyError: 'typo'"
    ]
    assert facts["rules"]["Mine"] == {"summary": "Losses above a limit.", "looks": 12, "fired": 2}


def test_a_users_function_is_told_of_findings_and_may_end_the_training(watch, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(HOOK.replace("epoch == 2", "rule == 'frozen-weights'"))
    monkeypatch.setenv(HOOKS, f"{tmp_path}/mine.py:Mine")
    result, _, _ = watch(optimizer={"lr": 1e-10})
    assert (result.finished, result.stop_reason) == (False, "as I wish: frozen-weights")


@pytest.mark.parametrize(
    ("name", "message"),
    [("other.py:Mine", "expected a Python file"), ("mine.py:Other", "AttributeError"), ("mine.py:Nothing", "look")],
)
def test_a_hook_that_cannot_be_one_is_refused_before_anything_is_done(tmp_path, monkeypatch, name, message):
    (tmp_path / "mine.py").write_text(HOOK)
    monkeypatch.delenv(HOOKS, raising=False)
    with pytest.raises(UserError, match=message), hooked([f"{tmp_path}/{name}"]):
        pytest.fail("it was let pass")


@pytest.mark.slow
def test_several_processes_find_what_one_finds(watch):
    slow = {"optimizer": {"lr": 1e-10}, "epochs": 2, "diagnose": {"rules": ["frozen-weights", "wrong-labels"]}}
    _, _, alone = watch("alone", **slow)
    _, heard, together = watch("together", devices=2, **slow)
    assert [event.rule for event in heard if isinstance(event, RuleFired)] == ["frozen-weights"]
    for facts in (alone, together):
        for finding in facts["findings"]:
            finding.pop("text")  # the rate is told with a digit that rounding may change
    assert together["findings"] == alone["findings"]
    assert [one["sample_id"] for one in together["suspects"]] == [one["sample_id"] for one in alone["suspects"]]
