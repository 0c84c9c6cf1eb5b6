from __future__ import annotations

import json
import logging
import math
import multiprocessing
import re
import resource

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.optim import swa_utils

from medloom.data.store import PixelStore, StoreWriter
from medloom.errors import DataError, NonFiniteLossError, RecipeError, TrainingError, UserError
from medloom.events import BatchEnded, EpochEnded, Events, Stop, Warned
from medloom.models import kinds as models
from medloom.training import fit as fit_file
from medloom.training import load_best, precision, train
from medloom.training.averaging import Averaging, average_weight
from medloom.training.checkpoint import BEST, LAST, PREVIOUS, newest_checkpoint
from medloom.training.mask_scores import MaskScores
from medloom.training.module import total_norm
from medloom.training.precision import choose_compiling, choose_device, choose_precision, multiplies_bf16
from medloom.training.throttle import Throttle
from medloom.training.tree import read_tree
from medloom.transforms.augment import normalise

pytestmark = pytest.mark.usefixtures("one_thread")


def lines_of(run_dir) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def test_the_best_epoch_is_what_is_saved_reported_and_loaded(store, catalogue, make_recipe, tmp_path):
    recipe = make_recipe(epochs=4, averaging="ema", ema_decay=0.5)
    result = train(recipe, catalogue, store, tmp_path)
    lines = lines_of(tmp_path)
    assert result.finished
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert result.best_metric == max(line["dice_balanced"] for line in lines)
    assert lines[result.best_epoch - 1]["dice_balanced"] == result.best_metric
    assert json.loads((tmp_path / "training.json").read_text())["best_epoch"] == result.best_epoch
    rows = store.rows(catalogue.loc[catalogue["split"] == "validation", "sample_id"].tolist())
    parts = [torch.from_numpy(np.asarray(array[rows])) for array in (store.images, store.offset, store.scale)]
    scores = MaskScores(torch.device("cpu"))
    with torch.no_grad():
        scores.add(
            torch.tensor(0.0), load_best(tmp_path, recipe)(normalise(*parts)), torch.from_numpy(store.masks[rows])
        )
    assert scores.metrics()["dice_balanced"] == pytest.approx(result.best_metric, abs=1e-9)


@pytest.mark.parametrize(
    "train_settings",
    [
        {"averaging": "swa", "swa_start": 0.5, "positive_share": 0.6},
        {"optimizer": {"name": "sgd", "lr": 0.05}, "schedule": {"name": "plateau"}, "monitor": "loss", "clip": None},
        {"precision": "bf16", "schedule": {"name": "none"}},
    ],
    ids=["swa", "sgd-plateau", "bf16"],
)
def test_the_network_learns_with_every_option(store, catalogue, make_recipe, tmp_path, train_settings):
    result = train(make_recipe(epochs=6, **train_settings), catalogue, store, tmp_path)
    lines = lines_of(tmp_path)
    assert lines[-1]["train_loss"] < 0.95 * lines[0]["train_loss"]
    assert result.best_epoch >= 1


def test_pictures_are_kept_only_when_the_metric_improved(store, catalogue, make_recipe, tmp_path):
    train(make_recipe(), catalogue, store, tmp_path)
    facts = json.loads((tmp_path / "progress" / "progress.json").read_text())
    best, improved = -math.inf, []
    for line in lines_of(tmp_path):
        if line["dice_balanced"] > best:
            best = line["dice_balanced"]
            improved.append(line["epoch"])
    assert [entry["epoch"] for entry in facts["epochs"]] == improved
    with Image.open(tmp_path / "progress" / facts["epochs"][0]["file"]) as picture:
        assert picture.size == (32 * len(facts["samples"]), 32)


def test_the_library_is_silent_and_leaves_the_callers_random_numbers_alone(
    store, catalogue, make_recipe, tmp_path, capfd, caplog
):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with caplog.at_level(logging.INFO):
        train(make_recipe(epochs=1), catalogue, store, tmp_path)
    assert torch.rand(1) == expected
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_a_listener_hears_of_every_finished_epoch_with_its_line_of_metrics(store, catalogue, make_recipe, tmp_path):
    heard = []
    result = train(make_recipe(epochs=2), catalogue, store, tmp_path, events=Events([heard.append]))
    finished = [event for event in heard if isinstance(event, EpochEnded)]
    assert [(event.epoch, event.epochs) for event in finished] == [(1, 2), (2, 2)]
    assert [event.metrics for event in finished] == lines_of(tmp_path)
    assert {(event.patience, event.patience_left) for event in finished} == {(None, None)}
    assert [event.epoch for event in finished if event.best][-1] == result.best_epoch
    batches = [event for event in heard if isinstance(event, BatchEnded)]
    assert BatchEnded(1, 2, 3, 3) in batches
    assert BatchEnded(2, 2, 3, 3) in batches


def test_batches_are_told_a_few_times_a_second_and_the_last_of_an_epoch_always():
    heard = []
    throttle = Throttle(heard.append)
    for step in range(1, 1001):
        throttle(BatchEnded(1, 1, step, 1000))
    throttle(EpochEnded(1, 1, {}))
    assert heard[-2:] == [BatchEnded(1, 1, 1000, 1000), EpochEnded(1, 1, {})]
    assert len(heard) < 500


def stopping_at(wanted, reason="a dashboard's wish"):
    """A listener that asks to stop at every event that is wanted, and events with it."""
    return Events([lambda event: Stop(reason) if wanted(event) else None])


@pytest.mark.parametrize(
    ("wanted", "epochs_done"),
    [
        (lambda event: isinstance(event, BatchEnded), 0),
        (lambda event: isinstance(event, BatchEnded) and event.step == event.steps, 0),
        (lambda event: isinstance(event, EpochEnded), 1),
    ],
    ids=["in-mid-epoch", "after-the-last-step", "at-the-end-of-an-epoch"],
)
def test_a_listener_stops_the_training_and_the_reason_is_kept_until_it_goes_on(
    store, catalogue, make_recipe, tmp_path, wanted, epochs_done
):
    stopped = train(make_recipe(), catalogue, store, tmp_path, events=stopping_at(wanted))
    assert (stopped.finished, stopped.epochs_done, stopped.stop_reason) == (False, epochs_done, "a dashboard's wish")
    assert json.loads((tmp_path / "training.json").read_text())["stop_reason"] == "a dashboard's wish"
    assert newest_checkpoint(tmp_path)[1]["run"]["ledger"]["stop_reason"] == "a dashboard's wish"
    finished = train(make_recipe(), catalogue, store, tmp_path)
    assert (finished.finished, finished.stop_reason) == (True, None)
    undisturbed = train(make_recipe(), catalogue, store, tmp_path / "undisturbed")
    assert finished == undisturbed


def test_a_wish_to_stop_at_the_very_end_changes_nothing(store, catalogue, make_recipe, tmp_path):
    at_the_end = stopping_at(lambda event: isinstance(event, EpochEnded) and event.epoch == event.epochs)
    result = train(make_recipe(epochs=1), catalogue, store, tmp_path, events=at_the_end)
    assert (result.finished, result.stop_reason) == (True, None)


def test_a_listener_that_fails_is_said_once_and_harms_nothing(store, catalogue, make_recipe, tmp_path):
    heard = []

    def broken(event):
        raise OSError("the dashboard is not there")

    result = train(make_recipe(epochs=2), catalogue, store, tmp_path, events=Events([broken, heard.append]))
    assert result.finished
    assert len([event for event in heard if isinstance(event, Warned)]) == 1


def test_a_finished_run_is_not_trained_again(store, catalogue, make_recipe, tmp_path):
    first = train(make_recipe(epochs=1), catalogue, store, tmp_path)
    before = (tmp_path / LAST).read_bytes()
    assert train(make_recipe(epochs=1), catalogue, store, tmp_path) == first
    assert (tmp_path / LAST).read_bytes() == before


def test_a_run_that_stopped_early_is_finished(store, catalogue, make_recipe, tmp_path):
    frozen = {"optimizer": {"lr": 1e-12}, "early_stopping": {"patience": 1}, "monitor": "dice_all"}
    heard = []
    result = train(make_recipe(epochs=9, **frozen), catalogue, store, tmp_path, events=Events([heard.append]))
    ended = [event for event in heard if isinstance(event, EpochEnded)]
    assert [(event.patience, event.patience_left) for event in ended] == [(1, 1), (1, 0)]
    assert (result.finished, result.epochs_done) == (True, 2)
    assert train(make_recipe(epochs=9, **frozen), catalogue, store, tmp_path) == result


def test_another_recipe_is_refused_and_every_change_is_named(store, catalogue, make_recipe, tmp_path):
    train(make_recipe(epochs=1), catalogue, store, tmp_path)
    with pytest.raises(RecipeError) as caught:
        train(make_recipe(epochs=2, batch_size=4, optimizer={"lr": 0.5}), catalogue, store, tmp_path)
    assert "train.batch_size was 8, is 4" in str(caught.value)
    assert "train.optimizer.lr was 0.02, is 0.5" in str(caught.value)
    assert "epochs" not in str(caught.value)


def test_other_data_are_refused(store, catalogue, make_recipe, tmp_path):
    train(make_recipe(epochs=1), catalogue, store, tmp_path)
    catalogue.loc[0, "split"] = "test"
    with pytest.raises(DataError, match="the split or the images of the catalogue are not those"):
        train(make_recipe(epochs=2), catalogue, store, tmp_path)


@pytest.mark.parametrize(("split", "message"), [("train", "no training sample"), ("validation", "no validation")])
def test_an_empty_split_is_an_error(store, catalogue, make_recipe, tmp_path, split, message):
    catalogue.loc[catalogue["split"] == split, "split"] = "test"
    with pytest.raises(DataError, match=message):
        train(make_recipe(), catalogue, store, tmp_path)


@pytest.mark.parametrize(
    ("rest", "settings", "message"),
    [
        ("train", {"positive_share": 0.5}, "positive_share"),
        ("validation", {"monitor": "dice_foreground"}, "no validation sample"),
    ],
)
def test_wishes_that_the_data_cannot_meet_are_errors(store, catalogue, make_recipe, tmp_path, rest, settings, message):
    empty = np.asarray(store.foreground_px) == 0
    catalogue.loc[(catalogue["split"] == rest) & ~empty, "split"] = "test"
    with pytest.raises(DataError, match=message):
        train(make_recipe(**settings), catalogue, store, tmp_path)


@pytest.fixture
def poisoned(store, tmp_path) -> PixelStore:
    """The same store, but one training sample's pixels become infinite."""
    with StoreWriter(tmp_path / "poisoned", len(store), store.images.shape[1:], np.uint8) as writer:
        for row in range(len(store)):
            scale = np.full(2, np.inf, np.float32) if row == 13 else store.scale[row]
            writer.put(row, store.images[row], store.masks[row], store.offset[row], scale)
        return PixelStore.open(writer.publish("poisoned", store.sample_ids, {}))


def test_a_loss_that_is_not_finite_names_the_samples_and_leaves_the_last_good_checkpoint(
    poisoned, catalogue, make_recipe, tmp_path
):
    with pytest.raises(NonFiniteLossError) as caught:
        train(make_recipe(checkpoint_minutes=1e-9), catalogue, poisoned, tmp_path / "run")
    assert "P013-001" in caught.value.sample_ids
    assert len(caught.value.sample_ids) <= 8
    assert caught.value.step < 3
    newest = newest_checkpoint(tmp_path / "run")
    assert caught.value.checkpoint == (None if newest is None else LAST.as_posix())
    if newest is not None:
        assert all(value.isfinite().all() for value in newest[1]["state_dict"].values())


class _FiniteLossInfiniteGradient(nn.Module):
    def forward(self, logits, target):
        return (logits - logits.detach()).abs().sqrt().sum()


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(store, catalogue, make_recipe, tmp_path, monkeypatch):
    modules = []
    build = fit_file.build_module

    def keep(*args, **options):
        modules.append(build(*args, **options))
        modules.append({name: value.clone() for name, value in modules[0].state_dict().items()})
        return modules[0]

    monkeypatch.setattr(
        type(models.KINDS["masks"]), "build_loss", lambda kind, recipe, truth: _FiniteLossInfiniteGradient()
    )
    monkeypatch.setattr(fit_file, "build_module", keep)
    with pytest.raises(NonFiniteLossError, match="no checkpoint was written yet"):
        train(make_recipe(), catalogue, store, tmp_path)
    module, before = modules
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_full_disk_leaves_the_last_checkpoint_and_the_run_goes_on_when_there_is_room(
    store, catalogue, make_recipe, tmp_path
):
    steady = {"schedule": {"name": "none"}}
    train(make_recipe(epochs=1, **steady), catalogue, store, tmp_path)
    before = newest_checkpoint(tmp_path)[1]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(TrainingError, match=r"\.safetensors.*bytes"):
            train(make_recipe(epochs=2, **steady), catalogue, store, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert newest_checkpoint(tmp_path)[1]["run"] == before["run"]
    assert train(make_recipe(epochs=2, **steady), catalogue, store, tmp_path).epochs_done == 2


def test_a_damaged_last_checkpoint_costs_an_epoch_and_nothing_else(store, catalogue, make_recipe, tmp_path):
    train(make_recipe(epochs=3), catalogue, store, tmp_path)
    expected = read_tree(tmp_path / BEST)["network"], read_tree(tmp_path / LAST)["state_dict"]
    (tmp_path / LAST).write_bytes((tmp_path / LAST).read_bytes()[:-9])
    assert read_tree(tmp_path / PREVIOUS)["run"]["ledger"]["lines"][-1]["epoch"] == 2
    train(make_recipe(epochs=3), catalogue, store, tmp_path)
    for tree, path, key in zip(expected, (BEST, LAST), ("network", "state_dict"), strict=True):
        again = read_tree(tmp_path / path)[key]
        assert all(torch.equal(tree[name], again[name]) for name in tree)
    assert len(lines_of(tmp_path)) == 3


def test_best_weights_that_are_older_than_the_checkpoint_are_not_taken_for_the_best(
    store, catalogue, make_recipe, tmp_path
):
    train(make_recipe(epochs=1), catalogue, store, tmp_path)
    older = (tmp_path / BEST).read_bytes()
    result = train(make_recipe(epochs=4), catalogue, store, tmp_path)
    assert result.best_epoch > 1
    (tmp_path / PREVIOUS).unlink()
    (tmp_path / BEST).write_bytes(older)  # as where a copy was made in between
    said = f"says that epoch {result.best_epoch} is the best, and {BEST} is of epoch 1"
    with pytest.raises(TrainingError, match=re.escape(said)):
        train(make_recipe(epochs=4), catalogue, store, tmp_path)


def test_loading_the_best_of_an_untrained_or_other_network_says_so(store, catalogue, make_recipe, tmp_path):
    recipe = make_recipe(epochs=1)
    with pytest.raises(TrainingError, match="train first"):
        load_best(tmp_path, recipe)
    train(recipe, catalogue, store, tmp_path)
    wider = recipe.model_validate({**recipe.plain(), "model": {"name": "unet", "args": {"channels": [8, 16]}}})
    with pytest.raises(RecipeError, match="another network"):
        load_best(tmp_path, wider)


def test_several_classes_train_and_load(catalogue, make_recipe, tmp_path, store):
    plain = make_recipe(epochs=1).plain()
    plain["target"]["mask_values"] = {"background": 0, "oedema": 1, "core": 2}
    recipe = make_recipe().model_validate(plain)
    train(recipe, catalogue, store, tmp_path)
    assert load_best(tmp_path, recipe)(torch.zeros(1, 2, 32, 32)).shape == (1, 3, 32, 32)


def test_bf16_is_chosen_only_where_the_cpu_multiplies_it(monkeypatch):
    for flags, expected in (({"avx2": True}, "32"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda flags=flags: flags)
        assert choose_precision("auto", "cpu") == expected
        assert multiplies_bf16("cpu") is (expected == "bf16")
    assert choose_precision("bf16", "cpu") == "bf16"


def test_only_a_long_run_on_a_cpu_with_a_compiler_is_compiled(monkeypatch):
    monkeypatch.setattr(precision, "find_compiler", lambda: "/usr/bin/c++")
    assert choose_compiling("auto", "cpu", 10**10)
    assert not choose_compiling("auto", "cpu", 10**6)
    assert not choose_compiling("auto", "cuda", 10**10)
    assert choose_compiling(True, "cuda", 1)
    assert not choose_compiling(False, "cpu", 10**10)
    monkeypatch.setattr(precision, "find_compiler", lambda: None)
    assert not choose_compiling("auto", "cpu", 10**10)


@pytest.mark.parametrize("decay", [None, 0.9], ids=["mean", "exponential"])
def test_the_average_is_the_one_torch_makes_with_the_same_weights(decay):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    ours = Averaging(network, decay=decay)
    taken = []

    def combine(average, current, count):
        return average + average_weight(int(count), decay) * (current - average)

    theirs = swa_utils.AveragedModel(network, avg_fn=combine, use_buffers=True)
    for step in range(30):
        with torch.no_grad():
            network[0].weight.add_(torch.randn_like(network[0].weight))
        network(torch.randn(2, 1, 5, 5))
        taken.append(network[0].weight.detach().clone())
        ours.after_step(network, step, ends_epoch=True)
        theirs.update_parameters(network)
    for name, value in ours.best_of(network).state_dict().items():
        of = theirs.module if value.is_floating_point() else network  # counters are taken over as they are
        torch.testing.assert_close(value, of.state_dict()[name], rtol=1e-5, atol=1e-6)
    if decay is None:
        torch.testing.assert_close(ours.average[0].weight.detach(), torch.stack(taken).mean(0), rtol=1e-5, atol=1e-6)


def test_the_norm_of_the_gradients_is_torchs_to_the_last_bit():
    generator = torch.Generator().manual_seed(0)
    gradients = [torch.randn(shape, generator=generator) for shape in ((3,), (16, 3, 3, 3), (64, 32), (1,))]
    assert torch.equal(total_norm(gradients), torch.nn.utils.get_total_norm(gradients))


def test_counters_are_taken_over_into_the_average_as_they_are():
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    averaging = Averaging(network, decay=0.9)
    for _ in range(3):
        network(torch.ones(2, 1, 4, 4))
        averaging.after_step(network, 0, ends_epoch=False)
    assert int(averaging.average[1].num_batches_tracked) == 3


def test_an_average_goes_on_from_its_saved_state_to_the_same_bits():
    def steps(averaging, first, last):
        for step in range(first, last):
            network.weight.data.fill_(float(step))
            averaging.after_step(network, 0, ends_epoch=False)

    network = nn.Linear(2, 2)
    whole, first, second = (Averaging(network, decay=0.9) for _ in range(3))
    steps(whole, 0, 20)
    steps(first, 0, 7)
    second.load_state_dict(first.state_dict())
    steps(second, 7, 20)
    assert torch.equal(whole.average.weight, second.average.weight)


def test_what_the_machine_does_not_have_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    with pytest.raises(RecipeError, match=r"train\.device"):
        choose_device("cuda")
    with pytest.raises(RecipeError, match="fp16 needs a GPU"):
        choose_precision("fp16", "cpu")


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one_also_when_continued(store, catalogue, make_recipe, tmp_path):
    plain = make_recipe(schedule={"name": "none"}).plain()
    plain["loss"]["args"] = {"batch": False}  # a mean over images
    plain["augment"] = {"preset": "mri", "cutout": {"p": 0.5}, "contrast": {"p": 0.5}, "turn": {"p": 0.5}}
    plain["augment"]["noise"] = {"p": 0.0}  # each process draws its own
    plain["model"]["args"]["dropout"] = 0.0
    results = []
    for devices, epochs in ((1, 2), (2, 1), (2, 2)):
        plain["train"] |= {"devices": devices, "epochs": epochs}
        train(make_recipe().model_validate(plain), catalogue, store, tmp_path / str(devices))
        results.append([[line["train_loss"], line["val_loss"]] for line in lines_of(tmp_path / str(devices))])
    assert np.allclose(results[0], results[-1], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_two_processes_train_a_network_that_normalises_by_batches_as_one_does(store, catalogue, make_recipe, tmp_path):
    plain = make_recipe(epochs=3, batch_size=6, averaging="ema").plain()  # 22 images: the last batch is no pair
    plain["loss"]["args"] = {"batch": False}
    plain["augment"]["noise"]["p"] = 0.0
    plain["model"]["args"] |= {"dropout": 0.0, "norm": "batch"}
    # Adam would turn rounding into steps of the biases before the normalisation, which have no effect on the loss.
    plain["train"]["optimizer"] = {"name": "sgd", "lr": 0.02}
    results, weights, heard = [], [], []
    for devices in (1, 2):
        plain["train"]["devices"] = devices
        recipe, folder = make_recipe().model_validate(plain), tmp_path / str(devices)
        train(recipe, catalogue, store, folder, events=Events([heard.append]))
        results.append([[line["train_loss"], line["val_loss"]] for line in lines_of(folder)])
        weights.append(load_best(folder, recipe).state_dict())
    np.testing.assert_allclose(*results, rtol=0, atol=1e-4)
    assert any("running_var" in name for name in weights[0])
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=0, atol=1e-4)
    assert not [event for event in heard if isinstance(event, Warned)]


@pytest.mark.slow
def test_several_processes_say_that_a_loss_over_the_batch_is_not_that_of_one(store, catalogue, make_recipe, tmp_path):
    heard = []
    train(make_recipe(epochs=1, devices=2), catalogue, store, tmp_path, events=Events([heard.append]))
    (warned,) = [event.text for event in heard if isinstance(event, Warned)]
    assert "the loss dice-ce is over the batch as a whole, and each of the 2 processes" in warned


@pytest.mark.slow
def test_a_loss_that_is_not_finite_is_named_from_several_processes_too(poisoned, catalogue, make_recipe, tmp_path):
    with pytest.raises(NonFiniteLossError) as caught:
        train(make_recipe(devices=2), catalogue, poisoned, tmp_path / "run")
    assert "P013-001" in caught.value.sample_ids


@pytest.mark.slow
def test_what_several_processes_cannot_train_is_the_users_mistake_as_in_one(store, catalogue, make_recipe, tmp_path):
    empty = np.asarray(store.foreground_px) == 0
    catalogue.loc[(catalogue["split"] == "validation") & ~empty, "split"] = "test"
    with pytest.raises(UserError, match="no validation sample"):
        train(make_recipe(devices=2, monitor="dice_foreground"), catalogue, store, tmp_path)
    assert not multiprocessing.active_children()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_a_compiled_network_trains_and_its_weights_load_without_compiling(store, catalogue, make_recipe, tmp_path):
    recipe = make_recipe(epochs=1, compile=True)
    train(recipe, catalogue, store, tmp_path)
    assert load_best(tmp_path, recipe)(torch.zeros(1, 2, 32, 32)).shape == (1, 1, 32, 32)


@pytest.mark.slow
def test_a_listener_stops_several_processes_too(store, catalogue, make_recipe, tmp_path):
    wish = stopping_at(lambda event: isinstance(event, EpochEnded) and event.epoch == 1)
    result = train(make_recipe(devices=2, epochs=30), catalogue, store, tmp_path, events=wish)
    assert (result.finished, result.stop_reason) == (False, "a dashboard's wish")
    assert not multiprocessing.active_children()
