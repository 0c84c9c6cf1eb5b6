"""The local mode of AWS's SDK for Python, version 3, with a stand-in for Docker: it writes what a container finds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from container.conftest import write_pictures
from medloom.container.__main__ import main
from medloom.packaging import verify
from support import docker_stand_in
from support.other_environment import environment_with

pytestmark = pytest.mark.slow

ASKED = {"max-epochs": 2, "lr": 0.01, "debugging": False, "evaluate.bootstrap": 5, "preprocess.size": [16, 16]}

TRAIN = """
import json, sys
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData
from sagemaker.train.model_trainer import Mode
root, images, recipe, asked = sys.argv[1:]
trainer = ModelTrainer(
    training_image="medloom-train", training_mode=Mode.LOCAL_CONTAINER, base_job_name="brain",
    compute=Compute(instance_type="local_cpu", instance_count=1), hyperparameters=json.loads(asked),
    local_container_root=root,
)
given = {"training": images, "recipe": recipe}
channels = [InputData(channel_name=name, data_source=place) for name, place in given.items()]
trainer.train(input_data_config=channels, wait=True)
"""


@pytest.fixture
def docker(tmp_path):
    """A folder with a command ``docker`` in it."""
    command = tmp_path / "bin" / "docker"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\n{Path(docker_stand_in.__file__).read_text()}")
    command.chmod(0o755)
    return command.parent


def test_a_model_trainer_leaves_the_bundle_and_the_run_that_the_container_makes(docker, job, tmp_path):
    sdk = environment_with("aws-sdk", ("sagemaker==3.27.0",)) / "bin" / "python"
    write_pictures(job.channel("training"), 14)
    job.recipe()
    job.asks(**{name: str(value) for name, value in ASKED.items()})
    assert main(["train"]) == 0

    root = tmp_path / "root"
    root.mkdir()
    variables = {
        **{name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "SAGEMAKER_BASE_DIR")},
        **{"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"},
        **{"PATH": f"{docker}:{os.environ['PATH']}", "MEDLOOM_PYTHON": sys.executable},
    }
    channels = [str(shutil.copytree(job.channel(name), tmp_path / name)) for name in ("training", "recipe")]
    asked = json.dumps(ASKED)
    done = subprocess.run(
        [str(sdk), "-c", TRAIN, str(root), *channels, asked], env=variables, cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    made = root / "compressed_artifacts"
    shutil.move(made / "model.tar.gz", tmp_path / "model.tar.gz")
    assert verify(tmp_path / "model.tar.gz").max_difference == 0
    with tarfile.open(tmp_path / "model.tar.gz") as packed:
        weights = packed.extractfile("model.safetensors").read()
    assert weights == (job.base / "model" / "model.safetensors").read_bytes()
    with tarfile.open(made / "output.tar.gz") as packed:
        assert {"data/report.html", "data/recipe.yaml", "data/model.tar.gz"} <= set(packed.getnames())
