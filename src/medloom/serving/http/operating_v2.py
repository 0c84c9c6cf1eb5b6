"""What clients of the Open Inference Protocol ask beside inference: which models there are and how they are set up.

Models are loaded and unloaded only where the operator named a folder for that, and only from there. What Triton lets
clients change and this server does not (traces, logs, shared memory) is refused with a sentence that says so.

Source: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md and
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_configuration.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from medloom.serving.admission import Admission, Limits
from medloom.serving.http.body import read_body
from medloom.serving.http.exchange import exchange
from medloom.serving.http.inference_v2 import MODEL_VERSION, described, named, refusal
from medloom.serving.models import Model
from medloom.serving.problems import Problem
from medloom.serving.repository import Repository
from medloom.serving.service import Service
from medloom.serving.strict_json import MALFORMED, read_object

__all__ = ["ABSENT", "routes"]

_SHARED_MEMORY = "images come in the request; this server maps no memory of its clients"
ABSENT: Mapping[str, str] = {
    "/v2/trace/setting": "clients set no traces here; the operator does, with --otlp-endpoint",
    "/v2/models/{model}/trace/setting": "clients set no traces here; the operator does, with --otlp-endpoint",
    "/v2/logging": "clients set no logs here; the operator does, with --log-format",
    **{
        f"/v2/{kind}sharedmemory/{action}": _SHARED_MEMORY
        for kind in ("system", "cuda")
        for action in ("status", "unregister", "region/{region}/{action}")
    },
}
"""Paths of Triton's that are not answered, and why."""

_MOST_JSON = 2**13
_TYPES = {"BYTES": "STRING"}
"""Datatypes that have another name in a configuration."""


def routes(service: Service, limits: Limits) -> list[BaseRoute]:
    """Return the routes: the models of the repository, to load and unload them, their configuration."""
    there, model = _Operating(service, limits), "/v2/models/{model}"
    return [
        Route("/v2/repository/index", there.index, methods=["POST"]),
        Route("/v2/repository/models/{model}/load", there.load, methods=["POST"]),
        Route("/v2/repository/models/{model}/unload", there.unload, methods=["POST"]),
        Route(f"{model}/config", there.config, methods=["GET"]),
        Route(f"{model}/versions/{{version}}/config", there.config, methods=["GET"]),
        *(Route(path, there.absent, methods=["GET", "POST"]) for path in ABSENT),
    ]


class _Operating:
    def __init__(self, service: Service, limits: Limits) -> None:
        self.service = service
        self.limits = limits

    async def index(self, request: Request) -> Response:
        """Answer with the models that are served, and with those that could be loaded."""
        return await exchange(request, self.service, self._index, refusal)

    async def load(self, request: Request) -> Response:
        """Load a model from the operator's folder, anew if it was loaded from there."""
        return await exchange(request, self.service, self._load, refusal)

    async def unload(self, request: Request) -> Response:
        """Take a model away."""
        return await exchange(request, self.service, self._unload, refusal)

    async def config(self, request: Request) -> Response:
        """Answer with how a model is set up, in Triton's words."""
        return await exchange(request, self.service, self._config, refusal)

    async def absent(self, request: Request) -> Response:
        """Say why something is not answered."""
        return await exchange(request, self.service, self._absent, refusal)

    async def _index(self, request: Request, admission: Admission) -> Response:
        only_ready = (await self._asked(request, admission, {"ready": bool})).get("ready", False)
        served = self.service.models.names()
        listed = [_listed(name, "READY", "") for name in served]
        if not only_ready:
            rest = [name for name in _repository(request).bundles() if name not in served]
            listed += [_listed(name, "UNAVAILABLE", "it is not loaded") for name in rest]
        return JSONResponse(listed)

    async def _load(self, request: Request, admission: Admission) -> Response:
        repository, name = _repository(request), request.path_params["model"]
        asked = await self._asked(request, admission, {"parameters": dict})
        if asked.get("parameters"):
            raise Problem(400, "bad_request", "a model is loaded as its bundle says; send no config and no files")
        await repository.load(self.service, name, repository.bundles().get(name, name), again=True)
        return Response()

    async def _unload(self, request: Request, admission: Admission) -> Response:
        await self._asked(request, admission, {"parameters": dict})
        _repository(request).unload(self.service, request.path_params["model"])
        return Response()

    async def _config(self, request: Request, admission: Admission) -> Response:
        del admission
        return JSONResponse(_configured(named(request, self.service)))

    async def _absent(self, request: Request, admission: Admission) -> Response:
        del admission
        raise Problem(404, "not_supported", ABSENT[request.scope["route"].path], close=request.method == "POST")

    async def _asked(self, request: Request, admission: Admission, keys: Mapping[str, type]) -> dict[str, Any]:
        """What a body says, which may be empty: keys that there may be, and of which type."""
        body = await read_body(request, self.limits, admission)
        try:
            if len(body) > _MOST_JSON:
                raise msgspec.ValidationError("too long")
            said = read_object(body or b"{}", list(keys))
            return {key: msgspec.json.decode(value, type=keys[key]) for key, value in said.items()}
        except MALFORMED as error:
            expected = f"the body is no small JSON object with nothing but {', '.join(keys)}"
            raise Problem(400, "bad_json", expected) from error


def _repository(request: Request) -> Repository:
    found: Repository = request.app.state.repository
    return found


def _listed(name: str, state: str, reason: str) -> dict[str, str]:
    return {"name": name, "version": MODEL_VERSION, "state": state, "reason": reason}


def _configured(model: Model) -> dict[str, Any]:
    """Tensors have their first axis in their shape, so there is no largest batch: it is 0."""
    said = described(model)
    return {
        "name": model.name,
        "platform": said["platform"],
        "backend": "medloom",
        "max_batch_size": 0,
        "input": [_tensor(one) for one in said["inputs"]],
        "output": [_tensor(one) for one in said["outputs"]],
    }


def _tensor(said: Mapping[str, Any]) -> dict[str, Any]:
    kind = _TYPES.get(said["datatype"], said["datatype"])
    return {"name": said["name"], "data_type": f"TYPE_{kind}", "dims": said["shape"]}
