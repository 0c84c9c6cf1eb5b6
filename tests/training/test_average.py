"""A training by workers, processes of their own: as one process trains, through faults and kills."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from medloom.errors import NonFiniteLossError, RecipeError
from medloom.events import BatchEnded, Events, Stop, Warned
from medloom.models.image_losses import ClassesLoss, LabelsLoss
from medloom.models.losses import build_mask_loss
from medloom.recipe import MasksRecipe
from medloom.reports.averaged import averaged_warnings
from medloom.rounds.coordinator import RoundError
from medloom.targets import IGNORED
from medloom.training import train
from medloom.training.average.equality import is_additive, unequal_texts
from medloom.training.checkpoint import LAST
from medloom.training.fit import build_data, build_module
from medloom.training.loop import plan_job
from medloom.training.tree import read_tree

AVERAGE = {"strategy": "average"}
SMOOTH = {"optimizer": {"name": "sgd", "lr": 0.02}}
"""Gradient descent does not turn rounding into steps, as Adam does with weights that have no effect."""


def additive(recipe: MasksRecipe) -> MasksRecipe:
    plain = recipe.plain()
    plain["loss"]["args"] = {"batch": False}
    plain["augment"]["noise"] = {"p": 0.5, "std": 0.1}
    return MasksRecipe.model_validate(plain)


def weights_of(run_dir) -> dict[str, torch.Tensor]:
    tree = read_tree(run_dir / LAST)["state_dict"]
    return {name: value for name, value in tree.items() if value.is_floating_point()}


def furthest(one, other) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def facts_of(run_dir) -> dict:
    return json.loads((run_dir / "training.json").read_text())["average"]


class Heard(list):
    """What a training said; with ``act`` called at each batch."""

    def __init__(self, act=lambda batch: None):
        super().__init__()
        self.act, self.batches = act, 0

    def __call__(self, event):
        self.append(event)
        if isinstance(event, BatchEnded):
            self.batches += 1
            return self.act(self.batches)
        return None

    @property
    def warned(self):
        return [event.text for event in self if isinstance(event, Warned)]


def test_workers_train_as_one_process_does_and_leave_nothing_behind(tmp_path, store, catalogue, make_recipe):
    heard = Heard()
    train(additive(make_recipe(**SMOOTH)), catalogue, store, tmp_path / "one")
    recipe = additive(make_recipe(**SMOOTH, **AVERAGE, average={"workers": 3}))
    result = train(recipe, catalogue, store, tmp_path / "three", events=Events([heard]))
    assert result.finished
    assert heard.warned == []
    assert furthest(weights_of(tmp_path / "one"), weights_of(tmp_path / "three")) < 1e-5
    texts = [(tmp_path / run / "metrics.jsonl").read_text() for run in ("one", "three")]
    lines = [[json.loads(line) for line in text.splitlines()] for text in texts]
    for one, three in zip(*lines, strict=True):
        assert three["train_loss"] == pytest.approx(one["train_loss"], abs=1e-5)
        assert three["val_loss"] == pytest.approx(one["val_loss"], abs=1e-5)
    facts = facts_of(tmp_path / "three")
    assert (facts["workers"], facts["rounds"], facts["orders"], facts["again"]) == (3, 9, 27, 0)
    assert (facts["refused"], facts["short"], facts["unequal"]) == ({}, [], [])
    assert not (tmp_path / "three" / "rounds").exists()
    assert multiprocessing.active_children() == []


def test_workers_on_labels_of_which_some_are_unknown_count_them_as_one_process_does(
    tmp_path, labelled, make_label_recipe
):
    truth = labelled.truth("multi-label").astype(float)
    truth[::3, 1] = np.nan
    catalogue = labelled.catalogue("multi-label", truth)
    for name, more in (("one", {}), ("two", {**AVERAGE, "average": {"workers": 2, "of": "weights"}})):
        recipe = make_label_recipe("multi-label", **SMOOTH, clip=None, **more)
        recipe = type(recipe).model_validate({**recipe.plain(), "augment": {"mixup": {"p": 0.5}}})
        train(recipe, catalogue, labelled.store, tmp_path / name)
    assert furthest(weights_of(tmp_path / "one"), weights_of(tmp_path / "two")) < 1e-5
    assert facts_of(tmp_path / "two")["unequal"] == []


def test_workers_that_are_killed_change_nothing(tmp_path, store, catalogue, make_recipe):
    def kill(batch):
        if batch % 3 == 1:
            for child in multiprocessing.active_children():
                os.kill(child.pid, signal.SIGKILL)

    recipe = additive(make_recipe(**AVERAGE))
    train(recipe, catalogue, store, tmp_path / "calm")
    train(recipe, catalogue, store, tmp_path / "wild", events=Events([Heard(kill)]))
    assert furthest(weights_of(tmp_path / "calm"), weights_of(tmp_path / "wild")) == 0.0


def test_a_training_that_is_asked_to_stop_goes_on_to_the_same_bits(tmp_path, store, catalogue, make_recipe):
    recipe = additive(make_recipe(**AVERAGE, average={"of": "weights", "every": 2}))
    stops = Heard(lambda batch: Stop("enough") if batch == 3 else None)
    train(recipe, catalogue, store, tmp_path / "whole")
    assert not train(recipe, catalogue, store, tmp_path / "parts", events=Events([stops])).finished
    assert multiprocessing.active_children() == []
    assert train(recipe, catalogue, store, tmp_path / "parts").finished
    assert furthest(weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts")) == 0.0
    assert facts_of(tmp_path / "parts") == facts_of(tmp_path / "whole")
    assert facts_of(tmp_path / "parts")["rounds"] == 6


def test_a_loss_that_is_not_finite_names_the_samples_of_its_shard(tmp_path, store, catalogue, make_recipe):
    recipe = make_recipe(**AVERAGE, optimizer={"name": "sgd", "lr": 1e30}, clip=None, average={"attempts": 1})
    with pytest.raises(NonFiniteLossError) as caught:
        train(recipe, catalogue, store, tmp_path)
    assert 3 <= len(caught.value.sample_ids) <= 4


def test_what_no_worker_can_do_ends_the_training_with_its_reason(tmp_path, labelled, make_label_recipe):
    recipe = make_label_recipe(**AVERAGE, model={"name": "test_resnet"}, batch_size=2)
    recipe = type(recipe).model_validate({**recipe.plain(), "preprocess": {"size": [32, 32], "crop": [16, 16]}})
    with pytest.raises(RoundError, match=r"in 1 attempt.*fewer workers or a larger train\.batch_size"):
        train(recipe, labelled.catalogue(), labelled.store, tmp_path)


def fired(module) -> list[str]:
    """The words by which each reason is known that a training is not that of whole batches."""
    words = {
        "divides by": "adaptive",
        "averaged every 2 steps": "every",
        "train.clip=1": "clip",
        "normalises by batches": "norms",
        "do not add up": "loss",
        "quorum=0.9": "quorum",
    }
    texts = unequal_texts(*module)
    return [next(word for text, word in words.items() if text in said) for said in texts]


@pytest.mark.parametrize(
    ("expected", "train", "more"),
    [
        ([], {}, {"loss": {"args": {"batch": False}}}),
        ([], {"average": {"of": "weights"}, "clip": None, **SMOOTH}, {"loss": {"args": {"batch": False}}}),
        (["adaptive"], {"average": {"of": "weights"}, "clip": None}, {"loss": {"args": {"batch": False}}}),
        (
            ["every"],
            {"average": {"of": "weights", "every": 2}, "clip": None, **SMOOTH},
            {"loss": {"args": {"batch": False}}},
        ),
        (["clip"], {"average": {"of": "weights"}, **SMOOTH}, {"loss": {"args": {"batch": False}}}),
        (
            ["norms"],
            {},
            {"loss": {"args": {"batch": False}}, "model": {"name": "smp-unet", "encoder": "resnet18", "args": {}}},
        ),
        (["loss"], {}, {}),
        (["quorum"], {"average": {"quorum": 0.9}}, {"loss": {"args": {"batch": False}}}),
        ([], {"average": {"workers": 1}}, {}),
    ],
)
def test_what_makes_it_another_training_is_named_before_it_starts(
    store, catalogue, tmp_path, make_recipe, expected, train, more
):
    plain = make_recipe(**AVERAGE, **train).plain()
    recipe = MasksRecipe.model_validate({**plain, **more})
    job = plan_job(recipe, catalogue, store, tmp_path)
    data = build_data(job, store)
    assert fired((recipe, build_module(recipe, data, "32"), data)) == expected


def test_frozen_statistics_are_no_reason(labelled, tmp_path, make_label_recipe):
    found = []
    for frozen in (False, True):
        recipe = make_label_recipe(**AVERAGE, model={"name": "test_resnet", "freeze_statistics": frozen})
        job = plan_job(recipe, labelled.catalogue(), labelled.store, tmp_path)
        data = build_data(job, labelled.store)
        found.append(fired((recipe, build_module(recipe, data, "32"), data)))
    assert found == [["norms"], []]


MASKS = np.random.default_rng(0).integers(0, 3, (6, 8, 8))
PARTLY = np.where(np.arange(8) < np.arange(1, 7)[:, None, None], MASKS, IGNORED)


@pytest.mark.parametrize("ignores", [False, True])
@pytest.mark.parametrize("name", ["dice", "dice-ce", "dice-focal", "tversky", "focal-tversky"])
def test_only_a_mean_over_images_adds_up(name, ignores):
    truth = PARTLY if ignores else MASKS
    for batch in (False, True):
        loss = build_mask_loss(name, 3, {"batch": batch}, ignores=ignores)
        assert is_additive(loss, truth.astype(np.uint8), 3) is not batch


def test_unknown_labels_add_up_by_their_number():
    labels = np.array([[1, 0], [0, np.nan], [np.nan, np.nan], [1, 1], [np.nan, 0]], np.float32)
    for kind in (LabelsLoss(), LabelsLoss([1.0, 3.0], gamma=2.0)):
        assert is_additive(kind, labels, 2)
    assert is_additive(ClassesLoss([1.0, 2.0, 5.0]), np.array([[0], [np.nan], [2], [1], [1]], np.float32), 3)


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"devices": 2}, "devices: expected 1"),
        ({"batch_size": "auto"}, "batch_size: expected a number"),
        ({"precision": "fp16"}, "precision: expected auto, 32 or bf16"),
        ({"micro_batch": 2}, "train.micro_batch: it acts only with train.strategy=single"),
        ({"average": {"every": 2}}, "train.average.every: it acts only with train.average.of=weights"),
        ({"average": {"quorum": 0}}, "quorum"),
        ({"average": {"wait": 300}}, "wait"),
    ],
)
def test_settings_that_do_not_belong_together_are_refused(make_recipe, train, said):
    with pytest.raises((ValidationError, RecipeError), match=said):
        make_recipe(**AVERAGE, **train)


@pytest.mark.slow  # it waits for a lease, which must be longer than a worker takes to start
def test_a_quorum_is_kept_in_the_run(tmp_path, store, catalogue, make_recipe):
    """The first worker of each step is stopped, so that it is late each time."""

    def stop(batch):
        if batch == 2:
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGSTOP)

    heard = Heard(stop)
    recipe = additive(make_recipe(**AVERAGE, average={"quorum": 0.5, "lease": 20}, epochs=1))
    assert train(recipe, catalogue, store, tmp_path, events=Events([heard])).finished
    facts = facts_of(tmp_path)
    assert (facts["shorts"], facts["quorum"]) == (1, 0.5)
    assert facts["short"] == [{"round": 2, "samples": 6, "present": 3}]
    assert any("quorum=0.5" in text for text in heard.warned)
    assert any("1 of 3 training steps went on without some" in text for text in averaged_warnings({"average": facts}))
