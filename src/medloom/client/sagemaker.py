"""Requests to an endpoint of Amazon SageMaker, by boto3; who may ask it is a matter of AWS credentials.

An endpoint hands on ``Content-Type``, ``Accept`` and the name of one of several models, and nothing else of a request,
so a page or series cannot be asked for.

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn

from medloom.aws import code_of, is_busy, plainly
from medloom.client.wire import NoAnswer, Request, Response
from medloom.errors import MedloomError, UserError
from medloom.extras import require

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

__all__ = ["MOST_BYTES", "SCHEME", "AsyncSageMaker", "SageMaker"]

SCHEME = "sagemaker://"

_PROBLEM = "application/problem+json"

MOST_BYTES = 6_291_456
"""Largest body that a real-time endpoint takes (botocore 1.44's model of the service: 6 MiB)."""


class SageMaker:
    """Invokes an endpoint and waits; several threads may share it.

    Args:
        name: Of the endpoint, with or without ``sagemaker://`` before it.
        timeout_s: Longest time for an answer.
        session: A ``boto3.Session`` with credentials and region; None takes those of the environment.
    """

    described = False

    def __init__(self, name: str, *, timeout_s: float = 70.0, session: Any = None) -> None:  # noqa: ANN401 - no types
        boto3, config = require("boto3", "aws"), require("botocore.config", "aws")
        self._failures = require("botocore.exceptions", "aws")
        self._endpoint = name.removeprefix(SCHEME).strip("/")
        self.name = f"the endpoint {self._endpoint}"
        # one try each: who calls counts the tries, and knows what Retry-After is
        settings = config.Config(read_timeout=timeout_s, retries={"total_max_attempts": 1})
        try:
            self._runtime = (session or boto3.Session()).client("sagemaker-runtime", config=settings)
        except self._failures.BotoCoreError as error:
            raise UserError(f"{self.name} cannot be asked: {error}; set a region and credentials for AWS") from error

    def send(self, request: Request) -> Response | NoAnswer:
        """Send a request to ``/invocations`` and wait for the answer."""
        if len(request.content) > MOST_BYTES:
            return _problem(413, "too_large", f"{self.name} takes at most {MOST_BYTES} bytes; send smaller images")
        if request.query:
            raise UserError(f"{self.name} cannot be asked for a page or series; send the file of that one alone")
        named = {"TargetModel": request.headers["X-Medloom-Model"]} if "X-Medloom-Model" in request.headers else {}
        try:
            found = self._runtime.invoke_endpoint(
                EndpointName=self._endpoint,
                Body=request.content,
                ContentType=request.headers.get("Content-Type", "application/octet-stream"),
                Accept=request.headers.get("Accept", "application/json"),
                **named,
            )
            return Response(200, {"content-type": found["ContentType"]}, found["Body"].read())
        except self._failures.ClientError as error:
            return self._refused(error)
        except (self._failures.EndpointConnectionError, self._failures.ConnectionClosedError):
            return NoAnswer("the connection was refused or ended", again=True)
        except self._failures.HTTPClientError as error:
            return NoAnswer(type(error).__name__, again=False)
        except self._failures.BotoCoreError as error:
            return self._said(error)

    def close(self) -> None:
        """End the connections."""
        self._runtime.close()

    def _refused(self, error: ClientError) -> Response:
        """What the container answered, which AWS wraps; what another time may mend; else an error that says it."""
        said = dict(error.response)
        if "OriginalStatusCode" in said:
            content = str(said.get("OriginalMessage", "")).encode()
            kind = _PROBLEM if content.startswith(b"{") else "text/plain"
            return Response(int(said["OriginalStatusCode"]), {"content-type": kind}, content)
        if not is_busy(error):
            return self._said(error)
        try:
            return self._said(error)
        except MedloomError as plain:
            headers = said.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            return _problem(HTTPStatus.TOO_MANY_REQUESTS, code_of(error), str(plain), headers)

    def _said(self, error: Exception) -> NoReturn:
        """Say an error of boto3's in plain words."""
        with plainly(f"{self.name} cannot be asked", rights="; it needs sagemaker:InvokeEndpoint"):
            raise error
        raise AssertionError  # unreachable: the block raises


class AsyncSageMaker:
    """The same from an event loop, with a thread for each request. The arguments are those of `SageMaker`."""

    described = False

    def __init__(self, name: str, *, timeout_s: float = 70.0, session: Any = None) -> None:  # noqa: ANN401 - no types
        self._waiting = SageMaker(name, timeout_s=timeout_s, session=session)
        self.name = self._waiting.name

    async def send(self, request: Request) -> Response | NoAnswer:
        """Send a request and wait for the answer."""
        return await asyncio.to_thread(self._waiting.send, request)

    async def close(self) -> None:
        """End the connections."""
        self._waiting.close()


def _problem(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    content = json.dumps({"code": code, "message": message}).encode()
    return Response(status, {**(headers or {}), "content-type": _PROBLEM}, content)
