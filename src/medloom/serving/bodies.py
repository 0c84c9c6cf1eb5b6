"""What the body of a request holds: the bytes of an image, JSON with one and its metadata, or JSON with several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec

from medloom.imaging import CONTENT_TYPES
from medloom.serving.base64_text import read_base64
from medloom.serving.media_types import plain_type
from medloom.serving.problems import JSON, Problem
from medloom.serving.requests import ImageRequest
from medloom.serving.strict_json import MALFORMED, MAX_DEPTH, depth, read_list, read_object

__all__ = ["MOST_IMAGES", "Asked", "only", "read_json", "read_metadata", "read_request"]

MOST_IMAGES = 64
"""Most images in one request."""

Found = TypeVar("Found")

_MAX_METADATA_BYTES = 2**18
"""Far more than a row of a table takes; decoding a list of lists needs 25 times its size in memory."""

_MAX_TEXT_BYTES = 4096
_ONE = ("image", "url", "content_type", "page", "series", "metadata")
_ALL = ("images", *_ONE)
_EXPECTED = (
    "expected a JSON object with the keys image (base64 text) or url (text), content_type (text), page (a whole "
    "number, counted from 0), series (text) and metadata (an object of values by column), each at most once and only "
    "image or url required; or with the key images alone, a list of such objects"
)
_Page = Annotated[int, msgspec.Meta(ge=0, le=999_999)] | None


@dataclass(frozen=True)
class Asked:
    """What one request asks for.

    Args:
        images: One for each image; what is wrong with one stands in its place.
        several: Whether the answer is a list, which may have one entry.
    """

    images: tuple[ImageRequest | Problem, ...]
    several: bool = False


def read_request(body: bytes, content_type: str) -> ImageRequest:
    """Take the body of a request for one image apart.

    Args:
        body: The bytes of an image, or a JSON object: ``image`` (base64; see ``read_base64``), and if wanted
            ``content_type``, ``page``, ``series`` and ``metadata`` (values by column).
        content_type: Media type of the body, under any name that ``plain_type`` knows.

    Raises:
        Problem: 400 for JSON that is malformed, nested too deep, too large, or not such an object; 403 for a URL.
    """
    content_type = plain_type(content_type)
    if content_type != JSON:
        return ImageRequest(body, content_type)
    one = only(read_json(body))
    if one.url:
        raise Problem(403, "url_not_allowed", "nothing is fetched from URLs here", "Send the image itself.")
    return one


def only(asked: Asked) -> ImageRequest:
    """Return the one image that is asked for.

    Raises:
        Problem: What is wrong with it, or 400 if there are several.
    """
    if asked.several:
        raise Problem(400, "several_images", "several images came; expected one", "Send them one by one.")
    (one,) = asked.images
    if isinstance(one, Problem):
        raise one
    return one


def read_json(body: bytes) -> Asked:
    """Take a JSON body apart: one image, or ``images``, a list of them.

    Raises:
        Problem: 400 for JSON that is malformed, nested too deep, too large, or another object.
    """
    return _sound(lambda: _read_json(body))


def read_metadata(data: bytes | msgspec.Raw) -> dict[str, Any]:
    """Decode values by column.

    Raises:
        Problem: 400 if there are too many, or they are no such JSON.
    """
    return _sound(lambda: _metadata(data))


def _read_json(body: bytes) -> Asked:
    said = read_object(body, _ALL)
    if "images" not in said:
        return Asked((_one(body),))
    if len(said) > 1:
        raise _bad(_EXPECTED)
    listed = read_list(said["images"], MOST_IMAGES)
    if not listed:
        raise _bad("the list of images is empty")
    return Asked(tuple(_one_or_problem(one) for one in listed), several=True)


def _one_or_problem(data: msgspec.Raw) -> ImageRequest | Problem:
    try:
        return _sound(lambda: _one(data))
    except Problem as problem:
        return problem


def _one(data: bytes | msgspec.Raw) -> ImageRequest:
    said = read_object(data, _ONE)
    if ("image" in said) == ("url" in said):
        raise _bad(_EXPECTED)
    image, named = _image(said["image"]) if "image" in said else (b"", "")
    declared = _text(said, "content_type") or named
    return ImageRequest(
        image,
        plain_type(declared),
        _metadata(said.get("metadata", b"{}")),
        None if "page" not in said else msgspec.json.decode(said["page"], type=_Page),
        _text(said, "series") or None,
        _text(said, "url"),
    )


def _text(said: dict[str, Any], key: str) -> str:
    if len(said.get(key, b"")) > _MAX_TEXT_BYTES:
        raise _bad(f"{key} has more than {_MAX_TEXT_BYTES} bytes")
    return msgspec.json.decode(said[key], type=str) if key in said else ""


def _image(data: msgspec.Raw) -> tuple[bytes, str]:
    """The image with the type in its prefix; one that no image has, such as browsers guess, says nothing."""
    text = msgspec.json.decode(data, type=str)
    try:
        image, named = read_base64(text)
    except ValueError as error:
        raise _bad(_EXPECTED) from error
    return image, named if named in CONTENT_TYPES else ""


def _metadata(data: bytes | msgspec.Raw) -> dict[str, Any]:
    if len(data) > _MAX_METADATA_BYTES:
        raise _bad(f"the metadata are larger than {_MAX_METADATA_BYTES} bytes")
    found = read_object(data)
    if depth(found) >= MAX_DEPTH:  # the body is one more object
        raise _bad(f"the JSON is nested deeper than {MAX_DEPTH}")
    return found


def _sound(read: Callable[[], Found]) -> Found:
    try:
        return read()
    except msgspec.ValidationError as error:  # before its base, for JSON that is sound
        raise _bad(_EXPECTED) from error
    except MALFORMED as error:
        raise _bad("the body is not sound JSON") from error


def _bad(message: str) -> Problem:
    return Problem(400, "bad_json", message, 'Send {"image": "<base64>", "metadata": {"column": value}}.')
