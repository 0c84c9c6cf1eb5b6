"""How long a run takes is said before it begins, fits the time that is given, and changes nothing of the training."""

from __future__ import annotations

import pytest

import medloom
from medloom import pipeline
from medloom.errors import NonFiniteLossError, RecipeError, UserError
from medloom.events import Noted
from medloom.files import read_json
from medloom.pipeline.forecast import Forecast, fit_budget, read_budget
from medloom.pipeline.starting import loaded_recipe
from medloom.recipe import load_recipe

FORECAST = Forecast(epochs=30, epoch_s=10.0, start_s=5.0, rest_s=20.0, memory_bytes=10**9, device="cpu")


@pytest.fixture
def start(pictures, make_recipe, tmp_path):
    """Run the recipe for pictures; returns the result and what was said."""

    def run(name="run", **more):
        said: list[str] = []
        recipe = make_recipe({"kind": "auto"}, train={"epochs": 6})
        listener = [lambda event: said.append(event.text) if isinstance(event, Noted) else None]
        result = medloom.run(recipe, data=pictures, run=tmp_path / name, workers=1, on_event=listener, **more)
        return result, said

    return run


def test_a_sentence_says_how_long_and_how_much_memory():
    assert FORECAST.text() == (
        "forecast: about 5 min 25 s (30 epochs of 10 s, then 20 s to measure and package), 1.0 GB of memory"
    )


@pytest.mark.parametrize(("left_s", "epochs"), [(1000, 30), (200, 14), (70, 3)])
def test_so_many_epochs_as_fit_and_never_more_than_the_recipe(left_s, epochs):
    assert fit_budget(30, FORECAST, left_s) == epochs


def test_a_budget_for_less_than_a_few_epochs_is_refused_with_what_is_needed():
    with pytest.raises(RecipeError, match=r"60 s.*|1 min are left, and 3 epochs .* about 1 min 5 s; give more"):
        fit_budget(30, FORECAST, 60)


@pytest.mark.parametrize("text", ["", "soon", "-5m", "0s", "5 parsecs"])
def test_a_budget_that_is_no_time_is_refused(text):
    with pytest.raises(UserError, match="--budget: expected a time such as"):
        read_budget(text)


def test_the_forecast_is_said_and_the_training_is_as_without_it(start, pictures, make_recipe, tmp_path):
    result, said = start()
    (text,) = (text for text in said if text.startswith("forecast: "))
    known = read_json(result.folder / "forecast.json")
    assert "6 epochs" in text
    assert known["epoch_s"] > 0
    assert known["memory_bytes"] > 10**7
    recipe = make_recipe({"kind": "auto"}, train={"epochs": 6})
    by_stages = pipeline.Run.start(recipe, tmp_path / "stages")
    pipeline.prepare(by_stages, pictures, workers=1)
    pipeline.train(pipeline.Run.open(by_stages.folder))
    assert history(by_stages.folder) == history(result.folder)


def history(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [line.partition('"seconds"')[0] for line in lines]


def test_a_run_in_a_budget_keeps_its_epochs_when_it_is_repeated(start, monkeypatch):
    monkeypatch.setattr("medloom.pipeline.whole.fit_budget", lambda epochs, found, left_s: 3)
    result, said = start(budget_s=60)
    assert "train.epochs: 3 instead of 6, which fit the budget" in said
    assert len(history(result.folder)) == 3
    again, said = start(budget_s=60)
    assert again.folder == result.folder
    assert len(history(result.folder)) == 3
    assert not any("forecast" in text for text in said)


def test_presets_change_how_much_work_there_is_and_settings_win(start):
    quick, _ = start(name="quick", preset="quick", settings=["evaluate.views=2"])
    recipe = pipeline.Run.open(quick.folder).recipe
    assert (recipe.train.epochs, recipe.evaluate.views) == (5, 2)
    with pytest.raises(RecipeError, match="there is no preset 'fast'"):
        start(name="fast", preset="fast")


def test_a_network_that_takes_metadata_has_a_forecast(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDLOOM_CACHE", str(tmp_path / "cache"))
    small = [
        "data.phantom.patients=20",
        "data.phantom.prevalence=0.4",
        "data.phantom.size=48",
        "preprocess.size=[32,32]",
        "preprocess.crop=[24,24]",
    ]
    recipe = load_recipe("melanoma", [*small, "model.name=perceptron", "train.compile=false", "train.device=cpu"])
    run = pipeline.Run.start(recipe, tmp_path / "run")
    pipeline.prepare(run, pipeline.resolve_images(recipe), workers=1)
    found = pipeline.forecast(pipeline.Run.open(run.folder))
    assert found is not None
    assert found.epoch_s > 0


@pytest.mark.parametrize("text", ["30ms", "3 months", "2 moons", "1 sol"])
def test_a_word_that_only_begins_as_a_unit_is_none(text):
    with pytest.raises(UserError, match="--budget: expected a time such as"):
        read_budget(text)


def test_a_budget_that_nothing_would_keep_to_is_refused(start):
    with pytest.raises(UserError, match=r"--budget: how fast several processes .* set train.devices=1"):
        start(budget_s=600, settings=["train.devices=2"])


def test_what_goes_wrong_in_the_steps_of_the_forecast_is_said_as_in_the_training(start):
    with pytest.raises(NonFiniteLossError, match=r"step \d"):
        start(settings=["train.optimizer.lr=1e38"])


def test_a_preset_of_folds_names_the_keys_of_the_split_that_it_would_replace():
    with pytest.raises(RecipeError, match=r"--preset best .* the recipe has split.train and split.test"):
        loaded_recipe("brain-mri", ["split.train=0.8", "split.validation=0.1", "split.test=0.1"], "best")
