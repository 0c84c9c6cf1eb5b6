"""From images to an endpoint that answers, and nothing left: Medloom's containers do the jobs in processes here."""

from __future__ import annotations

import json
import shutil

import pytest

from medloom.cli.main import main
from medloom.client import Client
from medloom.files import read_json
from medloom.inference.answers.masks import mask_png
from support.aws import IMAGE, ROLE
from support.bundles import write_tiny_bundle
from support.sagemaker_container import Machine
from support.sagemaker_endpoint import Endpoints
from support.transform_job import TransformMachine

SMALL = ("preprocess.size=[32,32]", "model.args={channels: [4, 8]}", "evaluate.bootstrap=5", "train.compile=false")
SETTINGS = [word for setting in (*SMALL, "train.epochs=3") for word in ("--set", setting)]
TRAIN = ("sagemaker", "train", "brain-mri-small", "--data", "images", "--run", "brain", "--image", IMAGE, "--yes")


@pytest.fixture
def here(aws, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDLOOM_CACHE", str(tmp_path / "cache"))
    for name in ("jobs._POLL_S", "jobs._LONGEST_POLL_S", "endpoints._POLL_S"):
        monkeypatch.setattr(f"medloom.backends.sagemaker.{name}", 1.0)  # containers need the processor
    phantom = ("images", "--patients", "9", "--size", "48", "--set", "data.phantom.slices=[6,8]")
    assert main(["data", "phantom", *phantom]) == 0
    return tmp_path


@pytest.mark.slow
def test_a_run_that_was_stopped_there_goes_on_there_and_evaluates_here(aws, here, capsys):
    machine = Machine(aws, here / "opt", stop_at="epoch=1;")
    aws.on_begin = machine.begin
    capsys.readouterr()
    assert main([*TRAIN, *SETTINGS]) == 0
    said = capsys.readouterr()
    assert "was stopped there; the same command goes on" in said.out
    assert not (here / "runs/brain/model.tar.gz").exists()
    assert main([*TRAIN, *SETTINGS, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    machine.join()
    assert found["state"] == "done"
    assert read_json(here / "runs/brain/training.json")["epochs"] == 3
    assert len((here / "runs/brain/metrics.jsonl").read_text().splitlines()) == 3
    assert len(aws.jobs) == 2
    assert main(["verify", "runs/brain/model.tar.gz"]) == 0
    assert main(["evaluate", "brain", "--data", "images"]) == 0
    assert (here / "runs/brain/report.html").is_file()


@pytest.mark.slow
def test_images_of_another_structure_are_said_by_the_container(aws, here, capsys):
    machine = Machine(aws, here / "opt")
    aws.on_begin = machine.begin
    (here / "other").mkdir()
    (here / "other" / "notes.txt").write_text("no image")
    arguments = ("--data", "other", "--run", "other", "--image", IMAGE, "--yes")
    assert main(["sagemaker", "train", "brain-mri-small", *arguments]) == 1
    machine.join()
    said = capsys.readouterr().err
    assert "failed there: AlgorithmError: " in said
    assert "data.layout" in said
    assert "Traceback" not in said


def sagemaker(*words, code=0):
    """Give a command of ``medloom sagemaker``."""
    assert main(["sagemaker", *map(str, words)]) == code, words


def same_files(one, other):
    """Whether two folders have the same files, byte for byte; returns how many."""
    found = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (one, other)
    ]
    assert found[0] == found[1]
    return len(found[0])


def left(aws):
    """Everything that an account has of what Medloom makes, but for jobs that have ended, which nobody can delete."""
    of, schedules = aws.client("sagemaker"), aws.client("scheduler").list_schedules()["Schedules"]
    scaled = aws.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
    lists = (
        of.list_endpoints()["Endpoints"],
        of.list_endpoint_configs()["EndpointConfigs"],
        of.list_models()["Models"],
    )
    going = of.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"]
    return [*lists[0], *lists[1], *lists[2], *going, *schedules, *scaled["ScalableTargets"], *aws.objects()]


def trained_with_a_spot_stop(aws, here, capsys):
    """Tune two trials on images here, then train on those that are in the bucket since, and pull the run elsewhere."""
    machine = Machine(aws, here / "opt")
    aws.on_begin = machine.begin
    searched = ("--trials", 2, "--jobs", 1, "--study", "search")
    sagemaker("tune", *TRAIN[2:5], "--image", IMAGE, "--yes", *searched, *SETTINGS, "--set", "train.epochs=1")
    trials = list(aws.jobs)
    assert len(trials) == 2
    (channel,) = {aws.job(name).input_data_config[-1]["DataSource"]["S3DataSource"]["S3Uri"] for name in trials}
    machine.interrupt_at = "epoch=1;"
    capsys.readouterr()
    sagemaker("train", "brain-mri-small", "--data", channel, *TRAIN[5:], "--spot", *SETTINGS, "--detach")
    machine.join()
    (job,) = set(aws.jobs) - set(trials)
    assert machine.states[job] == ["Training", "Interrupted", "Starting", "Downloading", "Training"]
    sagemaker("pull", "brain", "--runs", "elsewhere")
    metrics = (here / "elsewhere/brain/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in metrics] == [1, 2, 3]
    return here / "elsewhere/brain"


def deployed_asked_and_deleted(aws, here, capsys, bundle, run=None):
    """Put a bundle behind an endpoint, see that it answers there as here, byte for byte, and delete everything.

    The patients of a run, where there is one, are reviewed through the endpoint.
    """
    images = sorted(path for path in (here / "images").rglob("*.tif") if "_mask" not in path.name)[:5]
    with Endpoints(aws, here / "endpoints") as endpoints:
        arguments = ("--name", "brain", "--image", IMAGE, "--yes", "--for", "2h", "--scheduler-role", ROLE, "--most", 2)
        sagemaker("deploy", bundle, *arguments)
        (name,) = endpoints.containers
        assert main(["predict", str(bundle), *map(str, images), "-o", "local"]) == 0
        assert main(["predict", "--server", f"sagemaker://{name}", *map(str, images), "-o", "there"]) == 0
        assert same_files(here / "local", here / "there") > len(images)
        answers_as_the_bundle_does(aws, name, images[0], here / "local")
        if run is not None:
            assert main(["review", str(run), "--endpoint", name, "--data", "images"]) == 0
        predicted_in_a_job(aws, here, bundle, images)
        capsys.readouterr()
        sagemaker("list", "--running", "--json")
        assert [one["kind"] for one in json.loads(capsys.readouterr().out)] == ["endpoint"]
        sagemaker("delete", "--all", "--files", "--yes")
    assert left(aws) == []


def predicted_in_a_job(aws, here, bundle, images):
    """Predict a folder in a job there: what is no image is set aside, and the other answers come back."""
    machine = TransformMachine(aws, here / "batch")
    aws.on_transform = machine.begin
    (here / "scans").mkdir()
    for image in images:
        shutil.copy(image, here / "scans")
    for number in range(3):
        (here / "scans" / f"bad-{number}.tif").write_bytes(b"no image")
    sagemaker("transform", bundle, "scans", "-o", "answers", "--image", IMAGE, "--yes", code=3)
    machine.join()
    assert len(list((here / "answers").rglob("*.png"))) >= len(images)


@pytest.mark.slow
def test_an_endpoint_answers_as_its_bundle_does_here_and_nothing_of_it_is_left(aws, here, capsys):
    write_tiny_bundle(here / "model.tar.gz")
    deployed_asked_and_deleted(aws, here, capsys, here / "model.tar.gz")


@pytest.mark.slow
def test_the_whole_way_from_images_in_a_bucket_to_an_endpoint_and_nothing_left(aws, here, capsys):
    run = trained_with_a_spot_stop(aws, here, capsys)
    assert main(["verify", f"{run}/model.tar.gz"]) == 0
    assert main(["evaluate", str(run), "--data", "images"]) == 0
    deployed_asked_and_deleted(aws, here, capsys, run / "model.tar.gz", run)
    asked = {action for action, _ in aws.requests}
    assert asked >= {"CreateTrainingJob", "CreateModel", "CreateEndpointConfig", "CreateEndpoint", "DeleteEndpoint"}


def answers_as_the_bundle_does(aws, name, image, local):
    """Ask an endpoint with TIFF bytes through boto3 and through the client: the mask is the one written here."""
    (mask,) = (local / "masks").rglob(f"{image.stem}*")
    asked = {"EndpointName": name, "Body": image.read_bytes(), "ContentType": "image/tiff", "Accept": "image/png"}
    answer = aws.client("sagemaker-runtime").invoke_endpoint(**asked)
    assert answer["ContentType"] == "image/png"
    assert answer["Body"].read() == mask.read_bytes()
    with Client(f"sagemaker://{name}") as client:
        found = client.predict(image)
    assert mask_png(found) == mask.read_bytes()


@pytest.mark.slow
def test_photographs_with_metadata_go_the_same_way(aws, here, capsys):
    phantom = ("--recipe", "melanoma", "--patients", "24", "--size", "48", "--set", "data.phantom.prevalence=0.4")
    assert main(["data", "phantom", "skin", *phantom]) == 0
    machine = Machine(aws, here / "opt")
    aws.on_begin = machine.begin
    small = (
        "preprocess.size=[32,32]",
        "preprocess.crop=null",
        "model.name=resnet18",
        "train.epochs=1",
        "evaluate.bootstrap=5",
        "train.compile=false",
    )
    settings = [word for setting in small for word in ("--set", setting)]
    sagemaker("train", "melanoma", "--data", "skin", "--run", "skin", "--image", IMAGE, "--yes", *settings)
    machine.join()
    bundle = here / "runs/skin/model.tar.gz"
    with Endpoints(aws, here / "endpoints") as endpoints:
        sagemaker("deploy", bundle, "--name", "skin", "--image", IMAGE, "--yes")
        (name,) = endpoints.containers
        assert main(["review", "skin", "--endpoint", name, "--data", "skin", "--split", "test"]) == 0
        sagemaker("delete", "--all", "--files", "--yes")
    assert left(aws) == []
