"""A function that is told of objects: read from moto's bucket, answered into another place of it."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import threading

import boto3
import numpy as np
import pytest
from botocore.stub import Stubber

from medloom.errors import ServerError, UserError
from medloom.imaging import encode_png
from medloom.serving import Model, Models, Service, create_app
from medloom.serving.lambda_ import LIMITS, Function, Settings
from medloom.serving.lambda_.objects import Objects, new_client
from support.aws import BUCKET, REGION, opened_aws, set_up
from support.lambda_events import bridged, from_s3, from_sqs, s3_record

IMAGE = encode_png(np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3))
NAME = "ward/Jane Doe+1.png"


@pytest.fixture(scope="module")
def shared_aws():
    with opened_aws() as aws:
        yield aws


@pytest.fixture
def aws(shared_aws):
    set_up(shared_aws)
    return shared_aws


class Left:
    def __init__(self, seconds=600.0):
        self.seconds = seconds

    def get_remaining_time_in_millis(self):
        return int(self.seconds * 1000)


@pytest.fixture
def opened(aws, served, served_labels):
    """Open a function on a model, with variables of the environment."""
    with contextlib.ExitStack() as stack:

        def open_one(*, labels=False, client=None, **variables):
            predictor, manifest = served_labels if labels else served
            service = stack.enter_context(Service(Models([Model("tiny", predictor, manifest)]), LIMITS))
            settings = Settings.read({"MEDLOOM_OUTPUT": f"s3://{BUCKET}/out/", **variables})
            objects = Objects(client or new_client())
            return stack.enter_context(Function(service, settings, objects)), service

        yield open_one


@pytest.fixture
def put(aws):
    """Upload an object, and return what S3 says of it."""

    def upload(key, content, **more):
        said = aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=content, **more)
        etag, version = said["ETag"].strip('"'), said.get("VersionId")
        return s3_record(key, bucket=BUCKET, etag=etag, version=version, size=len(content))

    return upload


@pytest.fixture
def read(aws):
    """Read what a function has written: contents by folder."""

    def contents(folder=""):
        keys = [key for key in aws.objects("out/") if key.startswith(f"out/{folder}")]
        return {key: aws.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}

    return contents


def logged(caplog):
    """What the function has logged; moto's server logs in the same process."""
    return "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("medloom"))


def by_form(contents):
    return {key.split("/")[1]: content for key, content in contents.items()}


def test_an_object_gets_the_bytes_that_the_server_answers(opened, put, read, make_client, aws):
    function, service = opened(MEDLOOM_OUTPUT_FORMS="png?,overlay,nifti-gz?")
    assert function.answer(from_s3(put(NAME, IMAGE)), Left()) == {"ok": 1}
    client = make_client(create_app(service))
    found = by_form(read())
    for form, media in (("json", "application/json"), ("png", "image/png"), ("overlay", "image/png; form=overlay")):
        headers = {"content-type": "image/png", "accept": media}
        assert found.pop(form) == client.post("/invocations", IMAGE, headers).content
    assert found == {}
    (key,) = [key for key in aws.objects("out/") if "/png/" in key]
    assert key.startswith(f"out/png/{BUCKET}/{NAME}/")
    about = aws.client("s3").head_object(Bucket=BUCKET, Key=key)
    assert about["ContentType"] == "image/png"
    assert about["Metadata"]["medloom-phantom"] == "true"


def test_an_event_that_comes_again_neither_predicts_nor_overwrites(opened, put, aws, monkeypatch):
    function, service = opened()
    event = from_s3(put(NAME, IMAGE))
    function.answer(event, Left())
    before = {one["Key"]: one["LastModified"] for one in aws.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]}
    monkeypatch.setattr(service, "answer", None)
    assert function.answer(event, Left()) == {"done_before": 1}
    after = {one["Key"]: one["LastModified"] for one in aws.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert before == after


def test_two_that_predict_at_the_same_time_leave_one_answer(opened, put, read):
    function, service = opened()
    other, _ = opened()
    record, original, said = put(NAME, IMAGE), service.answer, []

    async def answer(*args, **options):
        beside = threading.Thread(target=lambda: said.append(other.answer(from_s3(record), Left())))
        beside.start()
        beside.join()
        return await original(*args, **options)

    service.answer = answer
    assert function.answer(from_s3(record), Left()) == {"done_before": 1}
    assert said == [{"ok": 1}]
    assert sorted(by_form(read())) == ["json", "png"]
    assert len(read()) == 2


def test_each_version_has_an_answer_of_its_own_and_the_one_of_the_event_is_read(opened, put, read, aws):
    aws.client("s3").put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    function, _ = opened(MEDLOOM_OUTPUT_FORMS="json")
    first, second = put(NAME, IMAGE), put(NAME, encode_png(np.zeros((32, 32, 3), np.uint8)))
    assert function.answer(from_s3(second), Left()) == {"ok": 1}
    (black,) = read("json").values()
    assert function.answer(from_s3(first), Left()) == {"ok": 1}
    assert len(read("json")) == 2
    assert [content for content in read("json").values() if content != black]


def test_where_no_versions_are_kept_one_that_was_replaced_is_said_to_be(opened, put, read):
    function, _ = opened()
    first = put(NAME, IMAGE)
    put(NAME, encode_png(np.zeros((32, 32, 3), np.uint8)))
    assert function.answer(from_s3(first), Left()) == {"object_replaced": 1}
    (problem,) = read("errors").values()
    assert (json.loads(problem)["status"], json.loads(problem)["code"]) == (412, "object_replaced")


@pytest.mark.parametrize(
    ("content", "code", "status"),
    [(b"", "empty", 400), (IMAGE[:60], "truncated", 400), (b"no image", "unsupported", 415)],
)
def test_a_bad_image_is_recorded_and_done(opened, put, read, content, code, status):
    function, _ = opened()
    event = from_sqs(from_s3(put("bad.png", content)), from_s3(put(NAME, IMAGE)))
    assert function.answer(event, Left()) == {"batchItemFailures": []}
    assert sorted({key.split("/")[1] for key in read()}) == ["errors", "json", "png"]
    ((key, problem),) = read("errors").items()
    assert (json.loads(problem)["code"], json.loads(problem)["status"]) == (code, status)
    assert key.startswith(f"out/errors/{BUCKET}/bad.png/")
    assert function.answer(event, Left()) == {"batchItemFailures": []}
    assert len(read("errors")) == 1


def test_an_object_that_is_gone_is_recorded(opened, put, read, aws):
    function, _ = opened()
    record = put(NAME, IMAGE)
    aws.client("s3").delete_object(Bucket=BUCKET, Key=NAME)
    assert function.answer(from_s3(record), Left()) == {"object_gone": 1}
    assert json.loads(*read("errors").values())["code"] == "object_gone"


@pytest.mark.parametrize("said", [True, False])
def test_an_object_that_is_too_large_is_not_read(opened, put, read, said):
    function, _ = opened(MEDLOOM_MAX_OBJECT_MIB="1")
    record = put(NAME, bytes(2**20 + 1))
    if not said:
        del record["s3"]["object"]["size"]
    assert function.answer(from_s3(record), Left()) == {"too_large": 1}
    assert "1048577 bytes" in json.loads(*read("errors").values())["message"]


def test_what_the_function_wrote_is_never_predicted(opened, put, read):
    function, _ = opened()
    function.answer(from_s3(put(NAME, IMAGE), put("bad", b"no image")), Left())
    before = read()
    events = [bridged(key, bucket=BUCKET, size=len(content)) for key, content in before.items()]
    assert len(events) == 3
    for event in events:
        assert function.answer(event, Left()) == {"passed_by": 1}
    assert read() == before


def test_an_image_among_the_answers_is_refused_and_that_is_no_loop(opened, put, read):
    function, _ = opened()
    assert function.answer(from_s3(put("out/scan.png", IMAGE)), Left()) == {"in_output": 1}
    (key,) = read("errors")
    assert function.answer(bridged(key, bucket=BUCKET), Left()) == {"passed_by": 1}


@pytest.mark.parametrize("key", ["ward/", "ward/scan.png.json", "ward/.DS_Store"])
def test_what_is_no_image_by_its_name_is_passed_by(opened, put, read, key):
    function, _ = opened()
    assert function.answer(from_s3(put(key, b"")), Left()) == {"passed_by": 1}
    assert read() == {}


def test_metadata_come_from_beside_the_image(opened, put, read, make_client):
    function, service = opened(labels=True)
    image = encode_png(np.zeros((32, 32), np.uint8))
    record = put(NAME, image)
    assert function.answer(from_s3(record), Left()) == {"metadata_missing": 1}
    assert "age, sex" in json.loads(*read("errors").values())["message"]
    put(f"{NAME}.json", b'{"age": 61, "sex": "female"}')
    assert function.answer(from_s3(record), Left()) == {"ok": 1}
    asked = json.dumps({"image": base64.b64encode(image).decode(), "metadata": {"age": 61, "sex": "female"}}).encode()
    client = make_client(create_app(service))
    expected = client.post("/invocations", asked, headers={"content-type": "application/json"})
    assert expected.status_code == 200
    assert by_form(read("json")) == {"json": expected.content}


def test_metadata_that_cannot_be_read_are_recorded(opened, put, read):
    function, _ = opened(labels=True)
    put(f"{NAME}.json", b"[]")
    assert function.answer(from_s3(put(NAME, IMAGE)), Left()) == {"bad_metadata": 1}


def test_a_form_that_an_image_cannot_have_is_recorded(opened, put, read):
    function, _ = opened(MEDLOOM_OUTPUT_FORMS="seg")
    assert function.answer(from_s3(put(NAME, IMAGE)), Left()) == {"not_acceptable": 1}
    assert list(by_form(read())) == ["errors"]
    assert opened(MEDLOOM_OUTPUT_FORMS="seg?")[0].answer(from_s3(put(NAME, IMAGE)), Left()) == {"ok": 1}


def test_a_form_of_another_kind_of_answer_is_refused_at_the_start(opened):
    with pytest.raises(UserError, match=r"MEDLOOM_OUTPUT_FORMS: .*seg"):
        opened(labels=True, MEDLOOM_OUTPUT_FORMS="seg")


def test_no_log_and_no_error_names_a_key(opened, put, caplog):
    caplog.set_level(logging.DEBUG, "medloom")
    function, _ = opened()
    event = from_s3(put(NAME, IMAGE), put("Jane Doe bad.png", b"no image"))
    function.answer(event, Left())
    with pytest.raises(ServerError) as caught:
        function.answer(event, Left(0.5))
    assert "truncated" not in logged(caplog)
    assert "unsupported 1" in logged(caplog)
    assert "Jane" not in logged(caplog) + str(caught.value)


def stubbed(*answers):
    """A client that gives these answers of S3 one after the other, and then none."""
    client = boto3.client("s3", region_name=REGION, aws_access_key_id="made", aws_secret_access_key="up")
    stub = Stubber(client)
    for operation, code, status in answers:
        stub.add_client_error(operation, code, f"{NAME} refused", status)
    stub.activate()
    return client


@pytest.mark.parametrize(
    "answers",
    [
        [("head_object", "SlowDown", 503)],
        [("head_object", "500", 500)],
        [("head_object", "404", 404), ("get_object", "SlowDown", 503)],
        [("head_object", "404", 404), ("get_object", "InternalError", 500)],
        [("head_object", "404", 404), ("get_object", "RequestTimeout", 400)],
    ],
)
def test_what_s3_may_do_another_time_comes_again(opened, put, answers, caplog):
    function, _ = opened(client=stubbed(*answers))
    record = put(NAME, IMAGE)
    assert function.answer(from_sqs(from_s3(record)), Left()) == {
        "batchItemFailures": [{"itemIdentifier": "message-0"}]
    }
    function, _ = opened(client=stubbed(*answers))
    with pytest.raises(ServerError, match="the event is to come again"):
        function.answer(from_s3(record), Left())
    assert "Jane" not in logged(caplog)


@pytest.mark.parametrize(
    "answers",
    [[("head_object", "403", 403)], [("head_object", "404", 404), ("get_object", "AccessDenied", 403)]],
)
def test_a_role_that_may_not_is_told_which_rights_it_needs(opened, put, answers, caplog):
    function, _ = opened(client=stubbed(*answers))
    with pytest.raises(UserError, match=r"S3 denied (Head|Get)Object in the bucket .* needs s3:GetObject") as caught:
        function.answer(from_sqs(from_s3(put(NAME, IMAGE))), Left())
    assert "Jane" not in logged(caplog) + str(caught.value)


def test_an_output_that_does_not_exist_is_an_error(opened, put):
    function, _ = opened(MEDLOOM_OUTPUT="s3://nowhere-at-all/")
    with pytest.raises(UserError, match="there is no bucket nowhere-at-all"):
        function.answer(from_s3(put(NAME, IMAGE)), Left())


def test_without_an_output_an_event_of_storage_is_an_error(opened, put):
    function, _ = opened(MEDLOOM_OUTPUT="")
    with pytest.raises(UserError, match="MEDLOOM_OUTPUT is not set"):
        function.answer(from_s3(put(NAME, IMAGE)), Left())


def test_without_time_nothing_is_begun(opened, put, read):
    function, _ = opened()
    event = from_sqs(*(from_s3(put(f"{number}.png", IMAGE)) for number in range(3)))
    said = function.answer(event, Left(1.0))
    assert [one["itemIdentifier"] for one in said["batchItemFailures"]] == ["message-0", "message-1", "message-2"]
    assert read() == {}


def test_notices_of_motos_own_queue_are_answered(opened, put, read, aws):
    queues = aws.client("sqs")
    url = queues.create_queue(QueueName="images")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    configured = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    aws.client("s3").put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=configured)
    put(NAME, IMAGE)
    messages = queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert "s3:TestEvent" in messages[0]["Body"]
    assert "%2F" in messages[1]["Body"]
    function, _ = opened()
    event = from_sqs(*(one["Body"] for one in messages), ids=[one["MessageId"] for one in messages])
    assert function.answer(event, Left()) == {"batchItemFailures": []}
    assert sorted(by_form(read())) == ["json", "png"]


def test_a_very_long_key_is_cut_in_the_names_of_answers(opened, put, read):
    function, _ = opened()
    long = "é" * 510
    assert function.answer(from_s3(put(f"{long}1", IMAGE), put(f"{long}2", IMAGE)), Left()) == {"ok": 2}
    assert len(read("json")) == 2
    assert {len(key.encode()) for key in read()} <= {1023, 1024}
