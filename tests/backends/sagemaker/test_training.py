"""A training there, from the command line to the run directory that comes back, and what goes wrong on the way."""

from __future__ import annotations

import json
import shutil

import pytest

from medloom.cli.main import main
from medloom.files import read_json
from support.aws import BUCKET, IMAGE, ROLE

TRAIN = ("sagemaker", "train", "brain-mri-small", "--image", IMAGE, "--yes")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of the user's with images in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").write_bytes(b"one")
    return tmp_path


def finished(aws, here):
    """Let a job do at once what a container does: print, write its run, end."""
    run = here / "written" / "brain"
    run.mkdir(parents=True)
    for name, text in {"recipe.yaml": "name: brain", "metrics.jsonl": "{}", "model.tar.gz": "bundle"}.items():
        (run / name).write_text(text)

    def begin(name):
        aws.writes(aws.job(name).checkpoint_config["S3Uri"], here / "written")
        aws.prints(name, ["epoch=1; value=0.700000; best=0.700000;", "epoch=2; value=0.600000; best=0.700000;"])
        aws.ends(name, best=0.7)

    aws.on_begin = begin


def run_json(capsys, *arguments):
    code = main([*arguments, "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out), captured.err


def test_a_training_sends_its_images_prints_its_lines_and_brings_the_run_back(aws, here, capsys):
    finished(aws, here)
    found, said = run_json(capsys, *TRAIN, "--data", "images", "--run", "brain", "--set", "train.epochs=2")
    assert found["state"] == "done"
    assert found["best"] == 0.7
    assert "epoch=2; value=0.600000; best=0.700000;" in said
    assert "cost: ml.g5.xlarge: at most 6.28 USD" in said
    assert (here / "runs/brain/model.tar.gz").read_text() == "bundle"
    job = aws.job(found["job"])
    assert job.hyper_parameters == {"recipe": "brain-mri-small", "run": "brain", "train.epochs": "2"}
    assert job.role_arn == ROLE
    key = job.input_data_config[0]["DataSource"]["S3DataSource"]["S3Uri"].removeprefix(f"s3://{BUCKET}/") + "1.png"
    assert aws.objects()[key] == 3


def test_a_recipe_of_ones_own_travels_in_a_channel(aws, here, capsys):
    finished(aws, here)
    assert main(["init", "image-mask", "-o", "mine.yaml"]) == 0
    capsys.readouterr()
    found, _ = run_json(capsys, "sagemaker", "train", "mine.yaml", *TRAIN[3:], "--data", "images", "--run", "brain")
    job = aws.job(found["job"])
    (uri,) = [
        one["DataSource"]["S3DataSource"]["S3Uri"] for one in job.input_data_config if one["ChannelName"] == "recipe"
    ]
    body = aws.client("s3").get_object(Bucket=BUCKET, Key=f"{uri}recipe.yaml".removeprefix(f"s3://{BUCKET}/"))["Body"]
    assert body.read() == (here / "mine.yaml").read_bytes()
    assert job.hyper_parameters == {"run": "brain"}


def test_a_dry_run_prints_the_request_and_asks_nobody(here, capsys, monkeypatch):
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert main([*TRAIN, "--data", "images", "--dry-run", "--spot"]) == 0
    captured = capsys.readouterr()
    (call,) = json.loads(captured.out)["calls"]
    assert call["operation"] == "CreateTrainingJob"
    assert call["parameters"]["EnableManagedSpotTraining"] is True
    assert "nothing is asked of AWS" in captured.err
    assert not (here / "runs").exists()


def test_a_laptop_may_be_closed_and_another_one_takes_the_run_up(aws, here, capsys, monkeypatch):
    began, _ = run_json(capsys, *TRAIN, "--data", "images", "--run", "brain", "--detach")
    assert read_json(here / "runs/brain/sagemaker.json")["job"] == began["job"]
    aws.goes_on(began["job"])
    assert run_json(capsys, "sagemaker", "status", "brain")[0]["state"] == "running"
    shutil.rmtree(here / "runs")  # nothing here remembers it
    aws.prints(began["job"], ["epoch=1; best=0.5;"])
    assert main(["sagemaker", "logs", "brain"]) == 0
    assert capsys.readouterr().out == "epoch=1; best=0.5;\n"
    assert main(["sagemaker", "pull", "brain"]) == 2
    assert "holds no run yet" in capsys.readouterr().err
    run = here / "written" / "brain"
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text("name: brain")
    aws.writes(aws.job(began["job"]).checkpoint_config["S3Uri"], here / "written")
    found, _ = run_json(capsys, "sagemaker", "pull", "brain")
    assert (found["files"], found["fetched"], found["state"]) == (1, 1, "running")
    monkeypatch.setattr("medloom.backends.sagemaker.pull._SETTLED_S", -9.0)  # as if it had been written long ago
    run_json(capsys, "sagemaker", "pull", "brain")
    assert run_json(capsys, "sagemaker", "pull", "brain")[0]["fetched"] == 0
    (run / "recipe.yaml").write_text("name: brains")
    aws.writes(aws.job(began["job"]).checkpoint_config["S3Uri"], here / "written")
    assert run_json(capsys, "sagemaker", "pull", "brain")[0]["fetched"] == 1
    assert (here / "runs/brain/recipe.yaml").read_text() == "name: brains"


def test_a_training_that_is_stopped_goes_on_with_the_same_command(aws, here, capsys):
    first, _ = run_json(capsys, *TRAIN, "--data", "images", "--run", "brain", "--detach")
    found, said = run_json(capsys, "sagemaker", "status", "brain", "--stop")
    assert "asked to stop" in said
    assert found["state"] == "cancelled"
    finished(aws, here)
    second, _ = run_json(capsys, *TRAIN, "--data", "images", "--run", "brain", "--set", "train.seed=1")
    assert second["job"] != first["job"]
    assert aws.job(first["job"]).checkpoint_config == aws.job(second["job"]).checkpoint_config


def test_a_job_that_fails_says_what_its_container_said(aws, here, capsys):
    reason = "AlgorithmError: data.layout: the channels hold 3 files, of which none is laid out so, exit code: 2"
    aws.on_begin = lambda name: aws.ends(name, "Failed", reason)
    assert main([*TRAIN, "--data", "images", "--run", "brain"]) == 1
    said = capsys.readouterr().err
    assert "none is laid out so" in said
    assert "Traceback" not in said
    found, _ = run_json(capsys, "sagemaker", "status", "brain")
    assert (found["state"], found["reason"]) == ("failed", reason)


def test_lines_of_several_machines_say_which(aws, here, capsys):
    began, _ = run_json(capsys, *TRAIN, "--data", "images", "--run", "brain", "--detach")
    aws.prints(began["job"], ["one"], "algo-1")
    aws.prints(began["job"], ["two"], "algo-2")
    assert main(["sagemaker", "logs", "brain"]) == 0
    assert capsys.readouterr().out == "algo-1  one\nalgo-2  two\n"


def test_what_is_ours_is_listed_with_what_costs_now_and_deleted_after_asking(aws, here, capsys):
    began, _ = run_json(capsys, *TRAIN, "--data", "images", "--run", "brain", "--detach")
    aws.goes_on(began["job"])
    sagemaker = aws.client("sagemaker")
    sagemaker.create_model(ModelName="theirs", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE})
    tags = [{"Key": "medloom", "Value": "1"}, {"Key": "medloom:run", "Value": "brain"}]
    sagemaker.create_model(ModelName="ours", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE}, Tags=tags)
    listed, _ = run_json(capsys, "sagemaker", "list")
    assert [(one["kind"], one["name"], one["bills"]) for one in listed] == [
        ("training", began["job"], True),
        ("model", "ours", False),
    ]
    assert [one["kind"] for one in run_json(capsys, "sagemaker", "list", "--running")[0]] == ["training"]
    assert main(["sagemaker", "delete", "--all"]) == 2  # no terminal to ask on
    capsys.readouterr()
    done, _ = run_json(capsys, "sagemaker", "delete", "--all", "--files", "--yes")
    assert {one["name"] for one in done["deleted"]} == {"ours", began["job"]}
    assert done["files"] == 2  # the image and the list of what was sent
    assert aws.job(began["job"]).training_job_status == "Stopped"
    assert [one["ModelName"] for one in sagemaker.list_models()["Models"]] == ["theirs"]
    assert aws.objects() == {}


def test_what_may_cost_more_than_it_is_to_is_not_begun(aws, here, capsys):
    assert main([*TRAIN, "--data", "images", "--max-time", "10h", "--max-cost", "5"]) == 2
    assert "may cost 15.70 USD" in capsys.readouterr().err
    assert aws.jobs == []
    assert aws.objects() == {}


def test_the_one_role_that_sagemaker_may_take_on_is_found_and_said(aws, here, capsys):
    document = json.dumps({"Version": "2012-10-17", "Statement": []})
    aws.client("iam").create_role(RoleName="other", AssumeRolePolicyDocument=document)
    _, said = run_json(capsys, *TRAIN, "--data", "images", "--detach")
    assert f"role: {ROLE}, the only one" in said
    assert f"bucket: {BUCKET}, the usual one" in said
    trusting = aws.client("iam").get_role(RoleName="medloom")["Role"]["AssumeRolePolicyDocument"]
    aws.client("iam").create_role(RoleName="second", AssumeRolePolicyDocument=json.dumps(trusting))
    assert main([*TRAIN, "--data", "images", "--detach"]) == 2
    assert "name one with --role or MEDLOOM_SAGEMAKER_ROLE: medloom, second" in capsys.readouterr().err


def test_a_run_that_trains_there_already_is_followed_and_not_begun_twice(aws, here, capsys):
    first, _ = run_json(capsys, *TRAIN, "--data", "images", "--run", "brain", "--detach")
    shutil.rmtree(here / "runs")  # as on another laptop
    second, said = run_json(capsys, *TRAIN, "--data", "images", "--run", "brain", "--detach")
    assert "brain trains there already" in said
    assert first["job"] == second["job"]
    assert len(aws.jobs) == 1


def test_who_stops_following_is_told_that_the_job_goes_on(aws, here, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("medloom.cli.sagemaker_following.followed", interrupted)
    assert main([*TRAIN, "--data", "images", "--run", "brain"]) == 130
    assert (
        "goes on there and costs money; to stop it: medloom sagemaker status runs/brain --stop"
        in capsys.readouterr().err
    )


def test_a_container_gets_variables_and_a_secret_among_them_is_warned_of(here, capsys):
    arguments = ("--env", "MLFLOW_TRACKING_URI=arn:aws:x", "--env", "WANDB_API_KEY=k", "--dry-run")
    assert main([*TRAIN, "--data", "images", *arguments]) == 0
    captured = capsys.readouterr()
    asked = json.loads(captured.out)["calls"][0]["parameters"]["Environment"]
    assert asked == {"MLFLOW_TRACKING_URI": "arn:aws:x", "WANDB_API_KEY": "k"}
    assert "--env WANDB_API_KEY: whoever may describe the job can read it" in captured.err
    assert main([*TRAIN, "--data", "images", "--env", "X", "--dry-run"]) == 2
