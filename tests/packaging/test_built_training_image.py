"""The training image, really built: a job of SageMaker in it, without a network, rights or a place to write to."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

import pytest

from medloom.cli import main as cli
from medloom.packaging import verify
from support.containers import LOCKED_UP, NO_NETWORK, RUN, built, name_of, needs_tools, output_of, running

pytestmark = [pytest.mark.slow]

TAG = "localhost/medloom-train-tested:1"
BEST = re.compile(r"(?:^|[ ;])best=([0-9eE+.-]+);", re.MULTILINE)
ASKED = {
    "recipe": "brain-mri-small",
    "train.epochs": "2",
    "train.precision": "32",
    "preprocess.size": "[48, 48]",
    "evaluate.bootstrap": "5",
}


@pytest.fixture(scope="module")
def image():
    """With PyTorch for processors, which is a quarter of the one for CUDA, unless told otherwise."""
    needs_tools()
    return built("train", TAG, "--torch", os.environ.get("MEDLOOM_TEST_TORCH", "cpu"))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images") / "training"
    command = ["data", "phantom", str(folder), "--recipe", "brain-mri-small", "--patients", "8", "--size", "48"]
    assert cli.main([*command, "--set", "data.phantom.slices=[4,6]"]) == 0
    return folder


@pytest.fixture
def job(images, tmp_path):
    """What SageMaker mounts as ``/opt/ml``."""
    base = tmp_path / "ml"
    for folder in ("input/config", "input/data", "model", "output/data", "checkpoints"):
        (base / folder).mkdir(parents=True)
    shutil.copytree(images, base / "input" / "data" / "training")
    _ask(base, ASKED)
    return base


def _ask(base, hyperparameters):
    (base / "input" / "config" / "hyperparameters.json").write_text(json.dumps(hyperparameters))


def _train(image, base):
    command = [*RUN, *LOCKED_UP, *NO_NETWORK, "-v", f"{base}:/opt/ml", image, "train"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_job_that_is_stopped_in_the_middle_goes_on_to_the_weights_of_one_that_is_not(image, job, tmp_path):
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(job, undisturbed)
    name = name_of("trains")
    with running(name, image, "train", options=[*NO_NETWORK, "-v", f"{job}:/opt/ml"]) as process:
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("epoch=1;"):
                output_of("podman", "--runtime", "runc", "kill", "--signal", "TERM", name)
        assert process.wait(60) == 0, said
    assert "stopped and saved" in said
    assert "epoch=2;" not in said
    assert (job / "checkpoints" / "run" / "checkpoints" / "last.safetensors").is_file()
    assert not list((job / "model").iterdir())

    resumed, _ = [_train(image, base) for base in (job, undisturbed)]
    for base in (job, undisturbed):
        assert not (base / "output" / "failure").exists()
        assert verify(base / "model").max_difference < 1e-4
    assert BEST.findall(said)[-1] == BEST.findall(resumed.stdout)[0]
    assert "epoch=1; train_loss" not in resumed.stdout
    weights = [(base / "model" / "model.safetensors").read_bytes() for base in (job, undisturbed)]
    assert weights[0] == weights[1]


def test_a_wrong_hyperparameter_is_said_where_sagemaker_looks(image, job):
    _ask(job, ASKED | {"trian.epochs": "2"})
    done = _train(image, job)
    assert done.returncode == 2
    assert (job / "output" / "failure").read_text().startswith("trian.epochs: there is no such hyper-parameter;")
    assert "did you mean 'train.epochs'?" in (job / "output" / "failure").read_text()
    assert "Traceback" not in done.stderr


def test_the_image_says_what_is_in_it_and_knows_its_recipes(image):
    program = "print(open('/opt/medloom/sbom.json').read())"
    bill = json.loads(output_of(*RUN, *LOCKED_UP, "--entrypoint", "python3", image, "-c", program))
    names = {one["name"].lower() for one in bill["components"]}
    assert {"torch", "lightning", "monai", "optuna", "starlette", "awslambdaric", "libc6"} <= names
    if os.environ.get("MEDLOOM_TEST_TORCH", "cpu") == "cpu":
        assert not [name for name in names if name.startswith(("nvidia-", "cuda-", "triton"))]
    assert output_of(*RUN, *LOCKED_UP, *NO_NETWORK, image, "recipes").startswith("brain-mri")
