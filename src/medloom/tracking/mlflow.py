"""MLflow: a SQLite file beside the runs, no server; or any server by its address.

Everything goes through a client of its own: no run is active, no global address is set, and nothing is sent that MLflow
would find out by itself, such as the name of the user or the path of the program.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from medloom.extras import require
from medloom.locks import sole
from medloom.recipe.sections.tracking import TrackingConfig
from medloom.tracking.api import Known, Point, Record, State
from medloom.tracking.pyfunc import save_pyfunc
from medloom.tracking.quiet import quiet

__all__ = ["MlflowTracker", "store_beside"]

_ID, _FILES, _BUNDLE = "medloom.id", "medloom.files", "medloom.bundle"
_STATES: dict[State, str] = {"running": "RUNNING", "finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_AS_MLFLOW_SAYS = {"git.commit": "mlflow.source.git.commit"}
_PICTURES = "progress"
"""A folder whose files never change; there may be more of them than fit into a tag."""

_DIGITS = 16
_MOST = {"metrics": 900, "params": 100, "tags": 100}
"""How many of each a server takes in one request."""


def store_beside(runs: Path) -> tuple[str, Path]:
    """Return the address of the SQLite store in a folder of runs, and the folder of its files."""
    folder = runs.absolute()
    return f"sqlite:///{folder / 'mlflow.db'}", folder / "mlflow-files"


class MlflowTracker:
    """An experiment of an MLflow server, or of a SQLite file.

    Args:
        uri: Address of the server or of the database.
        experiment: Name of the experiment; it is made if it is missing.
        files: Folder for the files of an experiment that is made; None for what the server says.
        alone_in: A folder that only one process at a time opens the store in, because it may make its tables.

    Source: https://mlflow.org/docs/latest/ml/tracking/
    """

    name = "mlflow"

    def __init__(self, uri: str, experiment: str, files: Path | None = None, alone_in: Path | None = None) -> None:
        self._uri = uri
        self._experiment = experiment
        self._files = files
        self._alone_in = alone_in

    @classmethod
    def of(cls, config: TrackingConfig, folder: Path) -> Self:
        """Return the tracker of a run: by the recipe, else ``MLFLOW_TRACKING_URI``, else beside the run."""
        uri = config.mlflow.uri or os.environ.get("MLFLOW_TRACKING_URI")
        if uri:
            return cls(uri, config.mlflow.experiment)
        runs = folder.absolute().parent
        uri, files = store_beside(runs)
        return cls(uri, config.mlflow.experiment, files, runs)

    def open(self, record: Record) -> _Session:
        """Begin a run, or take up the one with this id."""
        with sole(self._alone_in) if self._alone_in else nullcontext():
            client, experiment = self.client, self._experiment_id()
        found = _find(client, experiment, record.id)
        if found is None:
            tags = {_ID: record.id, "mlflow.source.name": "medloom", "mlflow.source.type": "LOCAL"}
            if record.parent and (parent := _find(client, experiment, record.parent)):
                tags["mlflow.parentRunId"] = parent.info.run_id
            found = client.create_run(experiment, start_time=record.began_ms, tags=tags, run_name=record.name)
        return _Session(client, found, record)

    @cached_property
    def client(self) -> Any:  # noqa: ANN401 - MLflow may be missing, so its types too
        """The client; making it imports MLflow."""
        with quiet():
            return require("mlflow.tracking", "track").MlflowClient(self._uri, self._uri)

    def _experiment_id(self) -> str:
        known = self.client.get_experiment_by_name(self._experiment)
        if known is not None:
            return str(known.experiment_id)
        place = None if self._files is None else str(self._files)
        return str(self.client.create_experiment(self._experiment, artifact_location=place))


def _find(client: Any, experiment: str, identity: str) -> Any:  # noqa: ANN401
    found = client.search_runs([experiment], f"tags.`{_ID}` = '{identity}'", max_results=1)
    return found[0] if found else None


class _Session:
    """One run of MLflow."""

    def __init__(self, client: Any, run: Any, record: Record) -> None:  # noqa: ANN401
        self._client = client
        self._run = run
        self._id: str = run.info.run_id
        self._record = record
        self._sent: dict[str, str] = json.loads(run.data.tags.get(_FILES, "{}"))

    def known(self) -> Known:
        """Ask the server."""
        data = self._run.data
        history = {
            (key, one.step): one.value for key in data.metrics for one in self._client.get_metric_history(self._id, key)
        }
        states = {name: state for state, name in _STATES.items()}
        return Known(
            dict(data.params),
            dict(data.tags),
            history,
            {**self._sent, **{one.path: "" for one in self._client.list_artifacts(self._id, _PICTURES)}},
            data.tags.get(_BUNDLE),
            states.get(self._run.info.status),
        )

    def describe(self, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Log parameters and set tags."""
        entities = require("mlflow.entities", "track")
        said = {**tags, **{_AS_MLFLOW_SAYS[key]: value for key, value in tags.items() if key in _AS_MLFLOW_SAYS}}
        self._batches("params", [entities.Param(key, value) for key, value in params.items()])
        self._batches("tags", [entities.RunTag(key, value) for key, value in said.items()])

    def points(self, points: Sequence[Point]) -> None:
        """Log metrics."""
        metric = require("mlflow.entities", "track").Metric
        self._batches("metrics", [metric(one.name, one.value, one.when_ms, one.step) for one in points])

    def file(self, place: str, path: Path, sha256: str) -> None:
        """Log an artifact, and then that it is there."""
        folder = place.rpartition("/")[0]
        self._client.log_artifact(self._id, str(path), folder or None)
        if folder != _PICTURES:
            self._sent[place] = sha256[:_DIGITS]
            self._client.set_tag(self._id, _FILES, json.dumps(self._sent))

    def model(self, bundle: Path, sha256: str, name: str) -> None:
        """Log the bundle as a model and register it."""
        with tempfile.TemporaryDirectory(prefix="medloom-model-") as place:
            version = _register(self._client, self._run, bundle, sha256, name, Path(place) / "model")
        self._client.set_tag(self._id, "medloom.model_version", f"{name}/{version}")
        self._client.set_tag(self._id, _BUNDLE, sha256)

    def state(self, state: State) -> None:
        """Set the status."""
        if state == "running":
            self._client.update_run(self._id, status=_STATES[state])
        else:
            self._client.set_terminated(self._id, _STATES[state])

    def close(self) -> None:
        """Nothing is open."""

    def _batches(self, what: str, entities: list[Any]) -> None:
        most = _MOST[what]
        for start in range(0, len(entities), most):
            self._client.log_batch(self._id, **{what: entities[start : start + most]})


def _register(client: Any, run: Any, bundle: Path, sha256: str, name: str, place: Path) -> str:  # noqa: ANN401
    """Log a model of a run and make it a version of a registered model; return the version."""
    known = client.search_model_versions(f"name = '{name}' and run_id = '{run.info.run_id}'")
    for version in known:
        if version.tags.get(_BUNDLE) == sha256:
            return str(version.version)
    model = _logged(client, run, bundle, sha256, place)
    with contextlib.suppress(require("mlflow.exceptions", "track").MlflowException):  # it is there
        client.create_registered_model(name)
    made = client.create_model_version(
        name, model.artifact_location, run.info.run_id, tags={_BUNDLE: sha256}, model_id=model.model_id
    )
    return str(made.version)


def _logged(client: Any, run: Any, bundle: Path, sha256: str, place: Path) -> Any:  # noqa: ANN401
    """The logged model of a bundle; what a process left that was killed in the midst of it is gone on with."""
    experiment, run_id = run.info.experiment_id, run.info.run_id
    of_bundle = f"source_run_id = '{run_id}' AND tags.`{_BUNDLE}` = '{sha256}'"
    known = client.search_logged_models([experiment], of_bundle, max_results=1)
    model = (
        known[0]
        if known
        else client.create_logged_model(
            experiment, name="model", source_run_id=run_id, tags={_BUNDLE: sha256}, model_type="pyfunc"
        )
    )
    if str(model.status) != "READY":
        save_pyfunc(bundle, place, run_id=run_id, model=model)
        client.log_model_artifacts(model.model_id, str(place))
        client.finalize_logged_model(model.model_id, "READY")
        output = require("mlflow.entities", "track").LoggedModelOutput(model.model_id, 0)
        client.log_outputs(run_id, [output])
    return model
