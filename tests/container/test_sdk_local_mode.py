"""The local mode of AWS's SDK for Python, version 3, with a stand-in for Docker: training, endpoint and transform."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path
from socket import socket

import numpy as np
import pytest

from container.conftest import write_pictures
from medloom.container.__main__ import main
from medloom.imaging import encode_png
from medloom.packaging import verify
from medloom.packaging.archive import extract
from support import docker_stand_in
from support.bundles import write_tiny_bundle
from support.other_environment import environment_with
from support.server_process import serving_process

pytestmark = pytest.mark.slow

ASKED = {"max-epochs": 2, "lr": 0.01, "debugging": False, "evaluate.bootstrap": 5, "preprocess.size": [16, 16]}

TRAIN = """
import json, sys
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData
from sagemaker.train.model_trainer import Mode
root, images, recipe, asked, count, port = sys.argv[1:]
trainer = ModelTrainer(
    training_image="medloom-train", training_mode=Mode.LOCAL_CONTAINER, base_job_name="brain",
    compute=Compute(instance_type="local_cpu", instance_count=int(count)), hyperparameters=json.loads(asked),
    local_container_root=root, environment={"SM_MASTER_PORT": port},
)
given = {"training": images, "recipe": recipe}
channels = [InputData(channel_name=name, data_source=place) for name, place in given.items()]
trainer.train(input_data_config=channels, wait=True)
"""

SERVE = """
import sys
from pathlib import Path
from sagemaker.core.local.local_session import LocalSession
model, images, answers, root, port = sys.argv[1:]
session = LocalSession()
session.config = {"local": {"local_code": True, "serving_port": int(port), "container_root": root}}
client, runtime = session.sagemaker_client, session.sagemaker_runtime_client
client.create_model("brain", {"Image": "medloom-serve", "ModelDataUrl": f"file://{model}", "Environment": {}})
variant = {"VariantName": "all", "ModelName": "brain", "InitialInstanceCount": 1, "InstanceType": "local"}
client.create_endpoint_config("brain", [variant])
client.create_endpoint("brain", "brain")
image = sorted(Path(images).iterdir())[0].read_bytes()
for number, accept in enumerate(("application/json", "image/png", "application/x-npy")):
    answer = runtime.invoke_endpoint(Body=image, EndpointName="brain", ContentType="image/png", Accept=accept)
    (Path(answers) / f"{number}.bin").write_bytes(answer["Body"].read())
client.delete_endpoint("brain")
client.create_transform_job(
    "brain", "brain",
    {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"file://{images}"}},
     "ContentType": "image/png"},
    {"S3OutputPath": f"file://{answers}", "Accept": "application/json"},
    {"InstanceType": "local", "InstanceCount": 1}, BatchStrategy="SingleRecord",
)
"""


@pytest.fixture(scope="module")
def sdk():
    """The interpreter that has AWS's SDK."""
    return environment_with("aws-sdk", ("sagemaker==3.27.0",)) / "bin" / "python"


@pytest.fixture
def run_sdk(sdk, tmp_path):
    """Run a script of a user of the SDK, where ``docker`` is the stand-in."""
    command = tmp_path / "bin" / "docker"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\n{Path(docker_stand_in.__file__).read_text()}")
    command.chmod(0o755)
    variables = {name: value for name, value in os.environ.items() if name != "SAGEMAKER_BASE_DIR"}
    variables |= {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
    variables |= {"PATH": f"{command.parent}:{os.environ['PATH']}", "MEDLOOM_PYTHON": sys.executable}

    def run(script, *arguments):
        words = [str(sdk), "-c", script, *map(str, arguments)]
        done = subprocess.run(words, env=variables, cwd=tmp_path, capture_output=True, text=True, timeout=550)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    return run


def ask_server(port, image, accept):
    headers = {"Content-Type": "image/png", "Accept": accept}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", image, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def free_port():
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def trained(run_sdk, job, tmp_path, count=1):
    """Train by the SDK on the channels of a job; the folder with what it packed."""
    root = tmp_path / "root"
    root.mkdir()
    channels = [str(shutil.copytree(job.channel(name), tmp_path / name)) for name in ("training", "recipe")]
    run_sdk(TRAIN, root, *channels, json.dumps(ASKED), count, free_port())
    made = root / "compressed_artifacts"
    shutil.move(made / "model.tar.gz", tmp_path / "model.tar.gz")
    assert verify(tmp_path / "model.tar.gz").max_difference == 0
    return made


def test_a_model_trainer_leaves_the_bundle_and_the_run_that_the_container_makes(run_sdk, job, tmp_path):
    write_pictures(job.channel("training"), 14)
    job.recipe()
    job.asks(**{name: str(value) for name, value in ASKED.items()})
    assert main(["train"]) == 0
    made = trained(run_sdk, job, tmp_path)
    with tarfile.open(tmp_path / "model.tar.gz") as packed:
        weights = packed.extractfile("model.safetensors").read()
    assert weights == (job.base / "model" / "model.safetensors").read_bytes()
    with tarfile.open(made / "output.tar.gz") as packed:
        assert {"data/report.html", "data/recipe.yaml", "data/model.tar.gz"} <= set(packed.getnames())


@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0,
    reason="two hosts need names of their own: unshare of util-linux, and user namespaces that the system allows",
)
def test_a_model_trainer_with_two_hosts_leaves_one_bundle_of_one_training(run_sdk, job, tmp_path):
    write_pictures(job.channel("training"), 14)
    job.recipe()
    made = trained(run_sdk, job, tmp_path, count=2)
    with tarfile.open(made / "output.tar.gz") as packed:
        assert json.load(packed.extractfile("data/training.json"))["devices"] == 2


def test_a_local_endpoint_and_a_local_transform_job_answer_as_the_server_does(run_sdk, tmp_path):
    write_tiny_bundle(tmp_path / "model.tar.gz")
    for name in ("images", "answers", "root", "model"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    images = {f"{number}.png": encode_png(rng.integers(0, 255, (40, 48, 3), np.uint8)) for number in range(3)}
    for name, content in images.items():
        (tmp_path / "images" / name).write_bytes(content)
    run_sdk(SERVE, tmp_path / "model.tar.gz", tmp_path / "images", tmp_path / "answers", tmp_path / "root", free_port())
    extract(tmp_path / "model.tar.gz", tmp_path / "model")
    with serving_process(tmp_path / "model") as server:
        for number, accept in enumerate(("application/json", "image/png", "application/x-npy")):
            expected = ask_server(server.port, images["0.png"], accept)
            assert (tmp_path / "answers" / f"{number}.bin").read_bytes() == expected
        expected = {f"{name}.out": ask_server(server.port, image, "application/json") for name, image in images.items()}
    assert {path.name: path.read_bytes() for path in tmp_path.glob("answers/**/*.out")} == expected
