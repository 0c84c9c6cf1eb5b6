"""Fewer images at a time through the network give the step of the whole batch, asked for or because memory ran out."""

from __future__ import annotations

import json
import multiprocessing
import resource

import numpy as np
import pytest
import torch

from medloom import memory
from medloom.data.store import PixelStore
from medloom.errors import NoMemoryError, TrainingError, UserError
from medloom.events import BatchEnded, Events, Warned
from medloom.extras import find_compiler
from medloom.models.network import Network
from medloom.training import train
from medloom.training.batches import HostPixels, PlacedPixels
from medloom.training.checkpoint import BEST, LAST, newest_checkpoint
from medloom.training.micro import again_if_short, kept_bytes
from medloom.training.samples import Samples
from medloom.training.tree import read_tree

pytestmark = pytest.mark.usefixtures("one_thread")

STEADY = {"name": "unet", "args": {"channels": [4, 8], "num_res_units": 1, "dropout": 0.0}}
"""Without dropout, which draws other numbers for a piece than for a whole batch."""


def made(make_recipe, *, model=None, loss=None, augment=None, **train_settings):
    plain = make_recipe(**train_settings).plain()
    plain |= {"model": model or STEADY}
    plain |= {key: value for key, value in (("loss", loss), ("augment", augment)) if value}
    return make_recipe().model_validate(plain)


def state_of(folder):
    tree = read_tree(folder / LAST)
    moments = {place: state["momentum_buffer"] for place, state in tree["optimizer_states"][0]["state"].items()}
    return tree["state_dict"], moments, tree["run"]["ledger"]["lines"], tree["global_step"]


def assert_alike(one, other, tolerance=2e-5):
    """The same weights, average, momenta, metrics, learning rates and number of steps, up to rounding."""
    (weights, momenta, lines, steps), (others, other_momenta, other_lines, other_steps) = state_of(one), state_of(other)
    for mine, theirs in ((weights, others), (momenta, other_momenta)):
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            torch.testing.assert_close(value, theirs[name], rtol=tolerance, atol=tolerance, msg=str(name))
    assert steps == other_steps
    for line, another in zip(lines, other_lines, strict=True):
        assert line["train_loss"] == pytest.approx(another["train_loss"], abs=tolerance)
        assert line["val_loss"] == pytest.approx(another["val_loss"], abs=tolerance)
        assert line["lr"] == another["lr"]


@pytest.fixture
def scarce(monkeypatch):
    """Memory that suffices for so many images at a time; the network fails with what PyTorch's allocators say."""

    def only(images, *, after=0, error=None):
        forward, seen = Network.__call__, {"whole": 0}

        def limited(self, pictures, *further):
            if len(pictures) > images:
                seen["whole"] += 1
                if seen["whole"] > after:
                    raise error or RuntimeError(
                        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
                        "you tried to allocate 262144000 bytes. Error code 12 (Cannot allocate memory)"
                    )
            return forward(self, pictures, *further)

        monkeypatch.setattr(Network, "__call__", limited)
        return seen

    return only


# SGD: Adam turns rounding into steps of weights without effect
SGD = {"optimizer": {"name": "sgd", "lr": 0.05}, "averaging": "ema", "clip": 0.3}


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": {"name": "dice-ce", "args": {"batch": True}}, "augment": {"preset": "mri"}},
        {"loss": {"name": "dice", "args": {"batch": False}}, "precision": "bf16"},
    ],
    ids=["over the whole batch, augmented", "a mean over images, bf16"],
)
def test_micro_batches_take_the_steps_of_whole_batches(store, catalogue, make_recipe, tmp_path, settings):
    for size in (None, 3):
        recipe = made(make_recipe, micro_batch=size, epochs=2, **SGD, **settings)
        train(recipe, catalogue, store, tmp_path / str(size))
    assert_alike(tmp_path / "3", tmp_path / "None", 2e-5 if "precision" not in settings else 5e-3)


def test_a_step_that_runs_out_of_memory_is_taken_in_smaller_pieces_and_is_the_same_step(
    store, catalogue, make_recipe, tmp_path, scarce
):
    recipe = made(make_recipe, epochs=3, **SGD)
    train(recipe, catalogue, store, tmp_path / "enough")
    heard = []
    scarce(3, after=2)
    train(recipe, catalogue, store, tmp_path / "short", events=Events([heard.append]))
    assert_alike(tmp_path / "short", tmp_path / "enough")
    said = [event.text for event in heard if isinstance(event, Warned)]
    assert [text[:78] for text in said] == [
        "out of memory in training with 8 images at a time; from now on 4 at a time go ",
        "out of memory in training with 4 images at a time; from now on 2 at a time go ",
    ]
    assert json.loads((tmp_path / "short" / "training.json").read_text())["micro_batch"] == 2
    assert json.loads((tmp_path / "enough" / "training.json").read_text())["micro_batch"] is None


def test_where_a_step_would_find_no_room_it_is_weighed_first_and_never_runs_out_of_memory(
    store, catalogue, make_recipe, tmp_path, monkeypatch
):
    recipe = made(make_recipe, epochs=2, model={"name": "unet", "args": {"channels": [4, 8], "dropout": 0.1}}, **SGD)
    heard = {}
    for name, room in (("enough", None), ("plenty", 2**40), ("short", 250_000)):
        monkeypatch.setattr("medloom.training.micro.available_bytes", lambda room=room: room)
        heard[name] = []
        torch.manual_seed(0)
        train(recipe, catalogue, store, tmp_path / name, events=Events([heard[name].append]))
    said = {name: [event.text for event in events if isinstance(event, Warned)] for name, events in heard.items()}
    assert said["enough"] == said["plenty"] == []
    assert len(said["short"]) == 1
    assert said["short"][0].startswith("a step of 8 images would take about ")
    found = json.loads((tmp_path / "short" / "training.json").read_text())["micro_batch"]
    assert 1 <= found < 8
    assert newest_checkpoint(tmp_path / "short")[1]["module"]["validation_micro_batch"] == found
    assert f"from now on {found} at a time go through the network" in said["short"][0]
    train(recipe.model_validate(recipe.plain() | {"train": recipe.plain()["train"] | {"micro_batch": found}}),
          catalogue, store, tmp_path / "asked for")  # fmt: skip
    assert_alike(tmp_path / "short", tmp_path / "asked for", 0.0)  # what is weighed draws no numbers and moves no state


@pytest.mark.parametrize("normalised", [False, True])
def test_what_is_kept_for_the_way_back_grows_with_the_images_and_weights_do_not_count(normalised):
    layers = [torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 1, 1)]
    if normalised:
        layers.insert(1, torch.nn.BatchNorm2d(8))
    network = torch.nn.Sequential(*layers)
    one, four = (kept_bytes(network, network, torch.zeros(count, 1, 16, 16)) for count in (1, 4))
    pixel = 4 * 16 * 16
    assert one == pixel * (1 + 8 + 8 * normalised) + 64 * normalised  # the image, each layer's answer, two statistics
    assert four == one * 4 - 3 * 64 * normalised


def test_what_was_found_is_kept_when_the_run_goes_on(store, catalogue, make_recipe, tmp_path, scarce):
    steady = {"schedule": {"name": "none"}, **SGD}
    train(made(make_recipe, epochs=2, **steady), catalogue, store, tmp_path / "enough")
    seen = scarce(4)
    train(made(make_recipe, epochs=1, **steady), catalogue, store, tmp_path / "short")
    failed = seen["whole"]
    train(made(make_recipe, epochs=2, **steady), catalogue, store, tmp_path / "short")
    assert seen["whole"] == failed == 1
    assert_alike(tmp_path / "short", tmp_path / "enough")


def test_a_run_that_ran_out_of_memory_can_go_on_in_smaller_pieces(store, catalogue, make_recipe, tmp_path):
    train(made(make_recipe, epochs=1), catalogue, store, tmp_path)
    train(made(make_recipe, epochs=2, micro_batch=2), catalogue, store, tmp_path)
    assert newest_checkpoint(tmp_path)[1]["module"]["micro_batch"] == 2


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")]
)
def test_no_memory_for_a_single_image_says_what_to_change_and_leaves_the_checkpoint(
    store, catalogue, make_recipe, tmp_path, scarce, error
):
    steady = {"schedule": {"name": "none"}}
    train(made(make_recipe, epochs=1, **steady), catalogue, store, tmp_path)
    before = (tmp_path / LAST).read_bytes(), (tmp_path / BEST).read_bytes()
    scarce(0, error=error)
    with pytest.raises(
        NoMemoryError, match=r"with 1 image at a time.*; .* preprocess\.size, train\.batch_size"
    ) as caught:
        train(made(make_recipe, epochs=2, **steady), catalogue, store, tmp_path)
    assert caught.value.exit_code == 1
    assert ((tmp_path / LAST).read_bytes(), (tmp_path / BEST).read_bytes()) == before


def test_other_errors_of_a_step_are_not_taken_for_want_of_memory(store, catalogue, make_recipe, tmp_path, scarce):
    scarce(3, error=RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        train(made(make_recipe), catalogue, store, tmp_path)


def test_statistics_over_the_batch_are_said_to_be_of_the_pieces_and_taken_once(
    store, catalogue, make_recipe, tmp_path, scarce
):
    heard = []
    batched = {**STEADY, "args": {**STEADY["args"], "norm": "batch"}}
    scarce(4)
    recipe = made(make_recipe, model=batched, epochs=1)
    train(recipe, catalogue, store, tmp_path, events=Events([heard.append]))
    (said,) = [event.text for event in heard if isinstance(event, Warned)]
    assert "normalises by batches, and these are then the images that it sees at a time" in said
    weights = read_tree(tmp_path / LAST)["state_dict"]
    counts = {int(value) for name, value in weights.items() if name.endswith("num_batches_tracked")}
    assert counts == {2 + 2 + 2}  # batches of 8, 8 and 6, each in two pieces; what failed left nothing behind


def test_validation_runs_in_fewer_images_too_and_gives_the_same_metrics(
    store, catalogue, make_recipe, tmp_path, monkeypatch
):
    recipe = made(make_recipe, epochs=1, **SGD)
    train(recipe, catalogue, store, tmp_path / "enough")
    answer = type(recipe_network(recipe)).forward

    def limited(self, pictures, *further):
        if not self.training and len(pictures) > 2:
            raise MemoryError
        return answer(self, pictures, *further)

    monkeypatch.setattr(type(recipe_network(recipe)), "forward", limited)
    monkeypatch.setattr("medloom.training.masks.MaskPictures.draw", lambda *args: np.zeros((8, 8, 3), np.uint8))
    train(recipe, catalogue, store, tmp_path / "short")
    assert_alike(tmp_path / "short", tmp_path / "enough")
    assert json.loads((tmp_path / "short" / "training.json").read_text())["validation_micro_batch"] == 2


def recipe_network(recipe):
    from medloom.models.kinds import build_network

    return build_network(recipe, 2, 0)


def test_images_that_are_mixed_with_each_other_are_so_in_pieces_too(labelled, make_label_recipe, tmp_path):
    for size in (None, 2):
        plain = make_label_recipe(micro_batch=size, epochs=2, optimizer={"name": "sgd", "lr": 0.05}).plain()
        plain["augment"] |= {"mixup": {"p": 0.5}, "cutmix": {"p": 0.5}}
        plain["model"]["dropout"] = 0.0
        recipe = make_label_recipe().model_validate(plain)
        train(recipe, labelled.catalogue(), labelled.store, tmp_path / str(size))
    assert_alike(tmp_path / "2", tmp_path / "None")


def test_pixels_leave_the_device_before_a_batch_is_divided(store):
    table = np.zeros((len(store), 0), np.float32)
    samples = Samples(store.images, store.masks, table, store.offset, store.scale, np.zeros(len(store), bool))
    pixels = PlacedPixels(samples, torch.device("cpu"))
    rows, before = np.arange(3), pixels.take(np.arange(3))
    pixels._place = object()  # stands for a store on a GPU
    assert pixels.release()
    assert isinstance(pixels._place, HostPixels)
    assert all(torch.equal(one, other) for one, other in zip(before, pixels.take(rows), strict=True))
    assert not pixels.release()


def _train_within(machine, limit, recipe, catalogue, store_path, folder):
    """Train in this process, on a machine that has so many bytes left, or under a limit of so many more than it has."""
    torch.set_num_threads(1)
    if machine is not None:
        total = memory._status_bytes("VmRSS") + machine
        memory._of_machine = lambda: max(0, total - memory._status_bytes("VmRSS"))
    if limit is not None:
        most = memory._status_bytes("VmData") + limit
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    heard, said = [], ""
    try:
        train(recipe, catalogue, PixelStore.open(store_path), folder, events=Events([heard.append]))
    except NoMemoryError as error:
        said = str(error)
    warned = [event.text for event in heard if isinstance(event, Warned) and "memory" in event.text]
    folder.with_suffix(".json").write_text(json.dumps([warned, said]))


def test_something_small_is_done_once_more_when_memory_was_given_back():
    failures = [MemoryError(), RuntimeError("could not create a primitive")]

    def short():
        if failures:
            raise failures.pop()
        return 7

    with pytest.raises(MemoryError):
        again_if_short(short)
    failures = [MemoryError()]
    assert again_if_short(short) == 7


def test_what_a_forecast_came_down_to_is_where_the_training_begins(store, catalogue, make_recipe, tmp_path, scarce):
    seen = scarce(4)
    train(made(make_recipe, epochs=1), catalogue, store, tmp_path, micro_batch=4)
    assert seen["whole"] == 0
    assert json.loads((tmp_path / "training.json").read_text())["micro_batch"] == 4


@pytest.mark.slow
def test_where_memory_is_short_the_real_steps_are_those_with_enough_or_it_is_said_what_to_change(
    store, catalogue, make_recipe, tmp_path
):
    wide = {"name": "unet", "args": {"channels": [96, 192], "num_res_units": 2, "dropout": 0.0}}
    recipe = made(make_recipe, model=wide, epochs=2, batch_size=22, **SGD)
    context = multiprocessing.get_context("spawn")
    found = {}
    for name, machine, limit in (("enough", None, None), ("short", 90 * 2**20, None), ("none", None, 12 * 2**20)):
        arguments = (machine, limit, recipe, catalogue, store.path, tmp_path / name)
        child = context.Process(target=_train_within, args=arguments)
        child.start()
        child.join()
        assert child.exitcode == 0, name
        found[name] = json.loads((tmp_path / f"{name}.json").read_text())
    assert found["enough"] == [[], ""]
    warned, failed = found["short"]
    assert not failed
    assert warned[0].startswith("a step of 22 images would take about ")  # it is weighed, and never runs out
    assert "from now on 11 at a time go through the network" in warned[0]
    assert_alike(tmp_path / "short", tmp_path / "enough", 5e-5)
    assert json.loads((tmp_path / "short" / "training.json").read_text())["micro_batch"] <= 11
    assert "out of memory in training" in found["none"][1]


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one_in_pieces_too(store, catalogue, make_recipe, tmp_path):
    settings = {"loss": {"name": "dice-ce", "args": {"batch": False}}, "augment": {"preset": "none"}, **SGD}
    for devices, size in ((1, None), (2, 2)):
        recipe = made(make_recipe, devices=devices, micro_batch=size, epochs=2, **settings)
        train(recipe, catalogue, store, tmp_path / str(devices))
    assert_alike(tmp_path / "2", tmp_path / "1")


@pytest.mark.slow
def test_what_several_processes_cannot_do_in_pieces_is_said(store, catalogue, make_recipe, tmp_path):
    batched = {**STEADY, "args": {**STEADY["args"], "norm": "batch"}}
    recipe = made(make_recipe, model=batched, devices=2, micro_batch=2)
    with pytest.raises(
        UserError, match=r"train\.micro_batch: expected empty with several train\.devices and a network"
    ):
        train(recipe, catalogue, store, tmp_path)


@pytest.mark.slow
def test_a_training_process_that_the_system_killed_is_said_to_be(store, catalogue, make_recipe, tmp_path):
    def kill(event):
        if isinstance(event, BatchEnded):
            multiprocessing.active_children()[0].kill()

    with pytest.raises(TrainingError, match=r"a training process was killed by signal 9 \(SIGKILL\), most likely"):
        train(made(make_recipe, devices=2, epochs=50), catalogue, store, tmp_path, events=Events([kill]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_a_compiled_network_takes_the_same_steps_in_pieces(store, catalogue, make_recipe, tmp_path):
    if find_compiler() is None:
        pytest.skip("there is no C++ compiler")
    for compiled in (True, False):
        recipe = made(make_recipe, compile=compiled, micro_batch=4, epochs=2, **SGD)
        train(recipe, catalogue, store, tmp_path / str(compiled))
    assert_alike(tmp_path / "True", tmp_path / "False", 2e-4)
