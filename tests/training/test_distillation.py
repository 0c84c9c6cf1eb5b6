"""One network learns the answers of several, to the very images that it sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medloom.data.metadata import TableEncoding
from medloom.data.store import PixelStore
from medloom.events import BatchEnded, Events, Stop
from medloom.targets import IGNORED
from medloom.training import Teachers, load_best, train
from medloom.training.batches import Batch
from medloom.training.distillation import DistilledTask
from medloom.training.kinds import KINDS
from medloom.transforms.augment.mixing import mix_rows

KIND = "binary"


@pytest.fixture
def teachers(labelled, make_label_recipe, tmp_path):
    """Two networks that tell left from right."""
    runs = []
    for seed in (1, 2):
        recipe = make_label_recipe(KIND, epochs=4, seed=seed)
        train(recipe, labelled.catalogue(KIND), labelled.store, tmp_path / f"teacher-{seed}")
        runs.append(tmp_path / f"teacher-{seed}")
    return Teachers(recipe, runs, temperature=2.0)


def test_the_network_is_told_what_the_teacher_says_of_the_changed_images_and_nothing_of_ignored_pixels(make_recipe):
    recipe = make_recipe()
    kind = KINDS["masks"]
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (4, 2, 32, 32), generator=generator, dtype=torch.uint8)
    masks = torch.zeros((4, 32, 32), dtype=torch.uint8)
    masks[:, :16] = IGNORED
    rows = np.arange(4)
    batch = Batch(images, masks, torch.zeros(4, 0), torch.full((4, 2), 100.0), torch.ones(4, 2), rows, rows, 4)
    teacher = torch.nn.Conv2d(2, 1, 3, padding=1)
    seen = []

    def network(given):
        seen.append(given)
        return given[:, :1]

    augment = kind.augment(recipe)
    params = augment.sample(4, 2, (32, 32), torch.Generator().manual_seed(3))
    _, moved = kind.task(recipe, 1).learn(network, augment, batch, params)
    logits, asked = DistilledTask(kind.task(recipe, 1), teacher).learn(network, augment, batch, params)
    torch.testing.assert_close(seen[1], seen[0])
    assert not torch.equal(seen[0], (images.float() - 100.0))
    known = ~asked.isnan()
    assert torch.equal(known, moved[:, None] != IGNORED)
    torch.testing.assert_close(asked[known], teacher(seen[1])[known])
    torch.testing.assert_close(logits, seen[1][:, :1])


def test_it_answers_as_its_teachers_although_labels_say_otherwise(labelled, make_label_recipe, teachers, tmp_path):
    catalogue = labelled.catalogue(KIND)
    train_rows = (catalogue["split"] == "train").to_numpy()
    wrong = np.where(train_rows[:, None], 1 - labelled.truth(KIND), labelled.truth(KIND))
    recipe = make_label_recipe(KIND, epochs=8)
    result = train(recipe, labelled.catalogue(KIND, wrong), labelled.store, tmp_path / "one", teachers=teachers)
    assert result.best_metric > 0.9  # on validation by the truth, though every label that it trained with is wrong
    network, ensemble = load_best(tmp_path / "one", recipe), teachers.ensemble()
    store, rows = labelled.store, np.flatnonzero(~train_rows)
    shown = (torch.from_numpy(np.asarray(store.images[rows])).float() - 110.0) / 30.0
    with torch.no_grad():
        apart = (network(shown).sigmoid() - ensemble(shown)).abs().mean()
    assert apart < 0.15


def test_a_distillation_that_is_stopped_goes_on_to_the_same_bits(
    labelled, make_label_recipe, teachers, tmp_path, one_thread
):
    recipe, catalogue = make_label_recipe(KIND, epochs=2), labelled.catalogue(KIND)
    whole = train(recipe, catalogue, labelled.store, tmp_path / "whole", teachers=teachers)
    stop = Events([lambda event: Stop("enough for now") if isinstance(event, BatchEnded) else None])
    first = train(recipe, catalogue, labelled.store, tmp_path / "stopped", teachers=teachers, events=stop)
    assert not first.finished
    second = train(recipe, catalogue, labelled.store, tmp_path / "stopped", teachers=teachers)
    assert (second.finished, second.best_metric) == (True, whole.best_metric)
    one, other = (load_best(tmp_path / name, recipe).state_dict() for name in ("whole", "stopped"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_checkpoint_holds_one_network_and_no_teacher(labelled, make_label_recipe, teachers, tmp_path):
    recipe, catalogue = make_label_recipe(KIND, epochs=1), labelled.catalogue(KIND)
    train(recipe, catalogue, labelled.store, tmp_path / "alone")
    train(recipe, catalogue, labelled.store, tmp_path / "taught", teachers=teachers)
    sizes = [(tmp_path / name / "checkpoints/last.safetensors").stat().st_size for name in ("alone", "taught")]
    assert sizes[1] < 1.05 * sizes[0]


def test_pixels_that_are_neither_trained_nor_validated_on_change_nothing(
    labelled, make_label_recipe, teachers, tmp_path, monkeypatch, one_thread
):
    recipe, catalogue = make_label_recipe(KIND, epochs=1), labelled.catalogue(KIND)
    spoiled = PixelStore.open(labelled.store.path)
    images = np.array(spoiled.images)
    images[(catalogue["split"] == "test").to_numpy()] = 255
    monkeypatch.setattr(spoiled, "images", images)
    states = []
    for name, store in (("one", labelled.store), ("other", spoiled)):
        train(recipe, catalogue, store, tmp_path / name, teachers=teachers)
        states.append(load_best(tmp_path / name, recipe).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_each_teacher_is_given_metadata_as_its_own_numbers_also_of_mixed_images(labelled, make_label_recipe, tmp_path):
    plain = make_label_recipe(KIND, model={"metadata": "fused"}, epochs=1).plain()
    mixed = type(make_label_recipe(KIND)).model_validate(plain | {"augment": {"mixup": {"p": 1.0}}})
    catalogue = labelled.catalogue(KIND)
    tables = [TableEncoding.fit(labelled.meta[:first], numeric=("near", "far")) for first in (9, 30)]
    for number, table in enumerate(tables):
        train(mixed, catalogue, labelled.store, tmp_path / f"{number}", tables=table)
    teachers = Teachers(mixed, [tmp_path / "0", tmp_path / "1"], tables=tables).encoded(catalogue, labelled.store)
    kind, seen = KINDS[KIND], []

    def network(images, table):
        seen.append((images, table))
        return torch.zeros(len(images), 1)

    rows = np.array([5, 17, 40, 41])
    samples = kind.read_truth(catalogue, labelled.tables).samples(labelled.store)
    parts = (samples.images, samples.truth, samples.table, samples.offset, samples.scale)
    batch = Batch(*(torch.from_numpy(np.array(part[rows])) for part in parts), rows, np.arange(4), 4)
    params = kind.augment(mixed).sample(4, 2, (32, 32), torch.Generator().manual_seed(0))
    task = DistilledTask(kind.task(mixed, 1), teachers.ensemble(), teachers.metadata)
    _, asked = task.learn(network, kind.augment(mixed), batch, params)
    (images, own), members = seen[0], [load_best(run, mixed) for run in teachers.runs]
    numbers = [torch.from_numpy(table.encode([labelled.meta[row] for row in rows])) for table in tables]
    with torch.no_grad():
        answers = [
            member(images, mix_rows(one, params.mixing)).sigmoid() for member, one in zip(members, numbers, strict=True)
        ]
    torch.testing.assert_close(asked, torch.stack(answers).mean(0))
    torch.testing.assert_close(own, mix_rows(torch.from_numpy(labelled.metadata[rows]), params.mixing))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["multi-class", "multi-label", "regression"])
def test_every_kind_of_label_learns_from_its_teachers(labelled, make_label_recipe, tmp_path, kind):
    recipe = make_label_recipe(kind, epochs=8)
    for name, teachers in (("teacher", None), ("one", Teachers(recipe, [tmp_path / "teacher"]))):
        train(recipe, labelled.catalogue(kind), labelled.store, tmp_path / name, teachers=teachers)
    rows = np.flatnonzero((labelled.catalogue(kind)["split"] != "train").to_numpy())
    shown = (torch.from_numpy(np.asarray(labelled.store.images[rows])).float() - 110.0) / 30.0
    ensemble, network = Teachers(recipe, [tmp_path / "teacher"]).ensemble(), load_best(tmp_path / "one", recipe)
    fresh = load_best(tmp_path / "teacher", recipe)
    for layer in fresh.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    activation = {"multi-class": lambda one: one.softmax(1), "multi-label": torch.sigmoid}.get(kind, lambda one: one)
    with torch.no_grad():
        asked = ensemble(shown)
        assert (activation(network(shown)) - asked).abs().mean() < 0.5 * (activation(fresh(shown)) - asked).abs().mean()
