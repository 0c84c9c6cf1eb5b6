"""What SageMaker says of an endpoint, as arguments of ``medloom serve``."""

from __future__ import annotations

import json
import urllib.request

import numpy as np
import pytest

from medloom.container.__main__ import main
from medloom.container.serving import serve_arguments
from medloom.imaging import encode_png
from medloom.packaging.archive import extract
from support.bundles import write_tiny_bundle
from support.transform_job import posted, served_container


def test_an_endpoint_is_served_at_8080_to_everyone_who_reaches_the_container():
    said = serve_arguments({})
    assert said == ["serve", "/opt/ml/model", "--host", "0.0.0.0", "--port", "8080", "--insecure"]


def test_several_models_are_loaded_on_request_into_one_process():
    said = serve_arguments({"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_MODEL_SERVER_WORKERS": "4"})
    assert said[:3] == ["serve", "--model-folder", "/opt/ml/models"]
    assert "--processes" not in said


def test_a_batch_transform_says_how_large_a_body_may_be_and_waits_longer():
    said = serve_arguments({"SAGEMAKER_BATCH": "True", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "50"})
    assert said[-5:] == ["--refuse-in-records", "--max-body", "50", "--timeout", "590"]
    assert "--refuse-in-records" not in serve_arguments({"SAGEMAKER_BATCH": "false"})


def test_processes_and_timeouts_of_awss_own_servers_are_ours():
    said = serve_arguments({"SAGEMAKER_MODEL_SERVER_WORKERS": "2", "SAGEMAKER_MODEL_SERVER_TIMEOUT": "20"})
    assert said[-4:] == ["--timeout", "20", "--processes", "2"]


def test_a_variable_that_is_no_number_is_said(monkeypatch, capsys):
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "http")
    assert main(["serve"]) == 2
    assert "SAGEMAKER_BIND_TO_PORT: expected a whole number; got 'http'" in capsys.readouterr().err


def test_other_words_are_the_medloom_command(capsys):
    assert main(["recipes"]) == 0
    assert "brain-mri" in capsys.readouterr().out


def asked(url, body=None, method=None, **headers):
    request = urllib.request.Request(url, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status, answer.read()


@pytest.mark.slow
def test_the_entry_point_answers_an_endpoint_and_several_models_behind_one(tmp_path):
    write_tiny_bundle(tmp_path / "model.tar.gz")
    image = encode_png(np.zeros((32, 32, 3), np.uint8))
    for place in ("model", "models/0a1b/model"):
        (tmp_path / place).mkdir(parents=True)
        extract(tmp_path / "model.tar.gz", tmp_path / place)
    with served_container(tmp_path) as url:
        assert asked(f"{url}/ping")[0] == 200
        alone = asked(f"{url}/invocations", image, **{"Content-Type": "image/png"})
    with served_container(tmp_path, SAGEMAKER_MULTI_MODEL="true") as url:
        load = {"model_name": "0a1b", "url": str(tmp_path / "models" / "0a1b" / "model")}
        assert asked(f"{url}/models", json.dumps(load).encode(), **{"Content-Type": "application/json"})[0] == 200
        assert asked(f"{url}/models/0a1b/invoke", image, **{"Content-Type": "image/png"}) == alone
        assert asked(f"{url}/models/0a1b", method="DELETE")[0] == 200


@pytest.mark.slow
@pytest.mark.parametrize("spelling", ["true", "True"])
def test_in_a_batch_transform_what_is_wrong_with_an_image_is_its_answer(tmp_path, spelling):
    write_tiny_bundle(tmp_path / "model.tar.gz")
    extract(tmp_path / "model.tar.gz", tmp_path / "model")
    image = encode_png(np.zeros((32, 32, 3), np.uint8))
    with served_container(tmp_path, SAGEMAKER_BATCH=spelling, SAGEMAKER_MAX_PAYLOAD_IN_MB="1") as url:
        assert posted(url, image, "image/png")[0] == 200
        for body, declared, status, code in (
            (b"no image", "application/octet-stream", 415, "unsupported"),
            (image[:60], "application/octet-stream", 400, "truncated"),
            (b"", "application/octet-stream", 400, "empty"),
            (image, "image/tiff", 415, "mismatch"),
            (bytes(2**20 + 1), "application/octet-stream", 413, "too_large"),
            (b"{", "application/json", 400, "bad_json"),
            (encode_png(np.zeros((32, 32), np.uint8)), "image/png", 422, "wrong_input"),
        ):
            answered, kind, said = posted(url, body, declared)
            assert (answered, kind) == (200, "application/problem+json"), said
            found = json.loads(said)
            assert (found["refused"], found["status"], found["code"]) == (True, status, code)
        assert posted(url, image, "image/png", "text/html")[0] == 406  # of the job, not of the image
        assert posted(url, image, "text/plain")[0] == 415
