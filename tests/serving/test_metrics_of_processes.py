"""Several server processes answer Prometheus as one."""

import contextlib
import http.client
import json

import numpy as np
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from medloom.imaging import encode_png
from support.fingerprints import png, write_known_bundle
from support.server_process import serving_process

PNG = encode_png(np.zeros((16, 16, 3), np.uint8))


def _client(port):
    return http.client.HTTPConnection("127.0.0.1", port, timeout=30)


def _asked(client, method, path, body=None):
    client.request(method, path, body, {"Content-Type": "image/png"})
    answer = client.getresponse()
    return answer.status, answer.read().decode()


def _ask(port, method, path, body=None):
    with contextlib.closing(_client(port)) as client:
        return _asked(client, method, path, body)


def _samples(text):
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


@pytest.mark.slow
def test_whichever_process_is_asked_it_answers_for_all(bundle_path):
    with serving_process(bundle_path, "--processes", "2", "--log-format", "json") as server:
        for _ in range(12):
            assert _ask(server.port, "POST", "/invocations", PNG)[0] == 200
        for _ in range(500):  # a request is counted once its answer has gone out
            if "medloom_images_total" in (text := _ask(server.port, "GET", "/metrics")[1]) and " 12.0" in text:
                break
        for _ in range(6):  # each connection may be taken by either
            samples = _samples(_ask(server.port, "GET", "/metrics")[1])
            (images,) = (one.value for one in samples if one.name == "medloom_images_total")
            (models,) = (one.value for one in samples if one.name == "medloom_models_loaded")
            decoded = [
                one.value
                for one in samples
                if one.name == "medloom_stage_duration_seconds_count" and one.labels["stage"] == "decode"
            ]
            assert (images, models, sum(decoded)) == (12, 1, 12)
            assert not [one for one in samples if "pid" in one.labels]
    lines = [json.loads(line) for line in server.lines if line.startswith("{")]
    assert sum(line.get("route") == "/invocations" for line in lines) == 12


@pytest.mark.slow
def test_connections_that_stay_and_the_figures_of_drift_are_those_of_all_processes(tmp_path):
    bundle = write_known_bundle(tmp_path / "model.tar.gz")
    with serving_process(bundle, "--processes", "2", "--log-format", "none") as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contextlib.closing(_client(server.port))) for _ in range(8)]
        for client in clients:
            assert _asked(client, "GET", "/ping")[0] == 200
        parts = [
            len(one.net_connections()) - 1 for one in psutil.Process(server.process.pid).children() if _serves(one)
        ]
        assert sorted(parts) == [4, 4]
        for number, client in enumerate(clients * 3):
            assert _asked(client, "POST", "/invocations", png(900 + number))[0] == 200
        found = [json.loads(_asked(client, "GET", "/")[1])["drift"] for client in clients]
        assert found[0]["images"] == 24
        assert found[0]["stability"]
        assert found == [found[0]] * 8
        for client in clients:
            samples = _samples(_asked(client, "GET", "/metrics")[1])
            (images,) = (one.value for one in samples if one.name == "medloom_drift_window_images")
            (distance,) = (one.value for one in samples if one.name == "medloom_drift_embedding_distance")
            assert (images, distance) == (24, pytest.approx(found[0]["embedding_distance"]))


def _serves(process):
    return "serve" in process.cmdline()
