"""Several server processes answer Prometheus as one."""

import http.client
import json

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from medloom.imaging import encode_png
from support.server_process import serving_process

PNG = encode_png(np.zeros((16, 16, 3), np.uint8))


def _ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": "image/png"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


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
