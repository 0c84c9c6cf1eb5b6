"""The HTTP application: ``GET /``, ``GET /ping`` and ``POST /invocations``.

A request is checked from the outside in: headers, then the length, then the bytes as they arrive, then
the image; each refusal says why. Predictions run in threads, so ``/ping`` answers at any time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from medloom.errors import DecodeError, InputError
from medloom.inference import Predictor
from medloom.packaging import Manifest
from medloom.serving.answers import NotAcceptableError, check_accept, encode_prediction
from medloom.serving.description import describe, image_forms
from medloom.serving.negotiation import choose
from medloom.serving.problems import ACCEPTED, Problem, of_decode_error, of_input_error
from medloom.serving.requests import ImageRequest, predict, read_request

__all__ = ["Gate", "Limits", "create_app"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How much a client may ask for.

    Args:
        max_body_bytes: Largest body.
        header_timeout_s: Headers must have arrived by then; looked at by ``medloom.serving.server``.
        body_timeout_s: A body must have arrived by then.
        volume_timeout_s: A volume must have been predicted by then; hosts such as SageMaker give 60 s.
        concurrency: Predictions at the same time; the others wait.
    """

    max_body_bytes: int = 25 * 2**20
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    volume_timeout_s: float = 50.0
    concurrency: int = 2


class Gate:
    """Counts the requests in progress, and refuses new ones when the server is going down."""

    def __init__(self) -> None:
        self.draining = False
        self.inside = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Count one request in and out.

        Raises:
            Problem: 503 while draining.
        """
        if self.draining:
            raise Problem(503, "going_down", "the server is going down", "Send the request again.", close=True)
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1


def create_app(predictor: Predictor, manifest: Manifest, limits: Limits | None = None) -> Starlette:
    """Make the application.

    Args:
        predictor: What answers. For images from strangers, give it a ``decoder`` and a ``volume_decoder`` of
            `medloom.imaging.fence`.
        manifest: The bundle's manifest.
        limits: How much a client may ask for.

    Returns:
        An ASGI application; its server finds in ``app.state`` the ``limits``, and the ``gate`` that counts the
        requests in progress.
    """
    limits = limits or Limits()
    service = _Service(predictor, manifest, limits)
    routes = [
        Route("/", service.describe, methods=["GET"]),
        Route("/ping", service.ping, methods=["GET"]),
        Route("/invocations", service.invoke, methods=["POST"]),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _answer_no_route})
    app.state.gate = service.gate
    app.state.limits = limits
    return app


class _Service:
    def __init__(self, predictor: Predictor, manifest: Manifest, limits: Limits) -> None:
        self.predictor = predictor
        self.manifest = manifest
        self.limits = limits
        self.gate = Gate()
        self._threads = CapacityLimiter(limits.concurrency)

    async def ping(self, request: Request) -> Response:
        """Answer 200 while requests are taken."""
        del request
        status = 503 if self.gate.draining else 200
        state = "going down" if self.gate.draining else "ok"
        return JSONResponse(
            {"status": state, "model": self.manifest.name, "phantom": self.manifest.phantom}, status_code=status
        )

    async def describe(self, request: Request) -> Response:
        """Answer with what the model takes and gives."""
        del request
        return JSONResponse(describe(self.predictor, self.manifest, self.limits.max_body_bytes))

    async def invoke(self, request: Request) -> Response:
        """Answer one image with one prediction, or say why not."""
        try:
            with self.gate.enter():
                content, media_type = await self._answer(request)
        except Problem as problem:
            return problem.response()
        except Exception as error:
            # Starlette would raise it again, and uvicorn log its message, which might hold what a client sent.
            _log.error("a prediction failed: %s", type(error).__name__)
            return Problem(500, "internal", "the prediction failed").response()
        headers = {"X-Medloom-Model": self.manifest.name, "X-Medloom-Phantom": str(self.manifest.phantom).lower()}
        return Response(content, headers=headers, media_type=media_type)

    async def _answer(self, request: Request) -> tuple[bytes, str]:
        declared = _declared_type(request)
        accept = ", ".join(request.headers.getlist("accept"))
        page, series = _page(request), request.query_params.get("series")
        forms = image_forms(self.predictor)
        _choose(accept, forms if page is not None else tuple(dict.fromkeys((*forms, *self.predictor.volume_forms))))
        body = await self._body(request)
        work = partial(self._predict, body, declared, page, series, accept)
        return await to_thread.run_sync(work, limiter=self._threads)

    def _predict(
        self, body: bytes, declared: str, page: int | None, series: str | None, accept: str
    ) -> tuple[bytes, str]:
        asked = replace(_with_page(read_request(body, declared), page), series=series)
        no_image = choose(accept, image_forms(self.predictor)) is None
        deadline = _Deadline(self.limits.volume_timeout_s)
        try:
            prediction = predict(
                self.predictor, asked, self.manifest.input.page, one_slice=no_image, progress=deadline.check
            )
        except DecodeError as error:
            raise of_decode_error(error, asked.content_type) from error
        except InputError as error:
            raise of_input_error(error) from error
        form = _choose(accept, prediction.forms)
        return encode_prediction(prediction, self.manifest, form), form

    async def _body(self, request: Request) -> bytes:
        _check_length(request, self.limits.max_body_bytes)
        try:
            async with asyncio.timeout(self.limits.body_timeout_s):
                return await _read(request, self.limits.max_body_bytes)
        except TimeoutError as error:
            message = f"the body did not arrive within {self.limits.body_timeout_s:g} s"
            raise Problem(408, "too_slow", message, close=True) from error
        except ClientDisconnect as error:
            raise Problem(400, "truncated", "the connection ended before the body did", close=True) from error


async def _read(request: Request, most: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise _too_large(most)
    return bytes(body)


def _check_length(request: Request, most: int) -> None:
    """Refuse by the header what is too large or has no length, before any of it is read."""
    lengths = request.headers.getlist("content-length")
    if not lengths:
        if "transfer-encoding" not in request.headers:
            raise Problem(411, "length_required", "the request has no Content-Length and no body", close=True)
        return
    if len(set(lengths)) > 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
        raise Problem(400, "bad_length", "Content-Length must be one whole number", close=True)
    if len(lengths[0]) > 18 or int(lengths[0]) > most:
        raise _too_large(most)


def _too_large(most: int) -> Problem:
    return Problem(413, "too_large", f"the body is larger than {most} bytes", "Send one image per request.", close=True)


def _declared_type(request: Request) -> str:
    """Media type of the body, without parameters and in lower case."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        message = f"Content-Encoding {encoding[:40]!r} is not taken"
        raise Problem(415, "unsupported_encoding", message, "Send the image as it is.", close=True)
    values = request.headers.getlist("content-type")
    media_type = values[0].partition(";")[0].strip().lower() if len(values) == 1 else ""
    if media_type not in ACCEPTED:
        came = f"Content-Type {media_type[:80]!r} is not taken" if media_type else "there is no single Content-Type"
        hint = f"Send one image as {', '.join(ACCEPTED)}."
        raise Problem(415, "unsupported_type", came, hint, close=True)
    return media_type


class _Deadline:
    """Refuses a volume that takes too long, between two slices."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._end = time.monotonic() + limit_s

    def check(self, done: int, slices: int) -> None:
        if time.monotonic() > self._end:
            message = f"of {slices} slices {done} were predicted within {self._limit_s:g} s"
            hint = "Send fewer slices in one request, or single ones with page=, or use medloom predict."
            raise Problem(413, "too_slow", message, hint)


def _choose(accept: str, forms: Sequence[str]) -> str:
    try:
        return check_accept(accept, forms)
    except NotAcceptableError as error:
        raise Problem(406, "not_acceptable", str(error), close=True, accepted=error.forms) from error


def _page(request: Request) -> int | None:
    text = request.query_params.get("page")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise Problem(400, "bad_page", "page must be a whole number, counted from 0", close=True)
    return int(text)


def _with_page(asked: ImageRequest, page: int | None) -> ImageRequest:
    """Take the page that the query names; JSON that names another one is refused."""
    if page is None or page == asked.page:
        return asked
    if asked.page is not None:
        raise Problem(400, "bad_page", "the query and the JSON name different pages", "Name the page once.")
    return replace(asked, page=page)


async def _answer_no_route(request: Request, error: Exception) -> Response:
    refusal = cast(HTTPException, error)  # the only kind that this is registered for
    code = {404: "not_found", 405: "method_not_allowed"}.get(refusal.status_code, "refused")
    hint = "There are GET /, GET /ping and POST /invocations."
    response = Problem(refusal.status_code, code, f"{request.method} is not answered at this path", hint).response()
    response.headers.update(refusal.headers or {})
    return response
