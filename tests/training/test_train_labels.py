"""Labels of whole images: what is learned, saved, reported and refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, log_loss, mean_squared_error, roc_auc_score

from medloom.errors import DataError, RecipeError, TrainingError
from medloom.events import BatchEnded, Events, Stop
from medloom.models import kinds as models
from medloom.models.image_losses import LabelsLoss, build_label_loss
from medloom.models.labels import BINARY
from medloom.targets import LABELS as KINDS
from medloom.training import fit as fit_file
from medloom.training import load_best, train
from medloom.training.label_scores import LabelScores, rank_each
from medloom.transforms.augment import normalise

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def learn(labelled, tmp_path):
    """Train on the labels; returns the result and the lines of the metrics."""

    def run(recipe, catalogue=None, tables=None, folder="run"):
        catalogue = labelled.catalogue(recipe.target.kind) if catalogue is None else catalogue
        tables = tables or (labelled.tables if recipe.model.metadata != "none" else None)
        result = train(recipe, catalogue, labelled.store, tmp_path / folder, tables=tables)
        lines = (tmp_path / folder / "metrics.jsonl").read_text().splitlines()
        return result, [json.loads(line) for line in lines]

    return run


def validated(labelled, recipe, run_dir) -> tuple[np.ndarray, np.ndarray]:
    """Logits of the loaded best network on the validation samples, and their labels."""
    rows = np.flatnonzero(labelled.catalogue()["split"] == "validation")
    store, metadata = labelled.store, torch.from_numpy(labelled.metadata[rows])
    parts = [torch.from_numpy(np.asarray(array[rows])) for array in (store.images, store.offset, store.scale)]
    with torch.no_grad():
        logits = load_best(run_dir, recipe)(normalise(*parts), metadata)
    return logits.numpy().astype(float), labelled.truth(recipe.target.kind)[rows]


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("binary", {"name": "test_efficientnet", "metadata": "fused", "dropout": 0.2}),
        ("binary", {"metadata": "only"}),
        ("multi-class", {}),
        ("multi-label", {}),
    ],
    ids=["binary-fused", "binary-table-only", "multi-class", "multi-label"],
)
def test_the_best_epoch_is_saved_reported_and_loaded_with_the_metrics_of_scikit_learn(
    labelled, learn, make_label_recipe, tmp_path, kind, model
):
    recipe = make_label_recipe(kind, model=model, epochs=4, averaging="ema", ema_decay=0.5)
    result, lines = learn(recipe)
    assert result.best_metric == max(line["auc"] for line in lines)
    best = lines[result.best_epoch - 1]
    assert best["auc"] == result.best_metric
    facts = json.loads((tmp_path / "run" / "training.json").read_text())
    assert (facts["best_epoch"], facts["best_metric"], facts["monitor"]) == (best["epoch"], best["auc"], "auc")
    logits, truth = validated(labelled, recipe, tmp_path / "run")
    if kind == "multi-class":
        truth = np.eye(3)[truth[:, 0].astype(int)]
        logits = torch.from_numpy(logits).softmax(dim=1).numpy()
    assert best["auc"] == pytest.approx(roc_auc_score(truth, logits), abs=1e-9)
    assert best["average_precision"] == pytest.approx(average_precision_score(truth, logits), abs=1e-9)
    decided = np.eye(3)[logits.argmax(axis=1)] if kind == "multi-class" else logits >= 0
    average = "binary" if kind == "binary" else "macro"
    assert best["f1"] == pytest.approx(f1_score(truth, decided, average=average, zero_division=0), abs=1e-9)
    accuracy = (truth == decided).all(axis=1).mean() if kind == "multi-class" else (truth == decided).mean()
    assert best["accuracy"] == pytest.approx(accuracy, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_label_is_learned(labelled, learn, make_label_recipe, tmp_path, kind):
    recipe = make_label_recipe(kind, epochs=8)
    result, lines = learn(recipe)
    assert lines[-1]["train_loss"] < 0.8 * lines[0]["train_loss"]
    logits, truth = validated(labelled, recipe, tmp_path / "run")
    if kind == "regression":
        rows = np.flatnonzero(labelled.catalogue()["split"] == "train")
        deviation = labelled.truth(kind)[rows].std(axis=0)
        assert result.best_metric == pytest.approx(mean_squared_error(truth / deviation, logits / deviation), rel=1e-5)
        assert mean_squared_error(truth, logits) < 0.7 * truth.var()
    else:
        assert result.best_metric > 0.85


MIXED = {"flip": {"p": 0.0}, "mixup": {"p": 0.3}, "cutmix": {"p": 0.3}}


@pytest.mark.parametrize("loss", ["cross-entropy", "focal"])
@pytest.mark.parametrize("kind", ["binary", "multi-class", "multi-label"])
def test_mixed_images_teach_every_kind_of_class_and_the_run_goes_on_to_the_same_bits(
    labelled, learn, make_label_recipe, tmp_path, kind, loss
):
    plain = make_label_recipe(kind, loss={"name": loss}, epochs=8).plain()
    recipe = type(make_label_recipe(kind)).model_validate(plain | {"augment": MIXED})
    result, lines = learn(recipe)
    assert result.best_metric > 0.8
    assert lines[-1]["val_loss"] < lines[-1]["train_loss"], "what is mixed is harder than what is not"
    stopped = Events([lambda event: Stop("enough for now") if isinstance(event, BatchEnded) else None])
    for events in (stopped, None):
        train(recipe, labelled.catalogue(kind), labelled.store, tmp_path / "stopped", events=events)
    one, other = (load_best(tmp_path / name, recipe).state_dict() for name in ("run", "stopped"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("model", [{}, {"metadata": "only"}], ids=["perceptron", "table"])
def test_numbers_are_learned_alike_in_whatever_unit_they_come(labelled, learn, make_label_recipe, tmp_path, model):
    recipe = make_label_recipe("regression", model=model, epochs=4)
    found = []
    for name, factor, shift in (("plain", 1.0, 0.0), ("large", 4096.0, 100_000.0)):
        labels = labelled.truth("regression") * factor + shift
        learn(recipe, labelled.catalogue(labels=labels), folder=name)
        answers, _ = validated(labelled, recipe, tmp_path / name)
        found.append((answers - shift) / factor)
    np.testing.assert_allclose(found[1], found[0], atol=1e-3)


def test_the_loss_of_validation_is_the_mean_over_images_whatever_the_batches_are(learn, make_label_recipe):
    found = [
        learn(make_label_recipe(epochs=1, validation_batch_size=size), folder=str(size))[1][0]["val_loss"]
        for size in (4, 21)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_a_table_alone_learns_nothing_from_the_pictures(labelled, learn, make_label_recipe, tmp_path):
    recipe = make_label_recipe(model={"metadata": "only"}, epochs=2)
    learn(recipe)
    network = load_best(tmp_path / "run", recipe)
    table = torch.from_numpy(labelled.metadata[:5])
    assert torch.equal(network(torch.zeros(5, 2, 32, 32), table), network(torch.ones(5, 2, 32, 32), table))


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_the_backbone_learns_at_its_own_rate_under_every_schedule(learn, make_label_recipe, monkeypatch, schedule):
    seen = []
    original = fit_file.TaskModule.optimizer_step

    def look(module, *args, **options):
        seen.append([group["lr"] for group in module.trainer.optimizers[0].param_groups])
        return original(module, *args, **options)

    monkeypatch.setattr(fit_file.TaskModule, "optimizer_step", look)
    model = {"name": "test_efficientnet", "backbone_rate": 0.1}
    _, lines = learn(make_label_recipe(model=model, schedule={"name": schedule}))
    head, backbone = np.array(seen).T
    np.testing.assert_allclose(backbone, 0.1 * head)
    assert [line["lr"] for line in lines] == list(head[4::5])


def test_a_frozen_backbone_stays_as_it_was_until_its_blocks_are_thawed(learn, make_label_recipe, tmp_path, monkeypatch):
    weights = []
    original = fit_file.TaskModule.on_train_batch_start

    def look(module, *args):
        original(module, *args)
        state = module.network.backbone.state_dict()
        weights.append({name: value.clone() for name, value in state.items()})

    monkeypatch.setattr(fit_file.TaskModule, "on_train_batch_start", look)
    model = {"name": "test_efficientnet", "unfreeze_every": 1, "tune": "blocks", "blocks": 1}
    learn(make_label_recipe(model=model, epochs=2))
    before, thawing, after = weights[0], weights[5], weights[9]
    assert all(torch.equal(before[name], thawing[name]) for name in before)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any(name.startswith(("conv_stem", "blocks.0")) for name in changed)


def test_class_weights_are_balanced_by_the_training_samples_alone(labelled, learn, make_label_recipe, monkeypatch):
    given = []

    def listen(target, truth):
        loss, counts = BINARY.facts(target, truth)
        given.append(counts)
        return loss, counts

    monkeypatch.setitem(models.KINDS, "binary", replace(BINARY, facts=listen))
    train_rows = (labelled.catalogue()["split"] == "train").to_numpy()
    labels = labelled.truth("binary").copy()
    labels[np.flatnonzero(train_rows)[:25]] = 0
    recipe = make_label_recipe(epochs=1, loss={"name": "cross-entropy", "args": {"class_weights": "balanced"}})
    learn(recipe, labelled.catalogue(labels=labels))
    positives = int(labels[train_rows].sum())
    assert given == [[35 - positives, positives]]
    assert positives / 35 < labels.mean()


def test_labels_follow_their_samples_whatever_the_order_of_the_catalogue(labelled, learn, make_label_recipe):
    recipe = make_label_recipe(model={"metadata": "fused"}, epochs=5)
    by_part = labelled.catalogue().sort_values("split", kind="stable")
    straight, sorted_ = learn(recipe)[0], learn(recipe, by_part, folder="sorted")[0]
    assert straight.best_metric == sorted_.best_metric > 0.8


@pytest.mark.parametrize("what", ["labels", "metadata"])
def test_changed_labels_or_metadata_refuse_to_continue_the_run(labelled, learn, make_label_recipe, what):
    learn(make_label_recipe(model={"metadata": "fused"}, epochs=1))
    catalogue = labelled.catalogue()
    if what == "labels":
        catalogue.loc[7, "labels"] = json.dumps([1 - int(labelled.left[7])])
    else:
        catalogue.loc[7, "meta"] = json.dumps({"near": "17", "far": "4"})
    with pytest.raises(DataError) as caught:
        learn(make_label_recipe(model={"metadata": "fused"}, epochs=2), catalogue)
    assert caught.value.problems == ("the labels or the metadata are not those that the run began with",)


def test_another_meaning_of_the_labels_refuses_to_continue_the_run(learn, make_label_recipe):
    recipe = make_label_recipe(epochs=1)
    learn(recipe)
    plain = recipe.plain()
    plain["target"]["classes"] = ["1", "0"]
    with pytest.raises(RecipeError, match=r"target\.classes was \['0', '1'\], is \['1', '0'\]"):
        learn(recipe.model_validate(plain))


def _only(labelled, wanted, kind="binary"):
    """The catalogue with only the wanted samples left in validation."""
    rows = labelled.catalogue(kind)
    rows.loc[(rows["split"] == "validation") & ~wanted, "split"] = "test"
    return rows


@pytest.mark.parametrize("monitor", ["auc", "average_precision"])
@pytest.mark.parametrize("kept", [0, 1])
def test_ranking_validation_samples_of_one_class_is_an_error_that_says_so(
    labelled, learn, make_label_recipe, monitor, kept
):
    with pytest.raises(DataError, match=rf"train\.monitor is {monitor} and validation has one class only; take loss"):
        learn(make_label_recipe(monitor=monitor), catalogue=_only(labelled, labelled.left == kept))
    assert learn(make_label_recipe(monitor="loss"), catalogue=_only(labelled, labelled.left == kept))[0].finished


def test_validation_samples_of_two_of_three_classes_can_be_ranked(labelled, learn, make_label_recipe):
    rows = _only(labelled, labelled.left + labelled.right > 0, "multi-class")
    assert 0 <= learn(make_label_recipe("multi-class", epochs=1), catalogue=rows)[0].best_metric <= 1


def test_validation_samples_that_all_have_a_label_can_be_ranked(labelled, learn, make_label_recipe):
    rows = _only(labelled, labelled.left + labelled.right > 0, "multi-label")
    assert 0 <= learn(make_label_recipe("multi-label", epochs=1), catalogue=rows)[0].best_metric <= 1
    rows = _only(labelled, labelled.left + labelled.right > 1, "multi-label")
    with pytest.raises(DataError, match="one class only"):
        learn(make_label_recipe("multi-label"), catalogue=rows, folder="b")


def test_the_weights_of_another_network_or_table_are_refused(learn, make_label_recipe, tmp_path):
    learn(make_label_recipe(epochs=1))
    with pytest.raises(RecipeError, match="another network"):
        load_best(tmp_path / "run", make_label_recipe("multi-class"))
    with pytest.raises(TrainingError, match="train first"):
        load_best(tmp_path / "nowhere", make_label_recipe())


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_give_the_metrics_of_one_also_when_continued(labelled, learn, make_label_recipe, tmp_path, kind):
    metadata = "fused" if kind == "binary" else "none"
    found = []
    for devices, epochs in ((1, 2), (2, 1), (2, 2)):
        recipe = make_label_recipe(
            kind, model={"metadata": metadata}, devices=devices, epochs=epochs, schedule={"name": "none"}
        )
        plain = recipe.plain()
        plain["augment"]["noise"]["p"] = 0.0  # each process draws its own
        result, lines = learn(recipe.model_validate(plain), folder=str(devices))
        found.append(
            [result.best_epoch, *[[value for key, value in line.items() if key != "seconds"] for line in lines]]
        )
    assert found[0][0] == found[-1][0]
    assert np.allclose(found[0][1:], found[-1][1:], rtol=0, atol=1e-5)


def test_a_last_batch_of_one_small_image_is_said_with_what_to_do(labelled, learn, make_label_recipe):
    count = int((labelled.catalogue()["split"] == "train").sum())
    recipe = make_label_recipe(model={"name": "resnet18"}, batch_size=count - 1)
    with pytest.raises(RecipeError, match=rf"train\.batch_size: the last batch .* {count} images are trained on"):
        learn(recipe)


def test_validation_scores_of_unknown_labels_are_those_of_the_known_ones():
    rng = np.random.default_rng(0)
    logits, truth = rng.normal(size=(60, 2)), (rng.random((60, 2)) < 0.4).astype(float)
    truth[rng.random((60, 2)) < 0.3] = np.nan
    scores = LabelScores(60, 2, 2, rank_each, torch.device("cpu"))
    loss = build_label_loss("cross-entropy", "multi-label", (LabelsLoss, None))
    for rows in np.split(np.arange(60), [25, 40]):
        batch = torch.from_numpy(logits[rows]), torch.from_numpy(truth[rows])
        scores.add(loss(*batch), *batch, np.arange(len(rows)), len(rows))
    found, known = scores.metrics(), ~np.isnan(truth)
    each = [roc_auc_score(truth[told, k], logits[told, k]) for k, told in enumerate(known.T)]
    assert found["auc"] == pytest.approx(np.mean(each))
    assert found["val_loss"] == pytest.approx(log_loss(truth[known], 1 / (1 + np.exp(-logits[known]))), rel=1e-5)
