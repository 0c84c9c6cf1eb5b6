"""The HTTP application: middleware around one table of routes.

A request is checked from the outside in: headers, then the length, then the bytes as they arrive, then
the image; each refusal says why. Predictions run in threads, so ``/ping`` answers at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp

from medloom.serving.admission import Admission, Limits
from medloom.serving.fetching import Fetcher
from medloom.serving.http import inference_v2, native, operating_v2, page, sagemaker
from medloom.serving.http.compression import Compress
from medloom.serving.problems import Problem
from medloom.serving.records import recorded
from medloom.serving.repository import Repository
from medloom.serving.service import Service

__all__ = ["PROTOCOLS", "create_app"]

PROTOCOLS: tuple[Callable[[Service, Limits], list[BaseRoute]], ...] = (
    page.routes,
    native.routes,
    sagemaker.routes,
    inference_v2.routes,
    operating_v2.routes,
)
"""What speaks to clients; the first route that fits a path and method answers."""


def create_app(
    service: Service,
    limits: Limits | None = None,
    *,
    middleware: Sequence[Callable[[ASGIApp], ASGIApp]] = (),
    routes: Sequence[BaseRoute] = (),
    fetcher: Fetcher | None = None,
    repository: Repository | None = None,
    records: bool = False,
) -> Starlette:
    """Make the application.

    Args:
        service: What answers.
        limits: How much a client may ask for; those of the service by default.
        middleware: Each is given the application inside it and returns one around it; the first is the outermost.
        routes: Further ones, looked at before those of the protocols.
        fetcher: What fetches images that requests name by a URL; nothing is fetched by default.
        repository: Where clients may have models loaded from; nothing is loaded by default.
        records: Whether what is wrong with one image is the answer to it, and no error; see ``recorded``.

    Returns:
        An ASGI application; its server finds in ``app.state`` the ``limits``, the ``gate`` that counts the requests in
        progress, and ``refused``, which it tells of what was refused before it was a request.
    """
    limits = limits or service.limits
    table = [*routes, *(route for protocol in PROTOCOLS for route in protocol(service, limits))]
    layers: list[Callable[[ASGIApp], ASGIApp]] = [*middleware, Compress]
    app = Starlette(
        routes=table,
        middleware=[Middleware(around) for around in layers],
        exception_handlers={HTTPException: _answer_no_route},
    )
    app.state.gate = service.gate
    app.state.limits = limits
    app.state.say = recorded if records else Problem.response
    app.state.refused = lambda problem: service.refused(problem, Admission(), "")
    app.state.fetcher = fetcher or Fetcher()
    app.state.repository = repository or Repository()
    return app


async def _answer_no_route(request: Request, error: Exception) -> Response:
    refusal = cast(HTTPException, error)  # the only kind that this is registered for
    code = {404: "not_found", 405: "method_not_allowed"}.get(refusal.status_code, "refused")
    said = "there is nothing at this path" if code == "not_found" else "this method is not answered at this path"
    hint = "There are GET /, GET /ping, POST /invocations, /models and /v2."
    response = Problem(refusal.status_code, code, said, hint).response()
    response.headers.update(refusal.headers or {})
    if code == "method_not_allowed":
        response.headers["Allow"] = ", ".join(_methods(request))
    return response


def _methods(request: Request) -> list[str]:
    """What a path answers to; the routes of a path may each have one of its methods."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    fitting = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return sorted({method for route in fitting for method in route.methods or ()})
