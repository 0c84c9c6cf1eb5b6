"""What Amazon SageMaker asks of a container beside ``/ping`` and ``/invocations``: batch transform and several models.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from medloom.serving.admission import Admission, Limits
from medloom.serving.http.body import declared_type, read_body
from medloom.serving.http.exchange import exchange
from medloom.serving.models import Model
from medloom.serving.problems import JSON, Problem
from medloom.serving.repository import Repository
from medloom.serving.service import Service
from medloom.serving.strict_json import MALFORMED, read_object

__all__ = ["echoed", "routes", "target_model"]

_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
_TARGET = "X-Amzn-SageMaker-Target-Model"
_ECHO = re.compile(r"[ -~]{1,1024}")
_PAGE = 100
_MOST_JSON = 2**13
_MIB = 2**20
_MOST_TRANSFER_MIB = 100
"""``MaxConcurrentTransforms`` times ``MaxPayloadInMB`` may not be more."""


def target_model(request: Request) -> str | None:
    """Return the model that a request names in a header; None if it names none.

    Its value is the name of a bundle's file; a model is called by it without the suffix.
    """
    name = request.headers.get(_TARGET)
    return name.removesuffix(".tar.gz").removeprefix("/") if name else None


def echoed(request: Request, response: Response) -> Response:
    """Send the custom attributes of a request back with its answer, where they are text that a header may hold."""
    said = request.headers.get(_ATTRIBUTES, "")
    if _ECHO.fullmatch(said):
        response.headers[_ATTRIBUTES] = said
    return response


def routes(service: Service, limits: Limits) -> list[BaseRoute]:
    """Return the routes: ``GET /execution-parameters``, and ``/models`` to list, load, show and unload models."""
    host = _Host(service, limits)
    return [
        Route("/execution-parameters", host.parameters, methods=["GET"]),
        Route("/models", host.list, methods=["GET"]),
        Route("/models", host.load, methods=["POST"]),
        Route("/models/{model}", host.show, methods=["GET"]),
        Route("/models/{model}", host.unload, methods=["DELETE"]),
    ]


class _Host:
    def __init__(self, service: Service, limits: Limits) -> None:
        self.service = service
        self.limits = limits

    async def parameters(self, request: Request) -> Response:
        """Answer with how many requests of which size a batch transform is to send.

        ``BatchStrategy`` is left out: the service and its local mode spell it differently.
        """
        del request
        largest = max(1, min(_MOST_TRANSFER_MIB, self.limits.max_body_bytes // _MIB))
        together = max(1, min(self.limits.concurrency, _MOST_TRANSFER_MIB // largest))
        return JSONResponse({"MaxConcurrentTransforms": together, "MaxPayloadInMB": largest})

    async def list(self, request: Request) -> Response:
        """Answer with the models, a page at a time."""
        return await exchange(request, self.service, self._list)

    async def show(self, request: Request) -> Response:
        """Answer with one model."""
        return await exchange(request, self.service, self._show)

    async def load(self, request: Request) -> Response:
        """Load a model from the operator's folder."""
        return await exchange(request, self.service, self._load)

    async def unload(self, request: Request) -> Response:
        """Take a model away that was loaded on request."""
        return await exchange(request, self.service, self._unload)

    async def _list(self, request: Request, admission: Admission) -> Response:
        del admission
        models = sorted(self.service.models.all(), key=lambda model: model.name)
        after = request.query_params.get("next_page_token", "")
        rest = [model for model in models if model.name > after]
        said: dict[str, Any] = {"models": [_plain(model) for model in rest[:_PAGE]]}
        if len(rest) > _PAGE:
            said["nextPageToken"] = rest[_PAGE - 1].name
        return JSONResponse(said)

    async def _show(self, request: Request, admission: Admission) -> Response:
        del admission
        return JSONResponse(_plain(self.service.models.get(request.path_params["model"])))

    async def _load(self, request: Request, admission: Admission) -> Response:
        repository = _repository(request)
        declared_type(request, (JSON,))
        name, place = _asked(await read_body(request, self.limits, admission))
        return JSONResponse(_plain(await repository.load(self.service, name, place)))

    async def _unload(self, request: Request, admission: Admission) -> Response:
        del admission
        return JSONResponse(_plain(_repository(request).unload(self.service, request.path_params["model"])))


def _repository(request: Request) -> Repository:
    found: Repository = request.app.state.repository
    return found


def _asked(body: bytes) -> tuple[str, str]:
    hint = 'Send {"model_name": "name", "url": "path in the folder of models"}.'
    try:
        if len(body) > _MOST_JSON:
            raise msgspec.ValidationError("too long")
        said = read_object(body, ("model_name", "url"))
        return msgspec.json.decode(said["model_name"], type=str), msgspec.json.decode(said["url"], type=str)
    except (*MALFORMED, KeyError) as error:
        raise Problem(400, "bad_json", "the body is no JSON object with model_name and url", hint) from error


def _plain(model: Model) -> dict[str, str]:
    """What is said of a model; where its bundle lies on the machine is nobody's business."""
    return {"modelName": model.name, "modelUrl": model.path.name if model.path else ""}
