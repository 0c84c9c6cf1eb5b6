"""What a request asks for: an image alone, or with metadata in one JSON object."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from medloom.errors import InputError
from medloom.inference import LabelPrediction, LabelPredictor, Prediction, Predictor
from medloom.serving.problems import JSON, Problem

__all__ = ["ImageRequest", "predict", "read_request"]

_KEYS = ("image", "content_type", "metadata")
_MAX_DEPTH = 32
_MOST_MARKS = 10_000
"""Of quotes, commas and opening brackets each: base64 holds none, and reading them is what costs time."""

_OPENING = b"[{"
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))
_ESCAPE = ord("\\")


@dataclass(frozen=True)
class ImageRequest:
    """What is to be predicted.

    Args:
        image: The image's bytes.
        content_type: What they are said to be; empty if nothing was said.
        metadata: Values by column.
    """

    image: bytes
    content_type: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


def read_request(body: bytes, content_type: str) -> ImageRequest:
    """Take a request's body apart.

    Args:
        body: The bytes of an image, or a JSON object: ``image`` (base64), and if wanted ``content_type`` and
            ``metadata`` (values by column).
        content_type: Media type of the body, without parameters.

    Raises:
        Problem: 400 for JSON that is malformed, nested too deep, or not such an object.
    """
    if content_type != JSON:
        return ImageRequest(body, content_type)
    plain = _parsed(body)
    if not isinstance(plain, dict) or not isinstance(plain.get("image"), str):
        raise _bad("expected a JSON object with the image as base64 text under the key image")
    unknown = [key for key in plain if key not in _KEYS]
    if unknown:
        raise _bad(f"{len(unknown)} key(s) are not known; expected {', '.join(_KEYS)}")
    declared, metadata = plain.get("content_type", ""), plain.get("metadata", {})
    if not isinstance(declared, str) or not isinstance(metadata, dict):
        raise _bad("content_type must be text and metadata an object of values by column")
    return ImageRequest(_image(plain["image"]), declared, metadata)


def predict(
    predictor: Predictor | LabelPredictor, asked: ImageRequest, page: int | None
) -> Prediction | LabelPrediction:
    """Answer a request.

    Args:
        predictor: The model.
        asked: The image with its metadata.
        page: Page of a file that has several.

    Raises:
        DecodeError: If the bytes are not an acceptable image.
        InputError: If the image is sound but not what this model takes, or so for the metadata.
    """
    if isinstance(predictor, LabelPredictor):
        return predictor.predict(asked.image, metadata=asked.metadata, content_type=asked.content_type, page=page)
    if asked.metadata:
        raise InputError("this model takes no metadata; send the image alone")
    return predictor.predict(asked.image, content_type=asked.content_type, page=page)


def _image(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad("the value of image is not base64") from error


def _parsed(body: bytes) -> object:
    if any(body.count(mark) > _MOST_MARKS for mark in (b'"', b",", b"[", b"{")):
        raise _bad(f"the JSON holds more than {_MOST_MARKS} texts, values or brackets")
    if _too_deep(body):
        raise _bad(f"the JSON is nested deeper than {_MAX_DEPTH}")
    try:
        return json.loads(body.decode(), parse_constant=_refuse, object_pairs_hook=_sound)
    except (ValueError, RecursionError) as error:
        raise _bad("the body is not sound JSON") from error


def _too_deep(body: bytes) -> bool:
    """Whether the brackets outside of texts are nested too deep; stops at the first that is."""
    depth = 0
    for part in _outside_texts(body):
        for byte in part.translate(None, _NO_BRACKETS):
            depth += 1 if byte in _OPENING else -1
            if depth > _MAX_DEPTH:
                return True
    return False


def _outside_texts(body: bytes) -> Sequence[bytes]:
    """Pieces of JSON between its texts; an image in base64 is one text and is skipped at once."""
    pieces, at = [], 0
    while (begin := body.find(b'"', at)) >= 0:
        pieces.append(body[at:begin])
        end = begin + 1
        while (end := body.find(b'"', end)) >= 0 and _escaped(body, end):
            end += 1
        if end < 0:
            return pieces
        at = end + 1
    return [*pieces, body[at:]]


def _escaped(body: bytes, at: int) -> bool:
    slashes = at
    while slashes > 0 and body[slashes - 1] == _ESCAPE:
        slashes -= 1
    return (at - slashes) % 2 == 1


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


def _sound(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object, with every key once and no half of a surrogate pair, which is no text."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    for text in (*found, *found.values()):
        if isinstance(text, str) and not text.isascii():
            text.encode()
    return found


def _bad(message: str) -> Problem:
    return Problem(400, "bad_json", message, 'Send {"image": "<base64>", "metadata": {"column": value}}.')
