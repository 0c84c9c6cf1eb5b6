"""What is said of each path in the OpenAPI document. A path that a protocol adds has a line here; a test sees to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from medloom.serving.http.exchange import SECONDS

__all__ = ["PATHS", "Contents", "Described"]

Json = dict[str, Any]
ByType = Mapping[str, Json]
Contents = ByType | Literal["images", "answer"]
"""Schemas by media type; ``images`` and ``answer`` stand for what the models that are loaded take and give."""


@dataclass(frozen=True)
class Described:
    """One method of one path.

    Args:
        summary: What it does.
        tag: Where the page shows it.
        answers: What comes when all is well, by status.
        problems: Statuses of refusals, beside those that every path has.
        takes: What a body may be; None if there is none.
        parameters: Those that are not in the path.
        errors: Schema in which a protocol says refusals itself; they also come as problems, from what stands before it.
    """

    summary: str
    tag: str
    answers: Mapping[int, Contents]
    problems: tuple[int, ...] = ()
    takes: Contents | None = None
    parameters: tuple[Json, ...] = ()
    errors: str = ""


def _json(schema: str) -> ByType:
    return {"application/json": {"$ref": f"#/components/schemas/{schema}"}}


def _query(name: str, schema: Json, text: str) -> Json:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": text}


def _header(name: str, schema: Json, text: str) -> Json:
    return {"name": name, "in": "header", "required": False, "schema": schema, "description": text}


_PAGE = _query("page", {"type": "integer", "minimum": 0, "maximum": 999_999}, "Page of a file with several.")
_SERIES = _query("series", {"type": "string"}, "Which DICOM series of a zip, by its index or UID.")
_TIMEOUT = _header(
    "X-Request-Timeout",
    {"type": "string", "pattern": f"^{SECONDS}$"},
    "Seconds after which nobody waits for the answer.",
)
_REFUSED = (404, 406, 411, 413, 415, 422, 429, 503)
_INVOKE = Described(
    "Predict one image or volume, or several images.",
    "predict",
    {200: "answer"},
    _REFUSED,
    "images",
    (_PAGE, _SERIES, _TIMEOUT),
)
_HTML: ByType = {"text/html": {"type": "string"}}

_V2_INFER = Described(
    "Predict images, or tensors that are already preprocessed.",
    "v2",
    {200: {**_json("V2Answer"), "application/octet-stream": {}}},
    _REFUSED,
    _json("V2Request"),
    (_TIMEOUT,),
    errors="V2Error",
)
_V2_MODEL = Described(
    "The tensors that a model takes and gives.", "v2", {200: _json("V2Model")}, (404,), errors="V2Error"
)
_V2_READY = Described("Whether a model answers.", "v2", {200: _json("V2State")}, (404,), errors="V2Error")

PATHS: Mapping[tuple[str, str], Described] = {
    ("GET", "/"): Described(
        "What is served and what it takes; to browsers the page to try it.",
        "about",
        {200: {**_json("Description"), **_HTML}, 304: {}},
    ),
    ("GET", "/ping"): Described("Whether requests are taken.", "health", {200: _json("State"), 503: _json("State")}),
    ("GET", "/healthz"): Described("Whether the process lives.", "health", {200: _json("State")}),
    ("GET", "/readyz"): Described(
        "Whether a model is loaded and requests are taken.", "health", {200: _json("State"), 503: _json("State")}
    ),
    ("GET", "/metrics"): Described(
        "Figures for Prometheus.",
        "health",
        {200: {"text/plain": {}, "application/openmetrics-text": {}}},
    ),
    ("GET", "/openapi.json"): Described("This document.", "about", {200: {"application/json": {"type": "object"}}}),
    ("GET", "/docs"): Described("This document for people.", "about", {200: _HTML}),
    ("POST", "/invocations"): _INVOKE,
    ("POST", "/models/{model}/invocations"): _INVOKE,
    ("POST", "/models/{model}/invoke"): _INVOKE,
    ("POST", "/models/{model}/preview"): Described(
        "The pixels that the model's decoder makes of an image, for a page that shows them.",
        "predict",
        {200: {"multipart/form-data": {}}},
        (404, 411, 413, 415, 422, 429, 503),
        "images",
        (
            _PAGE,
            _SERIES,
            _TIMEOUT,
            _query(
                "most_pixels", {"type": "integer", "minimum": 1, "maximum": 10**12 - 1}, "Where there are more, means."
            ),
        ),
    ),
    ("GET", "/execution-parameters"): Described(
        "How many requests of which size a batch transform is to send.", "models", {200: _json("Parameters")}
    ),
    ("GET", "/models"): Described(
        "The models, a page at a time.",
        "models",
        {200: _json("LoadedModels")},
        (429, 503),
        parameters=(_query("next_page_token", {"type": "string"}, "From the page before."), _TIMEOUT),
    ),
    ("POST", "/models"): Described(
        "Load a model from the operator's folder.",
        "models",
        {200: _json("LoadedModel")},
        (404, 409, 411, 413, 415, 429, 503, 507),
        _json("Load"),
        (_TIMEOUT,),
    ),
    ("GET", "/models/{model}"): Described(
        "One model.", "models", {200: _json("LoadedModel")}, (404, 429, 503), parameters=(_TIMEOUT,)
    ),
    ("DELETE", "/models/{model}"): Described(
        "Unload a model that was loaded on request.",
        "models",
        {200: _json("LoadedModel")},
        (404, 429, 503),
        parameters=(_TIMEOUT,),
    ),
    ("GET", "/v2"): Described("What the server is.", "v2", {200: _json("V2Server")}),
    ("GET", "/v2/health/live"): Described("Whether the process lives.", "v2", {200: _json("V2State")}),
    ("GET", "/v2/health/ready"): Described(
        "Whether a model is loaded and requests are taken.", "v2", {200: _json("V2State"), 503: _json("V2State")}
    ),
    **{
        (method, prefix + path): described
        for prefix in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
        for method, path, described in (
            ("GET", "", _V2_MODEL),
            ("GET", "/ready", _V2_READY),
            ("POST", "/infer", _V2_INFER),
        )
    },
}
