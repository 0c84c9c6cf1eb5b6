"""A bundle behind an endpoint, and a batch of images: made, changed, ended in time, and nothing left when it fails."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from medloom.backends.sagemaker import Account, Deployment, Place, endpoints
from medloom.backends.sagemaker.endpoints import Ending, deploy
from medloom.cli.main import main
from medloom.errors import MedloomError
from medloom.imaging import encode_png
from support.aws import BUCKET, IMAGE, REGION, ROLE
from support.bundles import write_tiny_bundle

PLACE = Place(REGION, BUCKET, ROLE)
SCHEDULER = ROLE.replace("medloom", "scheduler")
COMMON = ("--image", IMAGE, "--yes", "--json")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of the user's with a bundle in it."""
    monkeypatch.chdir(tmp_path)
    write_tiny_bundle(tmp_path / "brain" / "model.tar.gz")
    return tmp_path


def said(capsys, *arguments, code=0):
    assert main([*arguments]) == code, capsys.readouterr().err
    captured = capsys.readouterr()
    return (json.loads(captured.out) if captured.out.startswith(("{", "[")) else None), captured.err


def names(aws):
    sagemaker = aws.client("sagemaker")
    return (
        [one["EndpointName"] for one in sagemaker.list_endpoints()["Endpoints"]],
        [one["EndpointConfigName"] for one in sagemaker.list_endpoint_configs()["EndpointConfigs"]],
        [one["ModelName"] for one in sagemaker.list_models()["Models"]],
    )


@pytest.mark.parametrize("kind", ["real-time", "serverless", "async"])
def test_a_bundle_is_deployed_and_deleted_again(aws, here, capsys, kind):
    found, text = said(capsys, "sagemaker", "deploy", "brain/model.tar.gz", "--kind", kind, *COMMON)
    assert found["state"] == "InService"
    assert "cost:" in text
    assert "endpoint: InService" in text
    made, _, models = names(aws)
    assert made == [found["endpoint"]]
    data = aws.client("sagemaker").describe_model(ModelName=models[0])["PrimaryContainer"]["ModelDataUrl"]
    body = aws.client("s3").get_object(Bucket=BUCKET, Key=data.removeprefix(f"s3://{BUCKET}/"))["Body"].read()
    assert body == (here / "brain" / "model.tar.gz").read_bytes()
    said(capsys, "sagemaker", "delete", "brain", "--yes")
    assert names(aws) == ([], [], [])


def test_an_endpoint_gets_another_model_and_the_former_one_goes(aws, here, capsys, monkeypatch):
    stamps = iter(("1", "2"))
    monkeypatch.setattr("medloom.cli.sagemaker_deploy.stamp", lambda: next(stamps))
    first, _ = said(capsys, "sagemaker", "deploy", "brain/model.tar.gz", *COMMON)
    before = names(aws)
    second, text = said(capsys, "sagemaker", "deploy", "brain/model.tar.gz", *COMMON)
    assert "was there already" in text
    assert first["endpoint"] == second["endpoint"]
    after = names(aws)
    assert after[0] == before[0]
    assert len(after[1]) == len(after[2]) == 1
    assert after[1] != before[1]


def test_an_endpoint_for_two_hours_is_ended_by_the_account(aws, here, capsys, monkeypatch):
    stamps = iter(("1", "2"))
    monkeypatch.setattr("medloom.cli.sagemaker_deploy.stamp", lambda: next(stamps))
    about = datetime.now(UTC) + timedelta(hours=2)
    arguments = ("--for", "2h", "--scheduler-role", SCHEDULER)
    found, text = said(capsys, "sagemaker", "deploy", "brain/model.tar.gz", *arguments, *COMMON)
    assert "at most 0.51 USD" in text
    schedule = aws.client("scheduler").get_schedule(Name=found["endpoint"])
    assert json.loads(schedule["Target"]["Input"]) == {"EndpointName": found["endpoint"]}
    ends = datetime.strptime(schedule["ScheduleExpression"], "at(%Y-%m-%dT%H:%M:%S)").replace(tzinfo=UTC)
    assert abs((ends - about).total_seconds()) < 600
    said(capsys, "sagemaker", "deploy", "brain/model.tar.gz", *arguments, *COMMON)  # the schedule is there already
    said(capsys, "sagemaker", "delete", "brain", "--yes")
    assert aws.client("scheduler").list_schedules()["Schedules"] == []


def test_where_nothing_can_end_it_no_endpoint_is_made(aws, here, monkeypatch):
    def refuse(account, call):
        raise MedloomError("no schedule")

    monkeypatch.setattr(endpoints, "_end_later", refuse)
    deployment = Deployment("brain", IMAGE, f"s3://{BUCKET}/model.tar.gz")
    with pytest.raises(MedloomError, match="no schedule"):
        deploy(Account(), deployment, PLACE, Ending(datetime.now(UTC), SCHEDULER))
    assert names(aws) == ([], [], [])


def test_of_an_endpoint_that_fails_nothing_is_left(aws, here, monkeypatch):
    states = iter(["Creating", "Failed"])
    original = endpoints.endpoint_state

    def state(account, name):
        found = original(account, name)
        if found:
            found.update(EndpointStatus=next(states), FailureReason="the container did not pass the ping health check")
        return found

    monkeypatch.setattr(endpoints, "endpoint_state", state)
    deployment = Deployment("brain", IMAGE, f"s3://{BUCKET}/model.tar.gz")
    with pytest.raises(MedloomError, match="did not pass the ping health check"):
        deploy(Account(), deployment, PLACE, sleep=lambda seconds: None)
    assert names(aws) == ([], [], [])


def test_an_endpoint_that_may_grow_is_registered_when_it_answers(aws, here, capsys):
    said(capsys, "sagemaker", "deploy", "brain/model.tar.gz", "--most", "3", *COMMON)
    scaling = aws.client("application-autoscaling")
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 3)
    (policy,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 60.0


def test_an_endpoint_that_never_ends_is_refused_where_a_cost_is_bounded(aws, here, capsys):
    assert main(["sagemaker", "deploy", "brain/model.tar.gz", "--max-cost", "1", *COMMON]) == 2
    assert "has no end by itself" in capsys.readouterr().err
    assert main(["sagemaker", "deploy", "brain/model.tar.gz", "--for", "2h", *COMMON]) == 2
    assert "--scheduler-role ARN" in capsys.readouterr().err
    assert names(aws) == ([], [], [])


@pytest.fixture
def images(here):
    folder = here / "images"
    (folder / "deep").mkdir(parents=True)
    from numpy import uint8, zeros

    for name in ("a.png", "deep/b.png", "a_mask.png"):
        (folder / name).write_bytes(encode_png(zeros((32, 32, 3), uint8)))
    (folder / "bad.png").write_bytes(b"no image")
    return folder


def test_a_batch_that_fails_says_why_and_leaves_no_model(aws, here, images, capsys, monkeypatch):
    from moto.sagemaker.models import SageMakerModelBackend

    original = SageMakerModelBackend.create_transform_job

    def create(self, **given):
        job = original(self, **given)
        job.transform_job_status, job.failure_reason = "Failed", "ClientError: See job logs for more information"
        return job

    monkeypatch.setattr(SageMakerModelBackend, "create_transform_job", create)
    assert main(["sagemaker", "transform", "brain/model.tar.gz", "images", "-o", "out", *COMMON]) == 1
    assert "See job logs" in capsys.readouterr().err
    assert names(aws)[2] == []


@pytest.mark.parametrize(
    "arguments",
    [("deploy", "brain/model.tar.gz", "--kind", "async"), ("transform", "brain/model.tar.gz", "images", "-o", "out")],
    ids=["deploy", "transform"],
)
def test_a_dry_run_prints_every_request_and_asks_nobody(here, images, capsys, monkeypatch, arguments):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    found, _ = said(capsys, "sagemaker", *arguments, "--image", IMAGE, "--dry-run")
    assert next(call["operation"] for call in found["calls"]) == "CreateModel"
