"""What is asked of SageMaker is what AWS's own model of it takes, and says what the user asked for."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from medloom.backends.sagemaker import (
    Call,
    Deployment,
    Place,
    Training,
    Transform,
    check,
    deletion_call,
    deployment_calls,
    plain_calls,
    problems,
    scaling_calls,
    training_call,
    transform_calls,
)
from medloom.backends.sagemaker.names import aws_name, tags_of
from medloom.backends.sagemaker.training import METRIC, metric_definitions
from medloom.errors import UserError

ROLE = "arn:aws:iam::123456789012:role/medloom"
IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/medloom-train:1"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
BUNDLE = "s3://bucket/medloom/bundles/brain/model.tar.gz"

PLACE = Place("eu-central-1", "bucket", ROLE)
SAFE = replace(PLACE, kms_key=KEY, subnets=("subnet-1",), security_groups=("sg-1",), isolated=True, tags={"cost": "a"})
TRAINING = Training("brain_mri v2", IMAGE, {"recipe": "brain-mri"}, {"training": "s3://bucket/medloom/data/brain"})
DEPLOYMENT = Deployment("brain", IMAGE, BUNDLE)
TRANSFORM = Transform("brain", IMAGE, BUNDLE, "s3://bucket/in", "s3://bucket/out")

CALLS = {
    "training": lambda place: [training_call(TRAINING, place)],
    "spot": lambda place: [training_call(replace(TRAINING, spot=True), place)],
    "warm": lambda place: [training_call(replace(TRAINING, warm_s=1800, count=2, stream=True), place)],
    "real-time": lambda place: deployment_calls(replace(DEPLOYMENT, capture_percent=10, most=3), place),
    "scaling": lambda place: scaling_calls(replace(DEPLOYMENT, most=3), place),
    "serverless": lambda place: deployment_calls(replace(DEPLOYMENT, kind="serverless"), place),
    "async": lambda place: deployment_calls(replace(DEPLOYMENT, kind="async"), place),
    "update": lambda place: deployment_calls(DEPLOYMENT, place, update=True),
    "transform": lambda place: transform_calls(TRANSFORM, place),
    "end": lambda place: [deletion_call("brain", datetime(2026, 12, 1, 10, 30, tzinfo=UTC), ROLE)],
}


@pytest.mark.parametrize("safe", [False, True], ids=["plain", "safe"])
@pytest.mark.parametrize("name", CALLS)
def test_every_request_is_one_that_aws_takes_and_the_same_each_time(name, safe):
    place = SAFE if safe else PLACE
    made = [call.plain() for call in CALLS[name](place)]
    assert plain_calls(CALLS[name](place)) == made == json.loads(json.dumps(made))


def of(name, place=PLACE):
    return [call.parameters for call in CALLS[name](place)]


def test_everything_that_is_made_is_tagged_as_ours():
    for name in CALLS:
        for call in CALLS[name](SAFE):
            if call.operation.startswith("Create") and call.service == "sagemaker":
                tags = tags_of(call.parameters["Tags"])
                assert {"medloom", "medloom:kind", "medloom:run"} <= set(tags), call.operation
                assert tags["cost"] == "a"


def test_a_training_has_an_end_checkpoints_and_no_profiler():
    (body,) = of("training")
    assert body["StoppingCondition"] == {"MaxRuntimeInSeconds": 4 * 3600}
    assert body["CheckpointConfig"]["LocalPath"] == "/opt/ml/checkpoints"
    assert body["ProfilerConfig"] == {"DisableProfiler": True}
    assert body["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] == "s3://bucket/medloom/data/brain/"


def test_a_training_on_capacity_that_may_go_waits_at_least_as_long_as_it_may_run():
    (body,) = of("spot")
    assert body["EnableManagedSpotTraining"]
    assert body["StoppingCondition"]["MaxWaitTimeInSeconds"] >= body["StoppingCondition"]["MaxRuntimeInSeconds"]


def test_a_key_is_used_for_every_object_and_volume():
    (body,) = of("training", SAFE)
    assert body["OutputDataConfig"]["KmsKeyId"] == body["ResourceConfig"]["VolumeKmsKeyId"] == KEY
    _, configuration, _ = of("async", SAFE)
    assert configuration["KmsKeyId"] == configuration["AsyncInferenceConfig"]["OutputConfig"]["KmsKeyId"] == KEY
    assert of("transform", SAFE)[1]["TransformOutput"]["KmsKeyId"] == KEY


def test_trainings_of_one_run_share_their_checkpoints_and_not_their_names():
    first, second = (training_call(replace(TRAINING, stamp=stamp), PLACE).parameters for stamp in ("1", "2"))
    assert first["TrainingJobName"] != second["TrainingJobName"]
    assert first["CheckpointConfig"] == second["CheckpointConfig"]


def test_an_endpoint_keeps_its_name_when_its_model_changes():
    first, second = (deployment_calls(replace(DEPLOYMENT, stamp=stamp), PLACE) for stamp in ("1", "2"))
    assert first[2].parameters["EndpointName"] == second[2].parameters["EndpointName"]
    assert first[0].parameters["ModelName"] != second[0].parameters["ModelName"]


def test_the_schedule_deletes_that_endpoint_once_and_then_itself():
    body = deletion_call("brain", datetime(2026, 12, 1, 10, 30, tzinfo=UTC), ROLE).parameters
    assert json.loads(body["Target"]["Input"]) == {"EndpointName": DEPLOYMENT.endpoint}
    assert body["ScheduleExpression"] == "at(2026-12-01T10:30:00)"
    assert body["ActionAfterCompletion"] == "DELETE"


@pytest.mark.parametrize("text", ["a" * 200, "brain_mri.v2", "-x-", "Ä", "a--b", "___", "brain mri" * 9])
def test_a_name_always_fits_and_tells_things_apart(text):
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", aws_name(text))
    assert aws_name(text) != aws_name(text, "other") != aws_name(f"{text}2", "other")


LINES = "epoch=3; best=0.810000; value=0.790000; train_loss=0.2;\nepoch=4; best=0.810000; value=nan; train_loss=0.1;"


def test_the_last_metric_that_sagemaker_sees_is_the_best_one():
    regex = {one["Name"]: one["Regex"] for one in metric_definitions()}
    assert re.findall(regex[METRIC], LINES)[-1] == "0.810000"
    assert re.findall(regex["medloom:value"], LINES) == ["0.790000"]


WRONG = {
    "missing": (lambda body: body.pop("RoleArn"), "RoleArn: is missing"),
    "name": (lambda body: body.update(TrainingJobName="a_b"), "TrainingJobName: 'a_b' does not fit"),
    "long": (lambda body: body.update(TrainingJobName="a" * 64), "expected 1 to 63 characters; got 64"),
    "word": (lambda body: body["ResourceConfig"].update(InstanceType="ml.g5.xlarg"), "did you mean 'ml.g5.xlarge'"),
    "type": (lambda body: body["ResourceConfig"].update(InstanceCount="1"), "expected a whole number; got str"),
    "flag": (lambda body: body.update(EnableNetworkIsolation=1), "expected true or false; got int"),
    "bound": (lambda body: body["ResourceConfig"].update(KeepAlivePeriodInSeconds=99999), "0 to 21600"),
    "member": (lambda body: body.update(Tag=[]), "there is no such member, did you mean 'Tags'"),
    "deep": (
        lambda body: body["InputDataConfig"][0]["DataSource"]["S3DataSource"].update(S3Uri="/home/me"),
        "InputDataConfig[0].DataSource.S3DataSource.S3Uri: '/home/me' does not fit",
    ),
    "list": (lambda body: body.update(InputDataConfig=[]), "InputDataConfig: expected 1 to 20 entries"),
    "map": (lambda body: body["HyperParameters"].update(epochs=3), "HyperParameters.epochs: expected text; got int"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_aws_would_refuse_is_said_before_it_is_sent(name):
    spoil, said = WRONG[name]
    call = training_call(TRAINING, PLACE)
    body = json.loads(json.dumps(call.parameters))
    spoil(body)
    found = problems(Call("sagemaker", "CreateTrainingJob", body))
    assert len(found) == 1
    assert said in found[0]
    with pytest.raises(UserError, match="AWS would refuse CreateTrainingJob"):
        check(Call("sagemaker", "CreateTrainingJob", body))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spot": True, "warm_s": 60}, "not kept warm"),
        ({"wait_s": 9}, "needs --spot"),
        ({"spot": True, "wait_s": 9}, "expected at least the 14400 s"),
        ({"settings": {"a": "x" * 2501}}, "at most 2,500 characters"),
        ({"settings": {str(number): "" for number in range(101)}}, "at most 100 settings"),
    ],
    ids=["warm spot", "no spot", "short wait", "long value", "many values"],
)
def test_a_training_that_cannot_be_is_refused(change, said):
    with pytest.raises(UserError, match=said):
        replace(TRAINING, **change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "serverless", "memory_mb": 4000}, "--memory: expected one of 1024"),
        ({"kind": "serverless", "concurrency": 201}, "expected 1 to 200"),
        ({"kind": "serverless", "most": 2}, "grows by itself"),
        ({"count": 3, "most": 2}, "at least the 3"),
        ({"kind": "async", "capture_percent": 5}, "--capture"),
    ],
    ids=["memory", "concurrency", "most", "fewer", "capture"],
)
def test_an_endpoint_that_cannot_be_is_refused(change, said):
    with pytest.raises(UserError, match=said):
        replace(DEPLOYMENT, **change)


def test_a_batch_has_no_more_in_flight_than_sagemaker_takes():
    with pytest.raises(UserError, match="at most 100 MB in flight; got 4 times 50"):
        replace(TRANSFORM, at_a_time=4, payload_mb=50)
