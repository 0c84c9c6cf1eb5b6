"""MLflow in a store of its own: folds, models, and what is left by a process that was killed in between."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import medloom
from medloom.imaging import encode_png
from medloom.tracking import read_record, send_run
from medloom.tracking.mlflow import MlflowTracker, store_beside
from medloom.tracking.pyfunc import save_pyfunc
from support.bundles import tiny_label_recipe, write_tiny_bundle, write_tiny_label_bundle
from support.tracked import copy_store, write_run


@pytest.fixture
def tracker(tmp_path, mlflow_template):
    copy_store(mlflow_template, tmp_path / "runs")
    uri, files = store_beside(tmp_path / "runs")
    return MlflowTracker(uri, "medloom", files, tmp_path / "runs")


def runs_of(tracker):
    experiment = tracker.client.get_experiment_by_name("medloom")
    return tracker.client.search_runs([experiment.experiment_id])


def picture(seed=0):
    return encode_png(np.random.default_rng(seed).integers(0, 255, (40, 36, 3)).astype(np.uint8))


def test_folds_are_runs_within_the_run(tmp_path, tracker):
    whole = write_run(tmp_path / "runs" / "whole", finished=False)
    for number in range(2):
        write_run(whole / f"fold-{number}", finished=False)
    (whole / "metrics.jsonl").unlink()
    send_run(whole, tracker)
    send_run(whole, tracker)
    found = {run.info.run_name: run for run in runs_of(tracker)}
    assert set(found) == {"whole", "fold-0", "fold-1"}
    parents = {name: run.data.tags.get("mlflow.parentRunId") for name, run in found.items()}
    assert parents == {"whole": None, **dict.fromkeys(("fold-0", "fold-1"), found["whole"].info.run_id)}


def test_a_run_that_is_gone_on_with_is_the_same_run_with_another_state(tmp_path, tracker):
    folder = write_run(tmp_path / "runs" / "one", finished=False)
    for state, said in (("running", "RUNNING"), ("failed", "FAILED"), ("running", "RUNNING"), (None, "KILLED")):
        send_run(folder, tracker, state)
        (run,) = runs_of(tracker)
        assert run.info.status == said
    assert run.info.start_time == read_record(folder).began_ms


def test_no_user_and_no_program_is_noted(tmp_path, tracker):
    send_run(write_run(tmp_path / "runs" / "one", finished=False), tracker)
    (run,) = runs_of(tracker)
    assert run.data.tags["mlflow.source.name"] == "medloom"
    assert run.data.tags["mlflow.source.git.commit"] == "abc"
    assert "mlflow.user" not in run.data.tags


def test_a_model_whose_registration_was_cut_short_is_registered_once(tmp_path, tracker, monkeypatch):
    folder = write_run(tmp_path / "runs" / "one")
    client = tracker.client
    with monkeypatch.context() as patch:
        patch.setattr(type(client), "create_model_version", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            send_run(folder, tracker)
    send_run(folder, tracker)
    (version,) = client.search_model_versions("name = 'tiny'")
    (run,) = runs_of(tracker)
    assert (version.run_id, version.version) == (run.info.run_id, 1)
    assert len(client.search_logged_models([run.info.experiment_id])) == 1
    (output,) = run.outputs.model_outputs
    assert output.model_id in version.source
    assert run.data.tags["medloom.model_version"] == "tiny/1"


class Logged:
    """As much of a logged model as its folder is told."""

    artifact_location = "/somewhere/else"
    model_id = "m-1"


_SERVING = "_MLFLOW_IS_IN_SERVING_ENVIRONMENT"
"""By it MLflow tells whether base64 is to be decoded before a model sees it."""


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    """A bundle for masks and the MLflow model around it."""
    folder = tmp_path_factory.mktemp("masks")
    bundle = write_tiny_bundle(folder / "model.tar.gz")
    save_pyfunc(bundle, folder / "model", run_id="1", model=Logged())
    return folder / "model", bundle


def served_json(prediction):
    return json.loads(prediction.encode("application/json"))


def test_the_model_answers_as_the_bundle_does(masks):
    from mlflow import pyfunc

    place, bundle = masks
    images = [picture(1), picture(2)]
    answers = pyfunc.load_model(str(place)).predict(images)
    expected = [served_json(medloom.load(bundle).predict(image)) for image in images]
    assert [{key: value for key, value in one.items() if key != "model"} for one in answers] == expected
    assert expected[0] != expected[1]
    assert answers[0]["model"]["name"] == "tiny"


def test_the_scoring_server_decodes_what_it_is_sent_and_answers_the_same(masks, monkeypatch):
    from mlflow import pyfunc
    from mlflow.pyfunc import scoring_server
    from starlette.testclient import TestClient

    monkeypatch.setenv(_SERVING, "true")  # the server sets it for its process, and other tests are in the same one
    place, bundle = masks
    client = TestClient(scoring_server.init(pyfunc.load_model(str(place))))
    image = picture(3)
    got = client.post("/invocations", json={"inputs": [base64.b64encode(image).decode()]})
    (answer,) = got.json()["predictions"]
    answer.pop("model")
    assert answer == served_json(medloom.load(bundle).predict(image))


def test_a_model_takes_metadata_in_the_json_that_the_server_of_medloom_takes(tmp_path):
    from mlflow import pyfunc

    bundle = write_tiny_label_bundle(tmp_path / "model.tar.gz", tiny_label_recipe(metadata=True))
    save_pyfunc(bundle, tmp_path / "model", run_id="1", model=Logged())
    image = encode_png(np.full((32, 32), 90, np.uint8))
    metadata = {"age": 90, "sex": "male"}
    request = json.dumps({"image": base64.b64encode(image).decode(), "metadata": metadata}).encode()
    with_it, without = pyfunc.load_model(str(tmp_path / "model")).predict([request, image])
    predictor = medloom.load(bundle)
    expected = [predictor.predict(image, metadata=metadata), predictor.predict(image)]
    for answer in (with_it, without):
        answer.pop("model")
    assert [with_it, without] == [served_json(one) for one in expected]
    assert expected[0].scores != expected[1].scores


def test_the_model_has_a_signature_an_example_that_works_and_no_path(masks, tmp_path):
    from mlflow import pyfunc

    place, _ = masks
    said = yaml.safe_load((place / "MLmodel").read_text())
    assert json.loads(said["signature"]["inputs"]) == [{"type": "binary", "required": True}]
    model = pyfunc.load_model(str(place))
    assert len(model.predict([base64.b64decode(one) for one in model.input_example])) == 1
    texts = [path.read_text() for path in place.rglob("*") if path.suffix in ("", ".yaml", ".txt") and path.is_file()]
    assert not any(part in text for text in texts for part in (str(place), str(Path(medloom.__file__).parent)))
    assert "medloom[serve]" in (place / "requirements.txt").read_text()
    assert not list(place.rglob("*.pkl"))


def test_the_model_loads_where_nothing_for_training_is_installed(masks):
    place, _ = masks
    code = (
        "import sys\n"
        "for name in ('torch', 'lightning', 'monai', 'timm', 'matplotlib', 'onnx'): sys.modules[name] = None\n"
        "import base64\n"
        "from mlflow import pyfunc\n"
        f"model = pyfunc.load_model({str(place)!r})\n"
        "print(len(model.predict([base64.b64decode(one) for one in model.input_example])))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "1"
