"""In a batch transform a refusal for good is the answer to its record; all else stays an error."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from medloom.errors import DataError, DecodeCode, DecodeError, InputError
from medloom.serving.http.openapi_schemas import PROBLEMS
from medloom.serving.problems import Problem, of_decode_error, of_input_error
from medloom.serving.records import OF_RECORDS, record_of, recorded

BATCH = {"SAGEMAKER_BATCH": "True"}


def test_every_code_of_a_record_is_one_that_a_server_gives():
    for status, codes in OF_RECORDS.items():
        assert codes <= set(PROBLEMS[status])


@pytest.mark.parametrize("code", get_args(DecodeCode))
def test_whatever_is_wrong_with_the_bytes_of_an_image_is_its_answer(code):
    problem = of_decode_error(DecodeError(code, "what came"), "image/png")
    response = recorded(problem)
    assert (response.status_code, response.media_type) == (200, "application/problem+json")
    said = json.loads(response.body)
    assert said == {**json.loads(problem.response().body), "refused": True}
    assert response.headers["X-Medloom-Refused"] == code
    assert "Retry-After" not in response.headers


@pytest.mark.parametrize(
    "problem",
    [
        Problem(503, "overloaded", "busy"),
        Problem(503, "too_late", "it took too long"),
        Problem(408, "too_slow", "the body did not arrive"),
        Problem(406, "not_acceptable", "no such form"),
        Problem(415, "unsupported_type", "no such type"),
        Problem(404, "unknown_model", "no such model"),
        Problem(422, "not_fetched", "its host was away"),
        Problem(500, "internal", "the request failed"),
    ],
    ids=lambda problem: problem.code,
)
def test_what_another_time_may_mend_or_is_wrong_with_the_job_is_an_error(problem):
    response = recorded(problem)
    assert response.status_code == problem.status
    assert "refused" not in json.loads(response.body)
    assert record_of(problem, "image/png", BATCH) is None


def test_awss_own_server_is_told_the_same_and_only_in_a_batch():
    wrong = InputError("expected 3 channels")
    assert record_of(wrong, "image/png", {}) is None
    assert record_of(wrong, "image/png", {"SAGEMAKER_BATCH": "false"}) is None
    content, media_type = record_of(wrong, "image/png", BATCH)
    assert (content, media_type) == (recorded(of_input_error(wrong)).body, "application/problem+json")
    assert record_of(DataError("a fault of the host"), "image/png", BATCH) is None
