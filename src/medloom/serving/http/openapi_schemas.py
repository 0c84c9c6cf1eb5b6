"""Schemas of what comes in and goes out, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from medloom.errors import DecodeCode
from medloom.serving.problems import ACCEPTED, JSON

__all__ = ["MODEL_HEADERS", "PROBLEM", "PROBLEMS", "REQUEST_ID", "SCHEMAS", "image_bodies"]

Json = dict[str, Any]

PROBLEM = "application/problem+json"
_MULTIPART = "multipart/form-data"

PROBLEMS: Mapping[int, tuple[str, ...]] = {
    400: (
        "bad_body",
        *get_args(DecodeCode),
        "bad_bundle",
        "bad_json",
        "bad_length",
        "bad_multipart",
        "bad_page",
        "bad_request",
        "bad_tensor",
        "bad_timeout",
        "several_images",
    ),
    401: ("unauthorized",),
    403: ("host_not_allowed", "origin_not_allowed", "no_repository", "url_not_allowed"),
    404: ("not_counted", "not_found", "not_supported", "unknown_bundle", "unknown_model", "unknown_version"),
    405: ("method_not_allowed",),
    406: ("not_acceptable",),
    408: ("too_slow",),
    409: ("already_loaded", "in_output", "object_archived"),
    410: ("object_gone",),
    411: ("length_required",),
    412: ("object_replaced",),
    413: ("answer_too_large", "too_large", "too_slow"),
    415: ("mismatch", "unsupported", "unsupported_encoding", "unsupported_type"),
    422: ("bad_metadata", "corrupt", "metadata_missing", "truncated", "wrong_input", "not_fetched"),
    429: ("too_many",),
    431: ("headers_too_large",),
    500: ("internal",),
    503: ("going_down", "overloaded", "too_late"),
    507: ("no_memory",),
}
"""Every code of a problem, by its status; some come in records of objects that a function on Lambda refused."""

REQUEST_ID: Mapping[str, Json] = {
    "X-Request-Id": {
        "schema": {"type": "string"},
        "description": "What logs and traces call the request: the client's own if it is a UUID.",
    }
}
MODEL_HEADERS: Mapping[str, Json] = {
    "X-Amzn-SageMaker-Custom-Attributes": {
        "schema": {"type": "string"},
        "description": "Those of the request, where they are plain text.",
    },
    "X-Medloom-Model": {"schema": {"type": "string"}, "description": "The model that answered."},
    "X-Medloom-Phantom": {
        "schema": {"type": "string", "enum": ["true", "false"]},
        "description": "Whether it learned from phantoms, and must not be used on people.",
    },
    "Server-Timing": {
        "schema": {"type": "string"},
        "description": "What the one image took, in milliseconds by stage, and in all.",
    },
    "X-Medloom-Out-Of-Distribution": {
        "schema": {"type": "string"},
        "description": "Whether the image is far outside those of the training, and its score, if the model can tell.",
    },
}


def _object(required: Sequence[str] = (), more: bool = True, /, **properties: Json) -> Json:
    made: Json = {"type": "object", "properties": properties, "additionalProperties": more}
    return {**made, "required": list(required)} if required else made


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


_TEXT: Json = {"type": "string"}
_WHOLE: Json = {"type": "integer", "minimum": 0}
_SHARE: Json = {"type": "number", "minimum": 0, "maximum": 1}
_SIZE: Json = {"type": ["number", "null"], "minimum": 0}
_YES: Json = {"type": "boolean"}
_BYTES: Json = {"type": "string", "format": "binary"}

_REMARKS: Json = {
    "notes": _list(_TEXT),
    "warnings": _list(_TEXT),
    "quality": {"type": "object"},
    "operating_point": {"type": "object"},
    "classes": _list(_TEXT),
    "model": _ref("Model"),
}
_CLASS: Json = _object(
    ("class", "probability", "area_px"),
    probability=_SHARE,
    area_px=_WHOLE,
    area_mm2=_SIZE,
    volume_ml=_SIZE,
    rle=_object(("size", "counts"), size=_list(_WHOLE), counts=_list(_WHOLE)),
    **{"class": _TEXT},
)
_LABELS: Json = {
    "probabilities": {"type": "object", "additionalProperties": _SHARE},
    "values": {"type": "object", "additionalProperties": {"type": "number"}},
    "decision": {"oneOf": [_TEXT, _list(_TEXT)]},
    "metadata": {"type": "object", "additionalProperties": _list(_TEXT)},
}

_URL: Json = {**_TEXT, "description": "Where the image is, at a host that the operator allows; none by default."}
_ONE_OF_SEVERAL: Json = {"description": "As one alone. What is wrong with one stands in its place in the answer."}
_FORM: Json = _object(("image",), image=_BYTES, metadata={**_TEXT, "contentMediaType": JSON})

_CONFIGURED: Json = _object(("name", "data_type", "dims"), name=_TEXT, data_type=_TEXT, dims=_list({"type": "integer"}))

SCHEMAS: Mapping[str, Json] = {
    "Problem": _object(
        ("type", "title", "status", "code", "message"),
        type={"const": "about:blank"},
        title=_TEXT,
        status={"type": "integer", "minimum": 400, "maximum": 599},
        code={**_TEXT, "description": "One word for programs."},
        message={**_TEXT, "description": "What came and what was expected."},
        hint={**_TEXT, "description": "What to do about it."},
        accepted={**_list(_TEXT), "description": "Media types that would do."},
    ),
    "Model": _object(
        ("name", "phantom", "digest", "target"), name=_TEXT, phantom=_YES, digest=_TEXT, target=_ref("Target")
    ),
    "Target": _object(("kind", "names"), kind=_TEXT, names=_list(_TEXT), values=_list(_WHOLE)),
    "Prediction": {
        "anyOf": [_ref(name) for name in ("Mask", "MaskVolume", "Labels", "Numbers", "LabelVolume", "Several")]
    },
    "Mask": _object(
        ("height", "width", "foreground", "probability", "area_px", "masks"),
        height=_WHOLE,
        width=_WHOLE,
        foreground=_YES,
        probability=_SHARE,
        area_px=_WHOLE,
        area_mm2=_SIZE,
        pixel_mm2=_SIZE,
        masks=_list(_CLASS),
        **_REMARKS,
    ),
    "MaskVolume": _object(
        ("slices", "height", "width", "affine", "foreground", "probability", "masks"),
        slices=_WHOLE,
        height=_WHOLE,
        width=_WHOLE,
        affine=_list(_list({"type": "number"})),
        foreground=_YES,
        probability=_SHARE,
        area_px=_WHOLE,
        volume_ml=_SIZE,
        voxel_ml=_SIZE,
        masks=_list(_CLASS),
        **_REMARKS,
    ),
    "Labels": _object(("probabilities", "decision"), **_LABELS, **_REMARKS),
    "Numbers": _object(("values",), **_LABELS, **_REMARKS),
    "LabelVolume": _object(
        ("slices",), slices=_list({"anyOf": [_ref("Labels"), _ref("Numbers")]}), axis=_WHOLE, model=_ref("Model")
    ),
    "Several": _object(("answers",), answers=_list({"type": "object"})),
    "State": _object(("status",), status=_TEXT, model=_TEXT, phantom=_YES, models=_list({"type": "object"})),
    "Description": {
        "anyOf": [
            _object(("model", "target", "content_types", "answers", "max_body_bytes")),
            _object(("models",), models=_list({"type": "object"})),
        ]
    },
    "LoadedModel": _object(("modelName", "modelUrl"), modelName=_TEXT, modelUrl=_TEXT),
    "LoadedModels": _object(("models",), models=_list(_ref("LoadedModel")), nextPageToken=_TEXT),
    "Load": _object(("model_name", "url"), False, model_name=_TEXT, url=_TEXT),
    "Parameters": _object(
        ("MaxConcurrentTransforms", "MaxPayloadInMB"), MaxConcurrentTransforms=_WHOLE, MaxPayloadInMB=_WHOLE
    ),
    "V2Server": _object(("name", "version", "extensions"), name=_TEXT, version=_TEXT, extensions=_list(_TEXT)),
    "V2State": _object(live=_YES, ready=_YES, name=_TEXT),
    "V2Model": _object(
        ("name", "versions", "platform", "inputs", "outputs"),
        name=_TEXT,
        versions=_list(_TEXT),
        platform=_TEXT,
        inputs=_list(_ref("V2Tensor")),
        outputs=_list(_ref("V2Tensor")),
    ),
    "V2Tensor": _object(
        ("name", "datatype", "shape"),
        name=_TEXT,
        datatype=_TEXT,
        shape=_list({"type": "integer"}),
        parameters={"type": "object"},
        data={"type": "array"},
    ),
    "V2Request": _object(
        ("inputs",),
        id=_TEXT,
        parameters={"type": "object"},
        inputs={**_list(_ref("V2Tensor")), "minItems": 1},
        outputs=_list(_object(("name",), name=_TEXT, parameters={"type": "object"})),
    ),
    "V2Answer": _object(
        ("model_name", "model_version", "outputs"),
        model_name=_TEXT,
        model_version=_TEXT,
        id=_TEXT,
        outputs=_list(_ref("V2Tensor")),
    ),
    "V2Config": _object(
        ("name", "platform", "backend", "max_batch_size", "input", "output"),
        name=_TEXT,
        platform=_TEXT,
        backend=_TEXT,
        max_batch_size=_WHOLE,
        **dict.fromkeys(("input", "output"), _list(_CONFIGURED)),
    ),
    "V2Statistics": _object(
        ("model_stats",),
        model_stats=_list(
            _object(
                ("name", "version", "last_inference", "inference_count", "execution_count", "inference_stats"),
                name=_TEXT,
                version=_TEXT,
                **dict.fromkeys(("last_inference", "inference_count", "execution_count"), _WHOLE),
                inference_stats={
                    "type": "object",
                    "additionalProperties": _object(("count", "ns"), count=_WHOLE, ns=_WHOLE),
                },
                batch_stats=_list({"type": "object"}),
            )
        ),
    ),
    "V2Index": _list(
        _object(
            ("name", "version", "state", "reason"),
            name=_TEXT,
            version=_TEXT,
            state={**_TEXT, "enum": ["READY", "UNAVAILABLE"]},
            reason=_TEXT,
        )
    ),
    "V2Ready": _object((), False, ready={**_YES, "description": "Whether only models that are served are wanted."}),
    "V2Change": _object((), False, parameters={"type": "object"}),
    "V2Error": _object(("error",), error=_TEXT),
}


def image_bodies(columns: Sequence[str]) -> Json:
    """Return the media types of a request with an image, with their schemas.

    Args:
        columns: Metadata columns that the models take.
    """
    asked = _image_object(columns)
    named = {**asked, "required": ["url"], "properties": {**asked["properties"], "url": _URL}}
    named["properties"].pop("image")
    several = _object(("images",), False, images={**_list(_ONE_OF_SEVERAL), "minItems": 1, "maxItems": 64})
    schemas = {JSON: {"oneOf": [asked, named, several]}, _MULTIPART: _FORM}
    return {kind: {"schema": schemas.get(kind, _BYTES)} for kind in ACCEPTED}


def _image_object(columns: Sequence[str]) -> Json:
    return _object(
        ("image",),
        False,
        image={**_TEXT, "format": "byte", "description": "The bytes of an image in base64."},
        content_type={**_TEXT, "enum": [kind for kind in ACCEPTED if kind not in (JSON, _MULTIPART)]},
        page={**_WHOLE, "maximum": 999_999, "description": "Of a file with several, counted from 0."},
        series={**_TEXT, "description": "Which DICOM series of a zip, by its index or UID."},
        metadata=_object((), False, **{name: {"type": ["string", "number", "null"]} for name in columns}),
    )
