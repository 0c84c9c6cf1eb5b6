"""What Triton's clients ask beside inference, asked by Triton's own client; and answers that are compressed."""

import gzip
import json
import shutil
import threading
import zlib
from contextlib import contextmanager

import numpy as np
import pytest
import tritonclient.http as triton
import uvicorn
from tritonclient.utils import InferenceServerException

from medloom.imaging import encode_png
from medloom.serving import Models, Service, create_app
from medloom.serving.http.compression import encoding_for
from medloom.serving.http.operations import Operation, operated
from medloom.serving.http.server import listen
from medloom.serving.models import Model, Opening
from medloom.serving.repository import Repository

PNG = encode_png(np.full((24, 20, 3), 40, np.uint8))


@contextmanager
def _running(app):
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", http="httptools"))
    listener = listen(port=0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started and thread.is_alive():
        pass
    client = triton.InferenceServerClient(f"127.0.0.1:{listener.getsockname()[1]}")
    try:
        yield client
    finally:
        client.close()
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, bundle_path):
    found = tmp_path_factory.mktemp("models")
    shutil.copy(bundle_path, found / "lesions.tar.gz")
    (found / "a name with spaces.tar.gz").write_bytes(b"")
    (found / "notes.txt").write_bytes(b"")
    return found


@pytest.fixture(scope="module")
def service(served):
    with Service(Models([Model("tiny", *served)])) as found:
        yield found


@pytest.fixture(scope="module")
def client(service, folder):
    with operated(Operation(log_format="none")) as around:
        service.observers = (around.watch,)
        repository = Repository(folder, Opening(threads=1))
        app = create_app(service, middleware=around.middleware, routes=around.routes(service), repository=repository)
        with _running(app) as found:
            yield found


def _image(count=1):
    given = triton.InferInput("image", [count], "BYTES")
    given.set_data_from_numpy(np.array([PNG] * count, object))
    return given


def _states(client):
    return {one["name"]: (one["version"], one["state"]) for one in client.get_model_repository_index()}


def test_the_repository_lists_what_is_served_and_what_could_be(client):
    assert client.get_server_metadata()["extensions"] == [
        "binary_tensor_data",
        "model_repository",
        "model_configuration",
        "statistics",
    ]
    assert _states(client) == {"tiny": ("1", "READY"), "lesions": ("1", "UNAVAILABLE")}


def test_a_model_is_loaded_measured_loaded_anew_and_unloaded_by_its_name(client, service):
    client.load_model("lesions")
    assert _states(client)["lesions"] == ("1", "READY")
    first = service.models.get("lesions")
    assert client.infer("lesions", [_image()]).as_numpy("answer").shape == (1,)
    while not service.batcher.pace(first.predictor.runtime).seconds:  # whenever nobody waits
        assert client.is_server_live()
    client.load_model("lesions")
    assert service.models.get("lesions") is not first
    client.unload_model("lesions")
    assert not client.is_model_ready("lesions")
    with pytest.raises(InferenceServerException, match="no model of that name"):
        client.unload_model("lesions")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("absent", {}, "no such bundle"),
        ("..", {}, "no such bundle"),
        ("tiny", {}, "no such bundle"),
        ("lesions", {"config": "{}"}, "send no config"),
        ("lesions", {"config": "{}", "files": {"file:1/model.onnx": b"x"}}, "send no config"),
    ],
    ids=["absent", "outside", "of-the-operator", "config", "files"],
)
def test_what_cannot_be_loaded_says_why(client, name, options, said):
    with pytest.raises(InferenceServerException, match=said):
        client.load_model(name, **options)


def test_nothing_is_loaded_or_unloaded_where_the_operator_named_no_folder(service):
    with _running(create_app(service)) as alone:
        assert _states(alone) == {"tiny": ("1", "READY")}
        for change in (alone.load_model, alone.unload_model):
            with pytest.raises(InferenceServerException, match="--model-folder"):
                change("tiny")
        assert alone.is_model_ready("tiny")


def test_the_configuration_names_the_tensors_of_the_metadata(client):
    config, metadata = client.get_model_config("tiny"), client.get_model_metadata("tiny")
    assert config["max_batch_size"] == 0
    assert [one["name"] for one in config["input"]] == [one["name"] for one in metadata["inputs"]]
    assert [one["dims"] for one in config["output"]] == [one["shape"] for one in metadata["outputs"]]
    assert config["input"][0] == {"name": "image", "data_type": "TYPE_STRING", "dims": [-1]}
    with pytest.raises(InferenceServerException, match="version"):
        client.get_model_config("tiny", "7")


def test_statistics_count_images_and_tensors_by_model(client, service):
    def counted():
        (one,) = client.get_inference_statistics("tiny")["model_stats"]
        return one["inference_count"], one["inference_stats"]

    before, stats = counted()
    tensor = triton.InferInput("tensor", [2, *service.models.get("tiny").input_shape], "FP32")
    tensor.set_data_from_numpy(np.zeros(tensor.shape(), np.float32))
    client.infer("tiny", [_image(3)])
    client.infer("tiny", [tensor])
    broken = triton.InferInput("image", [1], "BYTES")
    broken.set_data_from_numpy(np.array([b"no image"], object))
    with pytest.raises(InferenceServerException):
        client.infer("tiny", [broken])
    while (found := counted())[0] < before + 5:  # a request is counted once its answer has gone out
        assert client.is_server_live()
    after = found[1]
    assert after["fail"]["count"] - stats["fail"]["count"] <= 1
    for stage in ("success", "compute_infer"):
        assert after[stage]["count"] == stats[stage]["count"] + 5
        assert after[stage]["ns"] > stats[stage]["ns"]
    (every,) = (one for one in client.get_inference_statistics()["model_stats"] if one["name"] == "tiny")
    assert 0 < every["execution_count"] <= every["inference_count"]
    assert every["last_inference"] > 1e12
    with pytest.raises(InferenceServerException, match="no model of that name"):
        client.get_inference_statistics("absent")


def test_what_clients_of_triton_could_change_and_not_here_says_so(client):
    asks = (
        (client.get_trace_settings, "--otlp-endpoint"),
        (lambda: client.update_trace_settings("tiny", {"trace_rate": "1"}), "--otlp-endpoint"),
        (client.get_log_settings, "--log-format"),
        (lambda: client.update_log_settings({"log_info": True}), "--log-format"),
        (client.get_system_shared_memory_status, "no memory of its clients"),
        (lambda: client.register_system_shared_memory("a", "/a", 8), "no memory of its clients"),
        (client.unregister_cuda_shared_memory, "no memory of its clients"),
    )
    for ask, said in asks:
        with pytest.raises(InferenceServerException, match=said):
            ask()


@pytest.mark.parametrize(
    "body", ["[", "[]", '{"ready": 1}', '{"ready": true, "ready": true}', '{"other": 1}', " " * 9000]
)
def test_a_body_that_the_repository_does_not_know_is_refused(service, make_client, body):
    answer = make_client(create_app(service)).post("/v2/repository/index", body)
    assert answer.status_code == 400
    assert "JSON object with nothing but ready" in answer.json()["error"]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_a_large_answer_in_json_is_compressed_for_a_client_that_asks(client, algorithm):
    tensor = triton.InferInput("tensor", [1, 3, 32, 32], "FP32")
    tensor.set_data_from_numpy(np.zeros((1, 3, 32, 32), np.float32))
    wanted = [triton.InferRequestedOutput("probabilities", binary_data=False)]
    plain = client.infer("tiny", [tensor], outputs=wanted)
    packed = client.infer("tiny", [tensor], outputs=wanted, response_compression_algorithm=algorithm)
    np.testing.assert_array_equal(packed.as_numpy("probabilities"), plain.as_numpy("probabilities"))
    assert packed.get_response() == plain.get_response()


def test_only_large_answers_are_compressed_and_say_that_it_depends_on_the_request(service, make_client):
    app = make_client(create_app(service))
    body = json.dumps({"inputs": [{"name": "tensor", "datatype": "FP32", "shape": [1, 3, 32, 32], "data": [0] * 3072}]})
    path, unpack = "/v2/models/tiny/infer", {"gzip": gzip.decompress, "deflate": zlib.decompress}
    plain = app.post(path, body, {"accept-encoding": "identity"})
    assert plain.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in plain.headers
    for encoding in unpack:
        packed = app.post(path, body, {"accept-encoding": encoding})
        assert (packed.headers["content-encoding"], packed.headers["vary"]) == (encoding, "Accept-Encoding")
        assert int(packed.headers["content-length"]) < len(plain.content) / 4
        assert packed.content == plain.content  # httpx unpacks it
    small = app.request("GET", "/v2", headers={"accept-encoding": "gzip"})
    assert not {"vary", "content-encoding"} & set(small.headers)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("gzip, deflate", "gzip"),
        ("deflate", "deflate"),
        ("gzip;q=0.2, deflate;q=0.8", "deflate"),
        ("gzip;q=0, *", "deflate"),
        ("*;q=0", None),
        ("br, zstd", None),
        ("identity, gzip;q=0.1", None),
        ("GZIP", "gzip"),
        ("gzip;q=nan, deflate;level=9", None),
        ("", None),
        (", ,;q=1", None),
    ],
)
def test_the_encoding_is_the_one_that_the_client_likes_best(accept, expected):
    assert encoding_for(accept) == expected
