"""``train.batch_size: auto`` becomes a number that fits the machine, once, and stays it."""

from __future__ import annotations

import importlib
import shutil

import pytest

import medloom
from medloom import pipeline
from medloom.errors import DiskFullError, NoMemoryError, RecipeError
from medloom.events import Noted
from medloom.files import read_json
from medloom.pipeline.forecast import Forecast, memory_warning
from medloom.pipeline.sizing import sized, sized_alike
from medloom.recipe import parse_recipe
from medloom.training import sizing
from medloom.training.sizing import BatchSize

foreseeing = importlib.import_module("medloom.pipeline.forecast")  # a function of the package has the same name


@pytest.fixture
def auto(make_recipe):
    return make_recipe({"kind": "auto"}, train={"batch_size": "auto", "epochs": 1})


@pytest.fixture
def start(pictures, auto, tmp_path):
    """Run the recipe that leaves the size of a step open; returns the result and what was said."""

    def run(recipe=auto, **more):
        said: list[str] = []
        listener = [lambda event: said.append(event.text) if isinstance(event, Noted) else None]
        result = medloom.run(recipe, data=pictures, run=tmp_path / "run", workers=1, on_event=listener, **more)
        return result, said

    return run


@pytest.fixture
def finds(monkeypatch):
    """Stands for the process that takes steps: it finds each of these in turn. The real one is in a slow test."""

    def give(*images):
        found = [BatchSize(one, [(one, 10**9)], 2 * 10**9, "cpu") for one in images]
        monkeypatch.setattr(sizing, "find_batch_size", lambda *args, **more: found.pop(0))
        return found

    return give


def test_the_number_is_said_with_what_becomes_of_the_learning_rate_and_kept_whatever_the_machine_has_later(
    start, finds, auto
):
    left = finds(4, 16)
    result, said = start()
    assert pipeline.Run.open(result.folder).recipe.train.batch_size == 4
    assert read_json(result.folder / "training.json")["batch_size"] == 4
    assert read_json(result.folder / "batch_size.json")["images"] == 4
    (text,) = [text for text in said if text.startswith("train.batch_size: 4 images in a step")]
    assert "which take 1.0 GB of memory, 75% of what is there are 2.0 GB" in text
    assert text.endswith("train.optimizer.lr stays 0.001: it is not scaled with the size of a step")
    _, said = start()
    assert any(text.startswith("finished; nothing to do") for text in said)
    longer = auto.model_copy(update={"train": auto.train.model_copy(update={"epochs": 2})})
    result, _ = start(longer)
    assert pipeline.Run.open(result.folder).recipe.train.batch_size == 4
    assert read_json(result.folder / "training.json")["epochs"] == 2
    assert len(left) == 1
    with pytest.raises(RecipeError, match=r"train\.batch_size: is 8, was 4 when training began"):
        start(longer, settings=["train.batch_size=8"])


@pytest.mark.slow
def test_folds_have_one_number(start, finds, make_recipe):
    finds(4)
    folds = {"train": {"batch_size": "auto", "epochs": 1}, "split": {"folds": 2}}
    result, _ = start(make_recipe({"kind": "auto"}, **folds))
    sizes = [pipeline.Run.open(result.folder / f"fold-{number}").recipe.train.batch_size for number in range(2)]
    assert sizes == [4, 4]
    assert pipeline.Run.open(result.folder).recipe.train.batch_size == 4


def test_a_fold_that_comes_later_takes_the_number_of_those_before(tmp_path, auto):
    runs = [pipeline.Run(tmp_path / str(number), auto) for number in range(3)]
    assert [one.recipe.train.batch_size for one in sized_alike(runs)] == ["auto"] * 3
    runs[1] = runs[1].with_batch_size(8)
    assert [one.recipe.train.batch_size for one in sized_alike(runs)] == [8, 8, 8]


def test_a_recipe_with_a_number_is_left_alone(tmp_path, make_recipe):
    run = pipeline.Run(tmp_path, make_recipe())
    assert sized(run) is run


def test_several_processes_and_words_other_than_auto_are_refused():
    with pytest.raises(RecipeError, match=r"batch_size: expected a number with several train\.devices"):
        parse_recipe("name: x", ["train.batch_size=auto", "train.devices=2"])
    with pytest.raises(RecipeError, match=r"train\.batch_size: expected a whole number of at least 1 or auto"):
        parse_recipe("name: x", ["train.batch_size=much"])


def test_a_disk_without_room_for_the_training_is_said_with_what_it_needs(tmp_path):
    with pytest.raises(DiskFullError, match=r"no room for the checkpoints.* It needs 1,000,000,000,000,000 bytes"):
        pipeline.check_room(tmp_path, 10**15)


def test_a_forecast_says_memory_of_machine_and_gpu_and_the_disk():
    found = Forecast(
        epochs=2, epoch_s=10.0, start_s=0.0, rest_s=5.0, memory_bytes=10**9, device="cuda", gpu_bytes=3 * 10**9,
        store_bytes=2 * 10**8, disk_bytes=5 * 10**7, micro_batch=4, runs=3,
    )  # fmt: skip
    assert found.text() == (
        "forecast: about 1 min 15 s (3 times 2 epochs of 10 s, then 5 s to measure and package), 1.0 GB of memory, "
        "3.0 GB of the GPU's, 150 MB of disk beside the pixel store of 200 MB, memory is short, so 4 images at a time"
    )


def test_less_memory_than_the_forecast_takes_is_warned_of(monkeypatch):
    found = Forecast(epochs=2, epoch_s=10.0, start_s=0.0, rest_s=5.0, memory_bytes=3 * 10**9, device="cpu")
    monkeypatch.setattr(foreseeing, "reachable_bytes", lambda: 4 * 10**9)
    assert memory_warning(found) is None
    monkeypatch.setattr(foreseeing, "reachable_bytes", lambda: 2 * 10**9)
    assert memory_warning(found).startswith("about 3.0 GB of memory will be needed and 2.0 GB are there, so the system")


@pytest.mark.slow
def test_real_steps_say_how_many_images_fit(start, tmp_path):
    result, _ = start()
    found = read_json(result.folder / "batch_size.json")
    sizes = [size for size, _ in found["tried"]]
    assert sizes == [size for size in (2, 4) if 30 % size != 1][: len(sizes)]  # at least eight steps in an epoch
    assert found["images"] == pipeline.Run.open(result.folder).recipe.train.batch_size == sizes[-1]
    assert all(10**7 < peak <= found["limit_bytes"] for _, peak in found["tried"])
    run = pipeline.Run(tmp_path / "run", parse_recipe((result.folder / "recipe.yaml").read_text()))
    shutil.rmtree(result.folder / "checkpoints")
    with pytest.raises(NoMemoryError, match="out of memory in a step with 2 images at a time"):
        sized(run.with_batch_size("auto"), trainings=10**9)
