"""A training job as SageMaker starts it, from its channels to its bundle."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys

import pytest

from container.conftest import write_pictures
from medloom.backends.sagemaker.training import metric_definitions
from medloom.container.__main__ import main
from medloom.container.failing import failure_text
from medloom.container.metric_lines import MetricLines
from medloom.errors import DataError, NonFiniteLossError
from medloom.events import EpochEnded
from medloom.packaging import read_bundle, verify

OBJECTIVE = re.compile(r"(?:^|[ ;])best=([0-9eE+.-]+);", re.MULTILINE)


class Stopping:
    """A standard output that sends SIGTERM when a line comes by."""

    def __init__(self, when) -> None:
        self.when = when
        self.said = ""

    def write(self, text) -> int:
        self.said += text
        if self.when and self.when in text:
            self.when = None
            os.kill(os.getpid(), signal.SIGTERM)
        return len(text)

    def flush(self) -> None:
        """Do nothing."""


@pytest.fixture
def trained(job, monkeypatch, capsys):
    """A job that was stopped after its first epoch, and one on the same images that was not."""
    write_pictures(job.channel("training"), 14)
    job.recipe()
    job.asks(**{"evaluate.bootstrap": "5"})
    stopping = Stopping("epoch=1;")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stopping)
        assert main(["train"]) == 0
    return job, stopping.said


def test_a_stopped_job_goes_on_to_the_same_weights_with_the_best_value_said_first(trained, capsys, monkeypatch):
    job, before = trained
    assert not any((job.base / "model").iterdir())
    assert (job.base / "output" / "data" / "checkpoints" / "last.safetensors").is_file()
    shutil.rmtree(job.base / "cache")  # another machine
    assert main(["train"]) == 0
    said = OBJECTIVE.findall(capsys.readouterr().out)
    best = OBJECTIVE.findall(before)
    assert said[0] == best[-1]
    assert sorted(said, key=float) == said
    assert float(said[-1]) == max(map(float, said))

    resumed = (job.base / "model" / "model.safetensors").read_bytes()
    for folder in ("checkpoints", "model", "output"):
        shutil.rmtree(job.base / folder)
    assert main(["train"]) == 0
    assert (job.base / "model" / "model.safetensors").read_bytes() == resumed


def test_the_callers_side_finds_the_metrics_in_the_lines_of_the_containers():
    said = []
    lines = MetricLines(said.append, "loss", lambda folder: None)
    for epoch, loss in enumerate((0.5, 0.3, float("nan"), 0.4), start=1):
        lines(EpochEnded(epoch, 4, {"epoch": epoch, "train_loss": 1.0, "val_loss": None if loss != loss else loss}))
    lines.close()
    found = {one["Name"]: re.findall(one["Regex"], "\n".join(said), re.MULTILINE) for one in metric_definitions()}
    assert found["medloom:best"] == ["0.500000", "0.300000", "0.300000", "0.300000", "0.300000"]
    assert found["medloom:value"] == ["0.500000", "0.300000", "0.400000"]
    assert len(found["medloom:train_loss"]) == 4


def test_parts_in_channels_of_their_own_stay_what_they_are_also_in_a_trial_of_a_tuner(job, monkeypatch):
    monkeypatch.setenv("TRAINING_JOB_NAME", "trial-7")
    for part, people in (("train", 10), ("validation", 4), ("test", 4)):
        write_pictures(job.channel(part), people, part)
    job.write("inputdataconfig", {part: {"TrainingInputMode": "File"} for part in ("train", "validation", "test")})
    job.asks(
        **{"model.name": "perceptron", "preprocess.size": "[16, 16]", "epochs": "1", "evaluate.bootstrap": "5"},
        **{"train.averaging": "none", "evaluate.views": "1", "train.precision": "32"},
        _tuning_objective_metric="medloom:best",
    )
    assert main(["train"]) == 0, job.failure
    assert [path.name for path in (job.base / "checkpoints").iterdir()] == [
        "trial-7"
    ]  # trials share the bucket's folder
    rows = (job.base / "output" / "data" / "catalogue.csv").read_text().splitlines()[1:]
    assert rows
    for row in rows:
        image = next(cell for cell in row.split(",") if cell.endswith(".png"))
        assert f",{image.partition('/')[0]}," in row
    assert verify(job.base / "model").max_difference == 0
    with read_bundle(job.base / "model") as bundle:
        assert (bundle.folder / "code" / "inference.py").is_file()


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        ((), "there is no channel training, or train: the job has none"),
        (("trainings",), "there is no channel training, or train: the job has trainings, did you mean 'training'?"),
        (("train", "training"), "the channels train and training are both for train"),
        (("train", "validation"), "no channel test"),
    ],
    ids=["none", "nearly", "twice", "no test"],
)
def test_channels_that_do_not_go_together_fail_with_the_reason(job, channels, said):
    for name in channels:
        (job.channel(name) / "a.txt").write_text("no image")
    assert main(["train"]) == 2
    assert said in job.failure


def test_a_channel_of_the_wrong_structure_fails_and_names_no_file(job, capsys):
    (job.channel("training") / "Jane_Doe.txt").write_text("no image")
    assert main(["train"]) == 2
    assert "the files are laid out in no way that is known: 1 file (1 .txt)" in job.failure
    assert "Jane" not in job.failure + capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_named_in_the_output_alone(job, capsys):
    write_pictures(job.channel("training"), 14, "Jane")
    job.recipe()
    damaged = job.channel("training") / "pictures" / "Jane-03.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    assert main(["train"]) == 2
    assert job.failure.startswith("1 of 28 samples cannot be used.")
    assert "Jane" not in job.failure + capsys.readouterr().err
    assert "Jane-03.png" in (job.base / "output" / "data" / "problems.txt").read_text()
    assert main(["train", "--data.policy", "quarantine", "--data.quarantine_limit", "0.1", "--epochs", "1"]) == 0
    assert "Jane" not in capsys.readouterr().err


def test_a_recipe_that_the_images_are_not_laid_out_for_fails_at_once(job):
    (job.channel("training") / "a.txt").write_text("no image")
    job.asks(recipe='"brain-mri"')
    assert main(["train"]) == 2
    assert (
        "data.layout=lgg-mri: the channels hold 1 files, of which none is laid out so; expected <patient>"
        in job.failure
    )


def test_a_wrong_hyperparameter_is_said_where_sagemaker_looks(job):
    write_pictures(job.channel("training"), 2)
    job.asks(lrr="1")
    assert main(["train"]) == 2
    assert job.failure.startswith("lrr: there is no such hyper-parameter")


def test_hosts_that_have_other_images_each_share_no_batch(job):
    job.write("resourceconfig", {"current_host": "algo-1", "hosts": ["algo-1", "algo-2"]})
    job.write("inputdataconfig", {"training": {"S3DistributionType": "ShardedByS3Key"}})
    assert main(["train"]) == 2
    assert job.failure.startswith("channel training: its S3DistributionType is ShardedByS3Key")


def test_a_channel_that_is_a_pipe_is_refused(job):
    job.write("inputdataconfig", {"training": {"TrainingInputMode": "Pipe"}})
    assert main(["train"]) == 2
    assert job.failure == "channel training: its TrainingInputMode is Pipe; expected File or FastFile"


def test_a_failure_names_no_file_and_no_sample_and_is_short(tmp_path):
    error = DataError("2 files cannot be read", ["Jane Doe.png: truncated", "John.png: truncated"])
    assert failure_text(error) == "2 files cannot be read (2 problems; problems.txt in output.tar.gz lists them)"
    assert "jane" not in failure_text(NonFiniteLossError(3, ["jane-1"], None))
    said = failure_text(OSError(2, "No such file", str(tmp_path / "Jane Doe.png")))
    assert said == "No such file or directory"
    found = failure_text(DataError(f"{tmp_path}/Jane Doe.png: is empty"), [tmp_path])
    assert found == f"{tmp_path}/...: is empty"
    assert len(failure_text(DataError("x" * 3000))) == 1024
    assert "KeyError" in failure_text(KeyError("Jane"))
    assert "Jane" not in failure_text(KeyError("Jane"))
