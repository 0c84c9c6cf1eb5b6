"""What SageMaker says of a job, read without touching anything."""

from __future__ import annotations

import json

import pytest

from medloom.container.environment import read_job
from medloom.errors import UserError


def write(base, name, value):
    folder = base / "input" / "config"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(value))


def of(base, **more):
    return {"SAGEMAKER_BASE_DIR": str(base), **more}


def test_an_image_without_sagemakers_variables_is_read_from_its_files(tmp_path):
    write(tmp_path, "hyperparameters", {"lr": "0.1"})
    write(tmp_path, "inputdataconfig", {"training": {"TrainingInputMode": "FastFile"}})
    hosts = {"current_host": "algo-2", "hosts": ["algo-2", "algo-1"], "network_interface_name": "eth0"}
    write(tmp_path, "resourceconfig", hosts)
    job = read_job(of(tmp_path, TRAINING_JOB_NAME="brain-1"), gpus=4)
    assert (job.name, dict(job.hyperparameters)) == ("brain-1", {"lr": "0.1"})
    assert job.channels["training"].folder == tmp_path / "input" / "data" / "training"
    assert job.channels["training"].mode == "FastFile"
    assert (job.hosts.names, job.hosts.rank, job.hosts.gpus) == (("algo-1", "algo-2"), 1, 4)
    assert job.places.checkpoints == tmp_path / "checkpoints"
    assert job.places.failure == tmp_path / "output" / "failure"


def test_variables_win_over_files_and_the_command_line_over_both(tmp_path):
    write(tmp_path, "hyperparameters", {"lr": "0.1", "epochs": "1", "seed": "1"})
    job = read_job(of(tmp_path, SM_HPS='{"epochs": 2, "seed": 2}', SM_MODEL_DIR="/m", SM_NUM_GPUS="2"), gpus=0)
    asked = job.asked(["--seed", "3", "--train.clip=1"])
    assert dict(asked.hyperparameters) == {"lr": "0.1", "epochs": "2", "seed": "3", "train.clip": "1"}
    assert (str(job.places.model), job.hosts.gpus) == ("/m", 2)


def test_the_channels_of_the_toolkit_are_where_it_says(tmp_path):
    environment = of(tmp_path, SM_CHANNELS='["train"]', SM_CHANNEL_TRAIN="/elsewhere/train")
    assert str(read_job(environment, gpus=0).channels["train"].folder) == "/elsewhere/train"


def test_without_a_configuration_the_folders_that_are_there_are_the_channels(tmp_path):
    (tmp_path / "input" / "data" / "train").mkdir(parents=True)
    assert list(read_job(of(tmp_path), gpus=0).channels) == ["train"]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"SM_HPS": "{"}, "SM_HPS is no JSON"),
        ({"SM_HPS": "[]"}, "SM_HPS: expected an object"),
        ({"SM_NUM_GPUS": "two"}, "SM_NUM_GPUS: expected a whole number"),
        ({"SM_CURRENT_HOST": "a", "SM_HOSTS": '["b"]'}, "this host is a, which is none of b"),
    ],
    ids=["broken", "list", "word", "host"],
)
def test_what_sagemaker_never_writes_is_said(tmp_path, environment, said):
    with pytest.raises(UserError, match=said):
        read_job(of(tmp_path, **environment), gpus=0)


def test_an_argument_without_a_value_is_said(tmp_path):
    with pytest.raises(UserError, match="--lr: expected a value"):
        read_job(of(tmp_path), gpus=0).asked(["--lr"])
