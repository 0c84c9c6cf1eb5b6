"""Whatever is done to a run and its images, nobody is tested who was trained on, as its files alone show."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medloom import pipeline, training
from medloom.data import preparation
from medloom.errors import UserError
from medloom.files import write_bytes
from medloom.imaging import encode_png
from medloom.pipeline import Run, fold_runs
from medloom.pipeline.stages import prepare as prepare_stage
from medloom.pipeline.stages import train as train_stage
from medloom.training import TrainResult

FOLDS = 3

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("prepare"), st.integers(0, FOLDS - 1)),
        st.tuples(st.just("train"), st.integers(0, FOLDS - 1)),
        st.tuples(st.just("add"), st.integers(1, 4)),
        st.tuples(st.just("seed"), st.integers(0, 2)),
        st.tuples(st.just("keep"), st.integers(0, 1)),
    ),
    min_size=3,
    max_size=9,
)


@dataclass
class Work:
    """A set of images that grows, a recipe that changes, and who was shown to each network."""

    place: Path
    folds: bool
    hold_out: float = 0.0
    people: int = 0
    split: dict[str, object] = field(default_factory=dict)
    shown: dict[Path, set[str]] = field(default_factory=dict)

    def add(self, count: int) -> None:
        """Add people; their names sort before those who are there, so that every pseudonym becomes another."""
        for number in range(self.people, self.people + count):
            for picture in range(2):
                path = self.place / "set" / "pictures" / f"z{999 - number}_{picture}.png"
                write_bytes(path, encode_png(pd.Series([number, picture, 7, 9], dtype="uint8").to_numpy()[None]))
        self.people += count
        names = [f"z{999 - number}" for number in range(self.people)]
        rows = [f"{name}_{one},{place % 2},{name}" for place, name in enumerate(names) for one in range(2)]
        write_bytes(self.place / "set" / "labels.csv", "\n".join(["image,level,who", *rows]).encode())

    def recipe(self):
        plain = {
            "name": "test",
            "target": {"kind": "binary", "classes": ["0", "1"]},
            "data": {"layout": "csv", "labels": {"patient": "who"}},
            "preprocess": {"size": [16, 16]},
            "split": {**self.split, **({"folds": FOLDS, "hold_out": self.hold_out} if self.folds else {})},
        }
        (self.place / "recipe.yaml").write_text(yaml.safe_dump(plain))
        return self.place / "recipe.yaml"

    def runs(self) -> list[Path]:
        folder = self.place / "run"
        return [folder / f"fold-{number}" for number in range(FOLDS)] if self.folds else [folder]

    def prepare(self, number: int) -> None:
        images = self.place / "set"
        with pipeline.started_run(self.recipe(), self.place / "run", images=images, command="prepare") as (run, where):
            folds = fold_runs(run)
            # As `run` does it: in their order, and none that has been trained.
            chosen = folds[: number + 1] if folds else [run]
            for one in chosen:
                prepare_stage.prepare(one, where, workers=1)
            if folds:
                run.save()

    def train(self, number: int) -> None:
        folder = self.runs()[number % len(self.runs())]
        if (folder / "recipe.yaml").is_file():
            train_stage.train(Run.open(folder))

    def step(self, name: str, value: int) -> None:
        if name in ("seed", "keep"):
            self.split[name] = bool(value) if name == "keep" else value
        else:
            getattr(self, name)(value)


def person(image: str) -> str:
    return image.rpartition("/")[2].partition("_")[0]


@pytest.fixture
def quick(monkeypatch):
    """No pictures, no pages, and a network that only remembers who was shown to it."""
    monkeypatch.setattr(preparation, "describe", lambda *a, **k: {})
    monkeypatch.setattr(prepare_stage, "write_data_report", lambda folder: folder)
    monkeypatch.setattr(prepare_stage, "_preview", lambda recipe: None)
    current: list[Work] = []

    def remember(recipe, catalogue, store, run_dir, **options):
        rows = catalogue[catalogue["split"] == "train"]
        current[-1].shown.setdefault(run_dir, set()).update(map(person, rows["image"]))
        write_bytes(run_dir / "checkpoints" / "last.safetensors", b"weights")
        (run_dir / "training.json").write_text(json.dumps({"finished": False}))
        return TrainResult(1, 0.5, "loss", 1, finished=False)

    monkeypatch.setattr(training, "train", remember)
    return current


@settings(max_examples=2, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, folds=st.booleans(), people=st.integers(6, 12), hold_out=st.sampled_from([0.0, 0.3]))
def test_nobody_is_trained_on_and_tested(quick, tmp_path_factory, steps, folds, people, hold_out):
    try_out(quick, tmp_path_factory.mktemp("work"), steps, folds, people, hold_out)


@pytest.mark.slow
@settings(max_examples=80, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, folds=st.booleans(), people=st.integers(6, 12), hold_out=st.sampled_from([0.0, 0.3]))
def test_nobody_is_trained_on_and_tested_in_many_more_ways(quick, tmp_path_factory, steps, folds, people, hold_out):
    try_out(quick, tmp_path_factory.mktemp("work"), steps, folds, people, hold_out)


@pytest.mark.parametrize(("folds", "hold_out"), [(False, 0.0), (True, 0.0), (True, 0.25)])
def test_people_who_come_after_training_change_nothing(quick, tmp_path, folds, hold_out):
    steps = [("train", 0), ("add", 4), ("prepare", 0), ("train", 0), ("prepare", 2), ("train", 2)]
    try_out(quick, tmp_path, steps, folds, 9, hold_out)


def try_out(quick, place, steps, folds, people, hold_out=0.0):
    """Do the steps, as far as they are not refused, and look after each."""
    work = Work(place, folds, hold_out)
    quick.append(work)
    work.add(people)
    work.prepare(FOLDS - 1)  # the first time nothing is refused
    for name, value in [*steps, ("prepare", FOLDS - 1), ("train", 0), ("train", 1)]:
        with contextlib.suppress(UserError):
            work.step(name, value)
        check(work)
    assert any(work.shown.values())


def check(work: Work) -> None:
    """What an outsider can see with pandas."""
    tested: list[str] = []
    held_out: set[str] = set()
    for folder in work.runs():
        if not (folder / "trained_on.csv").is_file():
            continue
        rows = pd.read_csv(folder / "catalogue.csv", dtype=str, keep_default_na=False)
        people = rows.assign(person=rows["image"].map(person)).groupby("person")["split"].agg(set)
        assert all(len(parts) == 1 for parts in people)
        assert not work.shown[folder] & set(people.index[people == {"test"}])
        trained = pd.read_csv(folder / "trained_on.csv", dtype=str, keep_default_na=False)
        assert trained[["sha256", "split"]].equals(rows[["sha256", "split"]])
        tested += people.index[people == {"test"}].tolist()
        held_out |= set(people.index[people == {"held-out"}])
    assert len(set(tested)) == len(tested)
    assert not held_out & set().union(tested, *work.shown.values())
