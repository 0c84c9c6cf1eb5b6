"""The Open Inference Protocol, version 2: encoded images in, or tensors that are already preprocessed.

``image`` takes encoded images and gives ``answer``, the JSON of each; of masks also, where they are asked for by name,
``mask`` and ``probabilities`` in the geometry of the image. ``tensor`` takes what the network sees and gives
``probabilities`` on its grid.

Source: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from medloom.errors import InputError
from medloom.imaging.npy import read_array
from medloom.inference import Predictor
from medloom.inference.answers import KINDS
from medloom.inference.forms import media_type
from medloom.serving.admission import Admission, Limits
from medloom.serving.answers import accept_for
from medloom.serving.base64_text import read_base64
from medloom.serving.bodies import MOST_IMAGES, read_metadata
from medloom.serving.description import image_forms, volume_forms
from medloom.serving.http.body import read_body
from medloom.serving.http.exchange import exchange
from medloom.serving.http.multipart import boundary_of, read_parts
from medloom.serving.media_types import plain_type
from medloom.serving.models import Model
from medloom.serving.problems import JSON, Problem, of_input_error
from medloom.serving.requests import ImageRequest
from medloom.serving.service import Answer, Service
from medloom.serving.tensors import Asked, Output, Sent, Tensor, inflate, read_infer, write_infer

__all__ = ["MODEL_VERSION", "described", "named", "refusal", "routes"]

Floats32 = NDArray[np.float32]

MODEL_VERSION = "1"
"""The one version of every model."""

_EXTENSIONS = ("binary_tensor_data", "model_repository", "model_configuration")
"""Those of Triton that are always answered; ``statistics`` are where something counts."""

_HEADER = "Inference-Header-Content-Length"
_ANSWER, _MASK, _PROBABILITIES = "answer", "mask", "probabilities"
_FORMS = {_ANSWER: "json", _MASK: "mask-npy", _PROBABILITIES: "npy"}
"""Forms of an answer, by the name of the output that is made of it."""

_PREPARED = ("FP32", "FP16", "UINT8")


def routes(service: Service, limits: Limits) -> list[BaseRoute]:
    """Return the routes, all of them under ``/v2``."""
    v2 = _V2(service, limits)
    model = "/v2/models/{model}"
    return [
        Route("/v2", v2.server, methods=["GET"]),
        Route("/v2/health/live", v2.live, methods=["GET"]),
        Route("/v2/health/ready", v2.ready, methods=["GET"]),
        *(
            route
            for prefix in (model, model + "/versions/{version}")
            for route in (
                Route(prefix, v2.model, methods=["GET"]),
                Route(prefix + "/ready", v2.model_ready, methods=["GET"]),
                Route(prefix + "/infer", v2.infer, methods=["POST"]),
            )
        ),
    ]


class _V2:
    def __init__(self, service: Service, limits: Limits) -> None:
        self.service = service
        self.limits = limits

    async def server(self, request: Request) -> Response:
        """Answer with what the server is."""
        counted = any(getattr(route, "path", "") == "/v2/models/stats" for route in request.app.routes)
        extensions = [*_EXTENSIONS, *(["statistics"] if counted else [])]
        said = {"name": "medloom", "version": version("medloom"), "extensions": extensions}
        return JSONResponse(said)

    async def live(self, request: Request) -> Response:
        """Answer 200 as long as there is a process that can."""
        del request
        return JSONResponse({"live": True})

    async def ready(self, request: Request) -> Response:
        """Answer 200 while there is a model and requests are taken."""
        del request
        ready = bool(self.service.models.names()) and not self.service.gate.draining
        return JSONResponse({"ready": ready}, status_code=200 if ready else 503)

    async def model(self, request: Request) -> Response:
        """Answer with the tensors that a model takes and gives."""
        return self._of_model(request, described)

    async def model_ready(self, request: Request) -> Response:
        """Answer 200 if a model answers."""
        return self._of_model(request, lambda found: {"name": found.name, "ready": True})

    async def infer(self, request: Request) -> Response:
        """Answer with tensors."""
        return await exchange(request, self.service, self._infer, refusal)

    def _of_model(self, request: Request, say: Callable[[Model], dict[str, Any]]) -> Response:
        try:
            return JSONResponse(say(named(request, self.service)))
        except Problem as problem:
            self.service.refused(problem, Admission(getattr(request.state, "request_id", "")), "")
            return refusal(problem)

    async def _infer(self, request: Request, admission: Admission) -> Response:
        model = named(request, self.service)
        with admission.timed("read"):
            packed = await read_body(request, self.limits, admission)
            encoding = request.headers.get("content-encoding", "").strip().lower()
            body = await asyncio.to_thread(inflate, packed, encoding, self.limits.max_body_bytes)
            admission.hold(max(0, len(body) - len(packed)))
            asked = await asyncio.to_thread(read_infer, body, request.headers.get(_HEADER))
        head: dict[str, Any] = {"model_name": model.name, "model_version": MODEL_VERSION}
        if asked.id is not None:
            head["id"] = asked.id
        with self.service.gate.working(admission):
            made = await self._made(asked, model, admission)
        content, header_length = await asyncio.to_thread(write_infer, head, made)
        headers = {"X-Medloom-Model": model.name, "X-Medloom-Phantom": str(model.manifest.phantom).lower()}
        if header_length is None:
            return Response(content, headers=headers, media_type=JSON)
        headers[_HEADER] = str(header_length)
        return Response(content, headers=headers, media_type="application/octet-stream")

    async def _made(self, asked: Asked, model: Model, admission: Admission) -> list[Tensor]:
        inputs = asked.inputs
        if inputs.keys() <= {"image", "metadata"} and "image" in inputs:
            return await self._of_images(asked, model, admission)
        if inputs.keys() <= {"tensor", "table"} and "tensor" in inputs:
            return await self._of_tensors(asked, model, admission)
        raise _bad("the inputs fit no way to ask; expected image (and metadata), or tensor (and table)")

    async def _of_images(self, asked: Asked, model: Model, admission: Admission) -> list[Tensor]:
        outputs = _outputs(asked, _made_of(model.predictor), [_ANSWER])
        names = [output.name for output in outputs]
        images = await asyncio.to_thread(_images, asked.inputs["image"], asked.inputs.get("metadata"))
        found = await asyncio.gather(*(self._answer(one, model, names, admission) for one in images))
        problems = [one for one in found if isinstance(one, Problem)]
        if problems and (len(images) == 1 or names != [_ANSWER]):
            raise problems[0]
        parts = [_error(one) if isinstance(one, Problem) else _parts(one, names) for one in found]
        return await asyncio.to_thread(lambda: [_tensor(output, parts) for output in outputs])

    async def _answer(
        self, one: ImageRequest, model: Model, names: Sequence[str], admission: Admission
    ) -> Answer | Problem:
        accept = accept_for([_FORMS[name] for name in names])
        try:
            return await self.service.answer(one, model=model.name, accept=accept, admission=admission)
        except Problem as problem:
            return problem

    async def _of_tensors(self, asked: Asked, model: Model, admission: Admission) -> list[Tensor]:
        (output,) = _outputs(asked, [_PROBABILITIES], [_PROBABILITIES])
        batch = _batch(asked.inputs["tensor"], model.input_shape, "tensor")
        table = _table(model, asked.inputs.get("table"), len(batch))
        runs: list[Awaitable[Floats32]] = [
            self.service.run(
                batch[index : index + 1],
                None if table is None else table[index : index + 1],
                model=model.name,
                admission=admission,
            )
            for index in range(len(batch))
        ]
        return [Tensor(output.name, np.concatenate(await asyncio.gather(*runs)), output.binary)]


def named(request: Request, service: Service) -> Model:
    """Return the model that the path of a request names.

    Raises:
        Problem: 404 if there is no such model, or no such version of it.
    """
    asked = request.path_params.get("version", MODEL_VERSION)
    model = service.models.get(request.path_params["model"])
    if asked != MODEL_VERSION:
        raise Problem(404, "unknown_version", "the model has no such version", f"Ask for version {MODEL_VERSION}.")
    return model


def described(model: Model) -> dict[str, Any]:
    """Return the tensors that a model takes and gives, as the protocol says it."""
    predictor = model.predictor
    features = model.table_features
    made = _made_of(predictor)
    depth = "UINT16" if max(predictor.target.values, default=0) > np.iinfo(np.uint8).max else "UINT8"
    return {
        "name": model.name,
        "versions": [MODEL_VERSION],
        "platform": f"medloom_{predictor.runtime.name}",
        "inputs": [
            {"name": "image", "datatype": "BYTES", "shape": [-1]},
            *([{"name": "metadata", "datatype": "BYTES", "shape": [-1]}] if features else []),
            {"name": "tensor", "datatype": "FP32", "shape": [-1, *model.input_shape]},
            *([{"name": "table", "datatype": "FP32", "shape": [-1, features]}] if features else []),
        ],
        "outputs": [
            {"name": _ANSWER, "datatype": "BYTES", "shape": [-1]},
            *([{"name": _MASK, "datatype": depth, "shape": [-1, -1, -1]}] if _MASK in made else []),
            {"name": _PROBABILITIES, "datatype": "FP32", "shape": _answer_shape(predictor)},
        ],
    }


def _answer_shape(predictor: Predictor) -> list[int]:
    return list(KINDS[predictor.target.kind].shape((-1, -1, -1, -1), predictor.target.outputs))


def _outputs(asked: Asked, there: Sequence[str], default: Sequence[str]) -> list[Output]:
    wanted = list(asked.outputs) or [Output(name, asked.binary) for name in default]
    names = [output.name for output in wanted]
    if len(set(names)) != len(names) or not set(names) <= set(there):
        raise _bad(f"an output is not made of these inputs, or asked for twice; there are {', '.join(there)}")
    return wanted


def _images(sent: Sent, metadata: Sent | None) -> list[ImageRequest]:
    items = _items(sent, "image")
    rows = [b"{}"] * len(items) if metadata is None else _items(metadata, "metadata")
    if len(rows) != len(items):
        raise _bad(f"{len(rows)} metadata for {len(items)} images; expected one for each")
    declared = sent.parameters.get("content_type", "")
    page, series = sent.parameters.get("page"), sent.parameters.get("series")
    if not isinstance(declared, str) or not (series is None or isinstance(series, str)):
        raise _bad("content_type and series of the input image are text")
    if isinstance(page, bool) or not (page is None or (isinstance(page, int) and 0 <= page < 10**6)):
        raise _bad("page of the input image is a whole number, counted from 0")
    images = [_decoded(item) for item in items] if sent.in_json else items
    return [
        ImageRequest(image, plain_type(declared), read_metadata(row), page, series)
        for image, row in zip(images, rows, strict=True)
    ]


def _items(sent: Sent, name: str) -> tuple[bytes, ...]:
    if sent.datatype != "BYTES" or len(sent.items) > MOST_IMAGES or max(sent.shape) != len(sent.items):
        raise _bad(f"{name} takes BYTES of the shape [N], N at most {MOST_IMAGES}")
    return sent.items


def _decoded(item: bytes) -> bytes:
    try:
        return read_base64(item.decode("utf-8"))[0]
    except ValueError as error:
        raise _bad("an image in JSON is no base64 text") from error


def _batch(sent: Sent, shape: Sequence[int], name: str) -> Floats32:
    expected = ", ".join(map(str, shape))
    if sent.numbers is None or sent.datatype not in _PREPARED or sent.shape[1:] != tuple(shape):
        raise _bad(f"{name} takes {', '.join(_PREPARED)} of the shape [N, {expected}]")
    if len(sent.numbers) > MOST_IMAGES:
        raise _bad(f"{name} takes at most {MOST_IMAGES} images in one request")
    return sent.numbers.astype(np.float32)


def _table(model: Model, sent: Sent | None, images: int) -> Floats32 | None:
    features = model.table_features
    if sent is None:
        return model.predictor.encode([{}] * images)
    if not features:
        raise of_input_error(InputError("this model takes no metadata; send the tensor alone"))
    table = _batch(sent, (features,), "table")
    if len(table) != images:
        raise _bad(f"{len(table)} rows of the table for {images} images; expected one for each")
    return table


def _made_of(predictor: Predictor) -> list[str]:
    """Outputs that are made of images."""
    forms = {*image_forms(predictor), *volume_forms(predictor)}
    return [name for name, form in _FORMS.items() if media_type(form) in forms]


def _parts(answer: Answer, names: Sequence[str]) -> dict[str, bytes]:
    """What is in an answer, by the name of the output."""
    if len(names) == 1:
        return {names[0]: answer.content}
    found = read_parts(answer.content, boundary_of(answer.media_type))
    return {name: bytes(part.content) for name, part in zip(names, found, strict=True)}


def _error(problem: Problem) -> dict[str, bytes]:
    return {_ANSWER: bytes(problem.answer({"error": problem.plain()}).body)}


def _tensor(output: Output, parts: Sequence[Mapping[str, bytes]]) -> Tensor:
    contents = [one[output.name] for one in parts]
    if output.name == _ANSWER:
        return Tensor(output.name, contents, output.binary)
    arrays = [read_array(content) for content in contents]
    if len({array.shape for array in arrays}) > 1:
        raise _bad("the images differ in size, so there is no one tensor of them; send them one by one")
    return Tensor(output.name, np.stack(arrays), output.binary)


def refusal(problem: Problem) -> Response:
    """Return a problem in the words of the protocol: one text."""
    said: Mapping[str, Any] = {"error": " ".join(filter(None, (f"{problem.message}.", problem.hint)))}
    return problem.answer(said)


def _bad(message: str) -> Problem:
    return Problem(400, "bad_tensor", message)
