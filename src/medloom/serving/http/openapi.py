"""The OpenAPI document of a server, made from its table of routes and from what is said of each path.

It names every status, code and media type that can come. What a model takes and gives is taken from those that are
loaded when someone asks.

Source: https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from medloom import __version__
from medloom.serving.http.openapi_page import page
from medloom.serving.http.openapi_paths import PATHS, Contents, Described
from medloom.serving.http.openapi_schemas import MODEL_HEADERS, PROBLEM, PROBLEMS, REQUEST_ID, SCHEMAS, image_bodies
from medloom.serving.http.security import HEALTH
from medloom.serving.service import Service

__all__ = ["Documentation", "document"]

Json = dict[str, Any]

_TAGS = {
    "predict": "Images in, predictions out.",
    "health": "Whether the server is up, and what it measured.",
    "models": "What is served; SageMaker's way to load and unload it.",
    "v2": "The Open Inference Protocol, version 2.",
    "about": "This document, and the page to try a model.",
}
_EVERYWHERE = (400, 403, 408, 431, 500)
"""Requests that are no sound HTTP, or that a foreign page makes, are refused before their path is looked at."""


class Documentation:
    """Answers ``GET /openapi.json`` and ``GET /docs``.

    Args:
        service: Whose models are described.
        tokens: Whether clients need a token.
        open_paths: Paths that need none.
    """

    def __init__(self, service: Service, *, tokens: bool, open_paths: Collection[str] = HEALTH) -> None:
        self._service = service
        self._tokens = tokens
        self._open = open_paths

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Route("/openapi.json", self._json, methods=["GET"]),
            Route("/docs", self._page, methods=["GET"]),
        ]

    async def _json(self, request: Request) -> Response:
        """Answer with the document."""
        return JSONResponse(self._made(request))

    async def _page(self, request: Request) -> Response:
        """Answer with the document for people."""
        return HTMLResponse(page(self._made(request)))

    def _made(self, request: Request) -> Json:
        return document(request.app.routes, self._service, tokens=self._tokens, open_paths=self._open)


def document(
    routes: Sequence[BaseRoute], service: Service, *, tokens: bool = False, open_paths: Collection[str] = HEALTH
) -> Json:
    """Return the document.

    Args:
        routes: Those of the application; a path that ``PATHS`` does not describe is left out.
        service: Whose models are described.
        tokens: Whether clients need a token.
        open_paths: Paths that need none.
    """
    paths: dict[str, Json] = {}
    for path, method in _named(routes):
        described = PATHS.get((method, path))
        if described is not None:
            secured = tokens and path not in open_paths
            paths.setdefault(path, {})[method.lower()] = _operation(method, path, described, service, secured)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Medloom",
            "version": __version__,
            "description": "Images in, predictions out. Not a medical device.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {"schemas": SCHEMAS, **(_schemes() if tokens else {})},
    }


def _named(routes: Sequence[BaseRoute]) -> Iterator[tuple[str, str]]:
    """Paths with their methods, but for HEAD, which follows from GET."""
    for route in routes:
        if isinstance(route, Route):
            for method in sorted((route.methods or set()) - {"HEAD"}):
                yield route.path, method


def _operation(method: str, path: str, described: Described, service: Service, secured: bool) -> Json:
    statuses = sorted({*described.problems, *_EVERYWHERE, *((401,) if secured else ())})
    made: Json = {
        "operationId": _name(method, path),
        "summary": described.summary,
        "tags": [described.tag],
        "responses": {
            **{str(status): _answer(status, contents, service) for status, contents in described.answers.items()},
            **{str(status): _problem(status, described.errors) for status in statuses},
        },
    }
    parameters = [*_path_parameters(path, service), *described.parameters]
    if parameters:
        made["parameters"] = parameters
    if described.takes is not None:
        made["requestBody"] = {
            "required": not described.may_be_empty,
            "content": _contents(described.takes, service),
        }
    if secured:
        made["security"] = [{"bearer": []}, {"basic": []}]
    return made


def _name(method: str, path: str) -> str:
    words = [word.strip("{}") for word in path.replace(".", "/").replace("-", "/").split("/") if word]
    return "_".join([method.lower(), *words]) if words else method.lower()


def _path_parameters(path: str, service: Service) -> list[Json]:
    """The parameters in a path; the models are those that are loaded now."""
    names = list(service.models.names())
    schemas: dict[str, Json] = {
        "model": {"type": "string", "enum": names} if names else {"type": "string"},
        "version": {"type": "string", "enum": ["1"]},
        **{name: {"type": "string"} for name in ("region", "action")},
    }
    found = [part.strip("{}") for part in path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": schemas[name]} for name in found]


def _answer(status: int, contents: Contents, service: Service) -> Json:
    made: Json = {"description": HTTPStatus(status).phrase, "headers": dict(REQUEST_ID)}
    if contents == "answer":
        made["headers"].update(MODEL_HEADERS)
    found = _contents(contents, service)
    return {**made, "content": found} if found else made


def _contents(contents: Contents, service: Service) -> Json:
    """Media types with their schemas; those of images and of answers are known to the models."""
    if contents == "images":
        return image_bodies(_columns(service))
    if contents == "answer":
        forms = dict.fromkeys(form for name in service.models.names() for form in service.forms(name))
        prediction: Json = {"schema": {"$ref": "#/components/schemas/Prediction"}}
        return {form: prediction if form == "application/json" else {} for form in forms or ("application/json",)}
    return {media_type: {"schema": schema} if schema else {} for media_type, schema in contents.items()}


def _columns(service: Service) -> list[str]:
    """Metadata columns that any of the models takes."""
    tables = [table for model in service.models.all() for table in model.predictor.tables]
    numbers = {part.column for table in tables for part in table.numeric}
    return sorted(numbers | {part.column for table in tables for part in table.categorical})


def _problem(status: int, errors: str) -> Json:
    codes = PROBLEMS[status]
    made: Json = {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}",
        "headers": dict(REQUEST_ID),
    }
    if status in (429, 503):
        made["headers"]["Retry-After"] = {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}
    if status == 401:
        made["headers"]["WWW-Authenticate"] = {"required": True, "schema": {"type": "string"}}
    narrow = {"properties": {"status": {"const": status}, "code": {"enum": list(codes)}}}
    made["content"] = {PROBLEM: {"schema": {"allOf": [{"$ref": "#/components/schemas/Problem"}, narrow]}}}
    if errors:
        made["content"]["application/json"] = {"schema": {"$ref": f"#/components/schemas/{errors}"}}
    return made


def _schemes() -> Json:
    return {
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "basic": {"type": "http", "scheme": "basic", "description": "The token is the password."},
        }
    }
