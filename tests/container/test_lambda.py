"""The container as a function of Lambda, driven by AWS's own client of the runtime API."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from medloom.container.__main__ import main
from medloom.imaging import encode_png
from medloom.packaging import read_bundle
from medloom.serving import Model, Models, Service
from medloom.serving.lambda_ import LIMITS, Function
from support.aws import BUCKET, opened_aws
from support.bundles import tiny_recipe, write_tiny_bundle
from support.dicom_sources import make_image
from support.lambda_events import enveloped, from_sqs
from support.lambda_runtime import runtime_api


@contextlib.contextmanager
def container(server, **variables):
    """Run the entry point until it has answered all events, or has ended."""
    given = {**os.environ, "AWS_LAMBDA_RUNTIME_API": server.address, **variables}
    command = [sys.executable, "-m", "medloom.container", "lambda"]
    process = subprocess.Popen(command, env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert server.done.wait(120)
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def request_of(body, accept="application/json"):
    return {
        "version": "2.0",
        "rawPath": "/invocations",
        "rawQueryString": "",
        "headers": {"content-type": "application/octet-stream", "accept": accept},
        "requestContext": {"http": {"method": "POST", "sourceIp": "192.0.2.1"}, "stage": "$default"},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


@pytest.mark.slow
def test_the_entry_point_answers_image_after_image_and_goes_on_after_an_event_that_is_none(tmp_path):
    write_tiny_bundle(tmp_path / "model.tar.gz")
    request = request_of(encode_png(np.zeros((32, 32, 3), np.uint8)))
    with (
        runtime_api([request, {"Records": []}, request]) as server,
        container(server, MEDLOOM_BUNDLE=str(tmp_path / "model.tar.gz")),
    ):
        assert [kind for kind, _ in server.answers] == ["response", "error", "response"]
        assert [said["statusCode"] for kind, said in server.answers if kind == "response"] == [200, 200]
        assert server.answers[1][1]["errorType"] == "UserError"


@pytest.fixture
def notices():
    """Upload objects to moto's bucket, and return what its own queue says of them."""
    with opened_aws() as aws:

        def upload(objects):
            queues = aws.client("sqs")
            url = queues.create_queue(QueueName="images")["QueueUrl"]
            arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            configured = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
            s3 = aws.client("s3")
            s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=configured)
            for key, content in objects.items():
                s3.put_object(Bucket=BUCKET, Key=key, Body=content)
            return queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]

        yield aws, upload


def written(aws):
    """What the function has written: contents by the form and the image."""
    return {
        tuple(key.removeprefix("out/").rsplit("/", 1)[0].split(f"/{BUCKET}/")): aws.client("s3")
        .get_object(Bucket=BUCKET, Key=key)["Body"]
        .read()
        for key in aws.objects("out/")
    }


@pytest.mark.slow
def test_images_of_a_bucket_are_answered_as_requests_are_and_a_bad_one_is_recorded(tmp_path, notices):
    aws, upload = notices
    bundle = write_tiny_bundle(tmp_path / "model.tar.gz", tiny_recipe(channels=("grey",)))
    tiff, pixels = io.BytesIO(), np.arange(48 * 40, dtype=np.uint8).reshape(48, 40)
    tifffile.imwrite(tiff, pixels)
    images = {"in/Jane Doe.tif": tiff.getvalue(), "in/+ 1.dcm": make_image(tmp_path, pixels), "in/bad.png": b"no image"}
    messages = upload(images)
    assert "%2F" in messages[1]["Body"]
    ids = [one["MessageId"] for one in messages]
    event = from_sqs(*(one["Body"] for one in messages), ids=ids)
    carried = from_sqs(*(enveloped(json.loads(one["Body"])) for one in messages), ids=ids)
    settings = {
        "MEDLOOM_BUNDLE": str(bundle),
        "MEDLOOM_OUTPUT": f"s3://{BUCKET}/out",
        "MEDLOOM_INPUT": f"s3://{BUCKET}/in/",
        "MEDLOOM_OUTPUT_FORMS": "png?,seg?",
    }
    with runtime_api([event, carried]) as server, container(server, **settings) as process:
        assert server.answers == [("response", {"batchItemFailures": []})] * 2
        process.kill()
        log = process.stdout.read()
    assert "Jane" not in log
    assert "SQS, 4 messages: ok 2, passed_by 1, unsupported 1" in log
    assert "SQS, 4 messages: done_before 2, passed_by 1, unsupported 1" in log
    found = written(aws)
    assert sorted(found) == [
        ("errors", "in/bad.png"),
        *(("json", key) for key in ("in/+ 1.dcm", "in/Jane Doe.tif")),
        *(("png", key) for key in ("in/+ 1.dcm", "in/Jane Doe.tif")),
        ("seg", "in/+ 1.dcm"),
    ]
    assert json.loads(found.pop(("errors", "in/bad.png")))["code"] == "unsupported"
    with read_bundle(bundle) as opened:
        models = Models([Model("tiny", opened.predictor(), opened.manifest)])
    with Service(models, LIMITS) as service, Function(service) as function:
        accepts = {"json": "application/json", "png": "image/png", "seg": "application/dicom; form=seg"}
        for (form, key), content in found.items():
            said = function.answer(request_of(images[key], accepts[form]))
            body = base64.b64decode(said["body"]) if said["isBase64Encoded"] else said["body"].encode()
            assert (said["statusCode"], body == content) == (200, True), (form, key)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "kind", "why"),
    [
        ({"MEDLOOM_BUNDLE": "/nowhere"}, "UserError", "there is no bundle at /nowhere; name one with MEDLOOM_BUNDLE"),
        ({"MEDLOOM_OUTPUT": "out"}, "UserError", "MEDLOOM_OUTPUT: out names no bucket"),
        (
            {"MEDLOOM_OUTPUT": "s3://scans/in/out/", "MEDLOOM_INPUT": "s3://scans/in/"},
            "UserError",
            "lie within each other",
        ),
    ],
)
def test_what_is_wrong_at_the_start_is_told_to_lambda_in_plain_words(variables, kind, why):
    with runtime_api([]) as server, container(server, **variables) as process:
        assert process.wait(60) == 2
        ((how, said),) = server.answers
        assert (how, said["errorType"]) == ("error", kind)
        assert why in said["errorMessage"]
        assert said["stackTrace"] == []
        assert "Traceback" not in process.stdout.read()


def test_outside_of_lambda_it_is_said_what_is_missing(monkeypatch, capsys):
    monkeypatch.delenv("AWS_LAMBDA_RUNTIME_API", raising=False)
    assert main(["lambda"]) == 2
    assert "AWS_LAMBDA_RUNTIME_API is not set" in capsys.readouterr().err
