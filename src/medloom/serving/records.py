"""A refusal as the answer to one record of a batch transform, so that the job goes on with the others.

SageMaker ends a whole job at the first record that a container answers with an error. So what is wrong with one record
for good is its answer there: status 200, and the reason as ``application/problem+json`` with ``"refused": true``. What
another time may mend, and what is wrong with the job, stays an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from http import HTTPStatus
from typing import get_args

from starlette.responses import Response

from medloom.aws import says_yes
from medloom.errors import DecodeCode, DecodeError, InputError
from medloom.serving.problems import Problem, of_decode_error, of_input_error

__all__ = ["OF_RECORDS", "record_of", "recorded"]

OF_RECORDS: Mapping[int, frozenset[str]] = {
    400: frozenset((*get_args(DecodeCode), "bad_json", "bad_multipart", "bad_page", "several_images")),
    413: frozenset(("too_large", "too_slow")),
    415: frozenset(("mismatch", "unsupported")),
    422: frozenset(("corrupt", "truncated", "wrong_input")),
}
"""Codes of what is wrong with one record and stays so, by the status that they have elsewhere."""

_MARK = {"refused": True}
_HEADER = "X-Medloom-Refused"


def recorded(problem: Problem) -> Response:
    """Return a problem as the answer to a record where it is one of that record for good; else as the error it is."""
    if problem.code not in OF_RECORDS.get(problem.status, ()):
        return problem.response()
    response = problem.response(_MARK)
    response.status_code = HTTPStatus.OK
    response.headers[_HEADER] = problem.code
    return response


def record_of(error: Exception, declared: str, environment: Mapping[str, str] = os.environ) -> tuple[bytes, str] | None:
    """Return what AWS's own server is to answer to a record of a batch transform; None where it is to fail.

    Args:
        error: Why there is no prediction.
        declared: Media type of the record.
        environment: Says whether this is a batch transform.

    Returns:
        The answer and its media type.
    """
    if not says_yes(environment, "SAGEMAKER_BATCH"):
        return None
    if isinstance(error, DecodeError):
        problem = of_decode_error(error, declared)
    elif isinstance(error, InputError):
        problem = of_input_error(error)
    elif isinstance(error, Problem):
        problem = error
    else:
        return None
    response = recorded(problem)
    return (bytes(response.body), str(response.media_type)) if response.status_code == HTTPStatus.OK else None
