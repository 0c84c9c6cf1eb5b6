"""Requests of function URLs and of API Gateway, as Lambda hands them over.

The fields are those that AWS documents and that github.com/aws/aws-lambda-go/events declares.
"""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from medloom.errors import UserError
from medloom.imaging import encode_png
from medloom.serving import Model, Models, Service, create_app
from medloom.serving.lambda_ import LIMITS, Function

IMAGE = encode_png(np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3))


class Left:
    def __init__(self, seconds):
        self.seconds = seconds

    def get_remaining_time_in_millis(self):
        return int(self.seconds * 1000)


@pytest.fixture(scope="module")
def service(served):
    predictor, manifest = served
    with Service(Models([Model("tiny", predictor, manifest)]), LIMITS) as service:
        yield service


@pytest.fixture(scope="module")
def function(service):
    with Function(service) as function:
        yield function


def version_2(body, path="/invocations", method="POST", query="", stage="$default", **headers):
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"content-length": "7", **headers},
        "requestContext": {"http": {"method": method, "path": path, "sourceIp": "192.0.2.1"}, "stage": stage},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def version_1(body, **headers):
    return {
        "version": "1.0",
        "httpMethod": "POST",
        "path": "/invocations",
        "headers": {key.title(): value for key, value in headers.items()},
        "multiValueHeaders": {key.title(): [value] for key, value in headers.items()},
        "multiValueQueryStringParameters": None,
        "requestContext": {"identity": {"sourceIp": "192.0.2.1"}, "stage": "prod"},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


@pytest.mark.parametrize("event", [version_2, version_1])
@pytest.mark.parametrize("accept", ["application/json", "image/png"])
def test_an_image_gets_the_bytes_that_the_server_answers(function, service, make_client, event, accept):
    headers = {"content-type": "image/png", "accept": accept}
    found = function.answer(event(IMAGE, **headers), Left(20))
    expected = make_client(create_app(service)).post("/invocations", IMAGE, headers)
    assert found["statusCode"] == 200
    assert found["headers"]["content-type"] == expected.headers["content-type"]
    assert found["isBase64Encoded"] is (accept == "image/png")
    body = base64.b64decode(found["body"]) if found["isBase64Encoded"] else found["body"].encode()
    assert body == expected.content


def test_json_comes_as_text(function):
    event = version_2(b"", **{"content-type": "application/json"})
    event |= {"body": json.dumps({"image": base64.b64encode(IMAGE).decode()}), "isBase64Encoded": False}
    assert function.answer(event)["statusCode"] == 200


def test_a_stage_of_api_gateway_is_no_part_of_the_path(function):
    assert function.answer(version_2(b"", "/prod/ping", "GET", stage="prod"))["statusCode"] == 200


def test_the_query_counts(function):
    found = function.answer(version_2(IMAGE, query="page=x", **{"content-type": "image/png"}))
    assert (found["statusCode"], json.loads(found["body"])["code"]) == (400, "bad_page")


def test_refusals_are_those_of_the_server(function):
    bad = function.answer(version_2(b"\x89PNG\r\n\x1a\n", **{"content-type": "image/png"}))
    assert bad["statusCode"] == 400
    assert bad["headers"]["content-type"] == "application/problem+json"
    assert function.answer(version_2(IMAGE, **{"content-type": "text/html"}))["statusCode"] == 415
    unread = version_2(IMAGE, **{"content-type": "image/png"}) | {"body": "?"}
    assert json.loads(function.answer(unread)["body"])["code"] == "bad_body"


def test_a_body_above_6_mb_is_refused(function):
    found = function.answer(version_2(bytes(6 * 2**20 + 1), **{"content-type": "image/png"}))
    assert found["statusCode"] == 413


def test_an_answer_that_lambda_would_not_take_is_refused(function):
    large = encode_png(np.zeros((1200, 1200, 3), np.uint8))
    found = function.answer(version_2(large, **{"content-type": "image/png", "accept": "application/x-npy"}))
    assert (found["statusCode"], json.loads(found["body"])["code"]) == (413, "answer_too_large")


def test_an_event_that_is_no_request_is_an_error_of_the_function(function):
    with pytest.raises(UserError, match="no request of a function URL"):
        function.answer({"Records": [{"eventSource": "aws:kinesis"}]})
