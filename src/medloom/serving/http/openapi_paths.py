"""What is said of each path in the OpenAPI document. A path that a protocol adds has a line here; a test sees to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from medloom.serving.http.exchange import SECONDS
from medloom.serving.http.operating_v2 import ABSENT

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
        may_be_empty: Whether a body may be left out.
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
    may_be_empty: bool = False


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
_ATTRIBUTES = _header(
    "X-Amzn-SageMaker-Custom-Attributes",
    {"type": "string", "pattern": r"^[ -~]{1,1024}$"},
    "Text that comes back with the answer.",
)
_TARGET = _header(
    "X-Amzn-SageMaker-Target-Model",
    {"type": "string"},
    "Which model, where there are several: its name, or that of its file, NAME.tar.gz.",
)
_REFUSED = (404, 406, 411, 413, 415, 422, 429, 503)
_INVOKE = Described(
    "Predict one image or volume, or several images.",
    "predict",
    {200: "answer"},
    _REFUSED,
    "images",
    (_PAGE, _SERIES, _TIMEOUT, _ATTRIBUTES),
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

_V2_CONFIG = Described(
    "How a model is set up, in the words of Triton.", "v2", {200: _json("V2Config")}, (404, 429, 503), errors="V2Error"
)
_V2_STATS = Described(
    "What images took, by stage, since the server began.",
    "v2",
    {200: _json("V2Statistics")},
    (404, 429, 503),
    parameters=(_TIMEOUT,),
    errors="V2Error",
)
_V2_ABSENT = Described(
    "Not answered here, where Triton would; the refusal says why.", "v2", {}, (404, 429, 503), errors="V2Error"
)
_V2_CHANGE = (404, 409, 411, 413, 429, 503, 507)

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
    ("POST", "/invocations"): replace(_INVOKE, parameters=(*_INVOKE.parameters, _TARGET)),
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
            ("GET", "/config", _V2_CONFIG),
            ("GET", "/stats", _V2_STATS),
            ("POST", "/infer", _V2_INFER),
        )
    },
    ("GET", "/v2/models/stats"): _V2_STATS,
    ("POST", "/v2/repository/index"): Described(
        "The models that are served, and those that could be loaded.",
        "v2",
        {200: _json("V2Index")},
        (411, 413, 429, 503),
        _json("V2Ready"),
        (_TIMEOUT,),
        errors="V2Error",
        may_be_empty=True,
    ),
    **{
        ("POST", f"/v2/repository/models/{{model}}/{change}"): Described(
            summary, "v2", {200: {}}, _V2_CHANGE, _json("V2Change"), (_TIMEOUT,), errors="V2Error", may_be_empty=True
        )
        for change, summary in (
            ("load", "Load a model from the operator's folder, or load it anew."),
            ("unload", "Take a model away."),
        )
    },
    **{(method, path): _V2_ABSENT for path in ABSENT for method in ("GET", "POST")},
}
