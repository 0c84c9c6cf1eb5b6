"""What every tracker does: MLflow in its own store, the others with a stand-in for the library that reads them back."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

from medloom.errors import MissingExtraError
from medloom.files import sha256_file, write_text
from medloom.recipe import load_recipe
from medloom.registry import TRACKERS
from medloom.tracking import build_trackers, check_trackers, read_record, send_run
from support.tracked import PERSON, add_epochs, copy_store, finish, write_run


class Mlflow:
    """Reads back what MLflow's own client finds."""

    def __init__(self, folder: Path, template: Path) -> None:
        self.folder = folder
        copy_store(template, folder.parent)

    @property
    def client(self) -> Any:
        from mlflow.tracking import MlflowClient

        return MlflowClient(f"sqlite:///{self.folder.parent / 'mlflow.db'}")

    @property
    def run(self) -> Any:
        experiment = self.client.get_experiment_by_name("medloom")
        (run,) = self.client.search_runs([experiment.experiment_id])
        return run

    def params(self) -> dict[str, str]:
        return self.run.data.params

    def tags(self) -> dict[str, str]:
        return self.run.data.tags

    def points(self, name: str) -> list[tuple[int, float]]:
        return [(one.step, one.value) for one in self.client.get_metric_history(self.run.info.run_id, name)]

    def pictures(self) -> int:
        return len(self.client.list_artifacts(self.run.info.run_id, "progress"))

    def bundles(self) -> list[str]:
        found = self.client.search_model_versions("name = 'tiny'")
        return [sha256_file(Path(one.source) / "artifacts" / "model.tar.gz") for one in found]

    def state(self) -> str:
        return {"FINISHED": "finished", "KILLED": "stopped", "FAILED": "failed"}[self.run.info.status]


class Wandb:
    """Stands for the library of W&B, as far as it is called."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.config: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.artifacts: list[tuple[str, str, list[str]]] = []
        self.code: int | None = None
        self.settings: dict[str, Any] = {}
        module: Any = ModuleType("wandb")
        module.Settings = lambda **settings: settings
        module.Image = lambda path, caption: ("picture", Path(path).name)
        module.Html = lambda text, inject: ("page", text)
        module.Artifact = self._artifact
        module.init = self._init
        patch.setitem(sys.modules, "wandb", module)
        patch.setattr("medloom.tracking.choosing.find_spec", lambda name: module)

    def _init(self, **settings: Any) -> Any:
        self.settings = settings
        config = SimpleNamespace(update=lambda values, allow_val_change: self.config.update(values))
        return SimpleNamespace(
            config=config, summary=self.summary, log=self.rows.append, log_artifact=self.artifacts.append,
            define_metric=lambda *_, **__: None, finish=self._finish,
        )  # fmt: skip

    def _artifact(self, name: str, type: str) -> Any:
        files: list[str] = []

        class Artifact(tuple):
            def add_file(self, path: str, name: str) -> None:
                files.append(sha256_file(Path(path)))

        return Artifact((name, type, files))

    def _finish(self, exit_code: int) -> None:
        self.code = exit_code

    def params(self) -> dict[str, str]:
        return {key: value for key, value in self.config.items() if not key.startswith("about.")}

    def tags(self) -> dict[str, str]:
        return {key.removeprefix("about."): value for key, value in self.config.items() if key.startswith("about.")}

    def points(self, name: str) -> list[tuple[int, float]]:
        logged = [(row["epoch"], row[name]) for row in self.rows if name in row]
        return logged or ([(2, self.summary[name])] if name in self.summary else [])

    def pictures(self) -> int:
        return sum(row.get("predictions", ("",))[0] == "picture" for row in self.rows)

    def bundles(self) -> list[str]:
        return [files[0] for _, kind, files in self.artifacts if kind == "model"]

    def state(self) -> str:
        return {0: "finished", 1: "failed"}[self.code or 0]


class Tensorboard:
    """Stands for TensorBoard's package: events are kept as they are made."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.events: list[Any] = []
        made = SimpleNamespace
        writer = made(EventFileWriter=lambda place: made(add_event=self.events.append, flush=_nothing, close=_nothing))
        summary = made(Summary=_Summary, SummaryMetadata=_Metadata)
        shapes = made(TensorShapeProto=_Shape)
        modules = {
            "tensorboard.summary.writer.event_file_writer": writer,
            "tensorboard.compat.proto.event_pb2": made(Event=made),
            "tensorboard.compat.proto.summary_pb2": summary,
            "tensorboard.compat.proto.tensor_pb2": made(TensorProto=made),
            "tensorboard.compat.proto.tensor_shape_pb2": shapes,
        }
        patch.setattr("medloom.tracking.tensorboard.require", lambda name, extra: modules[name])
        patch.setattr("medloom.tracking.choosing.find_spec", lambda name: made)

    def _values(self, tag: str) -> list[tuple[int, Any]]:
        found = [(event.step, event.summary.value[0]) for event in self.events]
        return [(step, value) for step, value in found if value.tag == tag]

    def _table(self, tag: str) -> dict[str, str]:
        lines = [line for _, value in self._values(tag) for line in value.tensor.string_val[0].decode().splitlines()]
        cells = ([cell.strip() for cell in line[1:-1].split("|")] for line in lines if line.startswith("| "))
        return dict(cells)

    def params(self) -> dict[str, str]:
        return self._table("parameters")

    def tags(self) -> dict[str, str]:
        return self._table("tags")

    def points(self, name: str) -> list[tuple[int, float]]:
        return [(step, value.simple_value) for step, value in self._values(name)]

    def pictures(self) -> int:
        return len(self._values("predictions"))

    def bundles(self) -> list[str]:
        return [value.tensor.string_val[0].decode().rpartition(" ")[2] for _, value in self._values("bundle")]

    def state(self) -> None:
        return None


class _Summary(SimpleNamespace):
    Value = SimpleNamespace
    Image = SimpleNamespace


class _Metadata(SimpleNamespace):
    PluginData = SimpleNamespace


class _Shape(SimpleNamespace):
    Dim = SimpleNamespace


def _nothing() -> None:
    return None


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / "one"


@pytest.fixture(params=["mlflow", "wandb", "tensorboard"])
def there(request, folder, monkeypatch):
    """A tracker as its user sees it, and how it is asked for."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if request.param == "mlflow":
        found: Any = Mlflow(folder, request.getfixturevalue("mlflow_template"))
    else:
        found = {"wandb": Wandb, "tensorboard": Tensorboard}[request.param](folder, monkeypatch)
    found.name = request.param
    return found


def send(there, folder):
    """As a command of its own does it: nothing is left from the time before."""
    recipe = load_recipe("brain-mri", [f"tracking=[{there.name}]"])
    (tracker,) = build_trackers(recipe, folder)
    return send_run(folder, tracker)


def test_a_run_arrives_whole_once_and_what_comes_later_is_added(there, folder):
    write_run(folder, finished=False)
    send(there, folder)
    assert there.points("train_loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert there.points("best/dice_balanced") == [(1, 0.25), (2, 0.75)]
    assert there.pictures() == 2
    assert there.bundles() == []
    assert there.state() in ("stopped", None, "finished")
    assert there.params()["train.optimizer.lr"] == "0.001"
    assert there.tags()["git.commit"] == "abc"

    add_epochs(folder, (0.9,), first=4)
    finish(folder)
    longer = yaml.safe_load((folder / "recipe.yaml").read_text())
    longer["train"]["epochs"] = 4
    write_text(folder / "recipe.yaml", yaml.safe_dump(longer))
    first, again = send(there, folder), send(there, folder)
    assert first.points > 0
    assert (again.points, again.files) == (0, 0)
    assert there.points("train_loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.25)]
    assert there.points("best/dice_balanced") == [(1, 0.25), (2, 0.75), (4, 0.9)]
    assert there.points("test/dice_foreground") == [(2, 0.5)]
    assert there.pictures() == 3
    assert there.bundles() == [sha256_file(folder / "model.tar.gz")]
    assert there.state() in ("finished", None)
    assert there.params()["train.epochs"] in ("3", "4")
    assert there.tags()["changed"] == "train.epochs: 3 -> 4"


def test_what_a_tracker_keeps_names_nobody(there, folder, tmp_path):
    write_run(folder)
    send(there, folder)
    kept = [path for path in (tmp_path / "runs").rglob("*") if path.is_file() and folder not in path.parents]
    assert kept or there.name == "wandb"
    said = json.dumps([there.params(), there.tags()]).encode() + b"".join(path.read_bytes() for path in kept)
    assert PERSON.encode() not in said
    assert b"/home" not in said
    assert str(tmp_path) not in json.dumps([there.params(), there.tags()])


def test_wandb_is_told_to_find_out_nothing_by_itself(folder, monkeypatch):
    there: Any = Wandb(folder, monkeypatch)
    there.name = "wandb"
    write_run(folder)
    send(there, folder)
    assert (there.settings["mode"], there.settings["id"]) == ("offline", read_record(folder).id)
    quiet = there.settings["settings"]
    assert quiet["console"] == "off"
    assert all(quiet[name] for name in ("disable_git", "disable_code", "x_disable_meta", "x_disable_stats", "silent"))


def test_a_tracker_whose_library_is_missing_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr("medloom.tracking.choosing.find_spec", lambda name: None)
    for name, entry in TRACKERS.items():
        with pytest.raises(MissingExtraError) as error:
            check_trackers([name])
        assert f"pip install 'medloom[{entry.traits['extra']}]'" in str(error.value)
