"""What a request asks for: an image alone, or with metadata in one JSON object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from medloom.data.whole import ZIP_MAGIC, has_dicom, may_be_whole, open_zip
from medloom.imaging import CONTENT_TYPES, Volume
from medloom.inference import Prediction, Predictor, VolumeAnswer
from medloom.inference.stacks import alone
from medloom.inference.volumes import predict_numbered, predict_pages, predict_volume
from medloom.serving.base64_text import read_base64
from medloom.serving.problems import JSON, Problem

__all__ = ["ImageRequest", "page_of", "predict", "predict_whole", "read_request", "read_whole_volume"]

_MAX_DEPTH = 32
_MAX_PAGE = 999_999
_MAX_METADATA_BYTES = 2**18
"""Far more than a row of a table takes; decoding a list of lists needs 25 times its size in memory."""

_EXPECTED = (
    "expected a JSON object with the keys image (base64 text), content_type (text), page (a whole number, counted from "
    "0) and metadata (an object of values by column), each at most once and only image required"
)


@dataclass(frozen=True)
class ImageRequest:
    """What is to be predicted.

    Args:
        image: The image's bytes.
        content_type: What they are said to be; empty if nothing was said.
        metadata: Values by column.
        page: Page of a file that has several; None if nothing was said.
        series: Which DICOM series of a zip, by its index or UID; None if nothing was said.
    """

    image: bytes
    content_type: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    page: int | None = None
    series: str | None = None


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON form of a request; its image is base64 text, its metadata are read by themselves."""

    image: str
    content_type: str = ""
    page: Annotated[int, msgspec.Meta(ge=0, le=_MAX_PAGE)] | None = None
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


class _Key(str):
    """A key that is decoded by a hook: msgspec alone would keep the last value of a key that comes twice."""

    __slots__ = ()


def read_request(body: bytes, content_type: str) -> ImageRequest:
    """Take a request's body apart.

    Args:
        body: The bytes of an image, or a JSON object: ``image`` (base64; see ``read_base64``), and if wanted
            ``content_type``, ``page`` and ``metadata`` (values by column).
        content_type: Media type of the body, without parameters.

    Raises:
        Problem: 400 for JSON that is malformed, nested too deep, too large, or not such an object.
    """
    if content_type != JSON:
        return ImageRequest(body, content_type)
    try:
        return _parsed(body)
    except msgspec.ValidationError as error:  # before its base, for JSON that is sound
        raise _bad(_EXPECTED) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _bad("the body is not sound JSON") from error


def predict(
    predictor: Predictor,
    asked: ImageRequest,
    page: int | None,
    *,
    one_slice: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Prediction | VolumeAnswer:
    """Answer a request: an image, or where no page is named, a volume of several slices as a whole.

    Args:
        predictor: The model.
        asked: The image or volume with its metadata.
        page: Page of a file that has several, where the request names none.
        one_slice: Whether a volume of one slice is answered as a volume; else it is an image.
        progress: Called before each slice of a volume with how many are done and how many there are; what it raises
            ends the work.

    Raises:
        DecodeError: If the bytes are not an acceptable image.
        InputError: If the image is sound but not what this model takes, or so for the metadata.
    """
    page = page_of(asked, page)
    whole = predict_whole(predictor, asked, page, one_slice=one_slice, progress=progress)
    if whole is not None:
        return whole
    return predictor.predict(asked.image, metadata=asked.metadata, content_type=asked.content_type, page=page)


def page_of(asked: ImageRequest, page: int | None) -> int | None:
    """Return the page that a request names, else ``page``."""
    return page if asked.page is None else asked.page


def predict_whole(
    predictor: Predictor,
    asked: ImageRequest,
    page: int | None,
    *,
    one_slice: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> VolumeAnswer | None:
    """Answer a request for a volume; None where it is one for an image, as ``predict`` tells them apart.

    Args:
        predictor: The model.
        asked: The image or volume with its metadata.
        page: From ``page_of``.
        one_slice: As of ``predict``.
        progress: As of ``predict``.
    """
    if predictor.context:
        return _surrounded(predictor, asked, page, progress)
    volume = read_whole_volume(predictor, asked, page, one_slice=one_slice)
    return None if volume is None else predict_volume(predictor, volume, asked.metadata, progress=progress)


def read_whole_volume(
    predictor: Predictor, asked: ImageRequest, page: int | None, *, one_slice: bool = False
) -> Volume | None:
    """Read what is predicted as a whole; None where a request is for an image.

    Args:
        predictor: Its decoders and what they may spend; a model with context takes one slice for a volume.
        asked: The image or volume.
        page: From ``page_of``.
        one_slice: As of ``predict``.
    """
    if page is None and (asked.series is not None or may_be_whole(asked.image)):
        volume = predictor.volume_decoder(
            asked.image, content_type=asked.content_type, series=asked.series, budget=predictor.budget
        )
        one_slice = one_slice or predictor.context > 0 or asked.image.startswith(ZIP_MAGIC)
        return volume if volume is not None and (one_slice or len(volume.voxels) > 1) else None
    if page is not None and asked.series is not None:
        raise Problem(400, "bad_page", "a series is predicted whole and a page is one image", "Name one of them.")
    return None


def _surrounded(
    predictor: Predictor, asked: ImageRequest, page: int | None, progress: Callable[[int, int], None] | None
) -> VolumeAnswer:
    """Answer a model that sees each slice with those beside it: a volume, the pages of a file, or numbered slices."""
    data, declared = asked.image, asked.content_type
    if page is not None:
        raise alone(predictor.context)
    if data.startswith(ZIP_MAGIC) and asked.series is None:
        with open_zip(data, declared, predictor.budget) as source:
            if not has_dicom(source):
                return predict_numbered(predictor, source, asked.metadata, progress=progress)
    volume = read_whole_volume(predictor, asked, page)
    if volume is not None:
        return predict_volume(predictor, volume, asked.metadata, progress=progress)
    return predict_pages(predictor, data, asked.metadata, content_type=declared, progress=progress)


def _parsed(body: bytes) -> ImageRequest:
    asked = msgspec.json.decode(body, type=_Body)
    _object(body, dict[_Key, msgspec.Raw])
    if len(asked.metadata) > _MAX_METADATA_BYTES:
        raise _bad(f"the metadata are larger than {_MAX_METADATA_BYTES} bytes")
    metadata = _object(asked.metadata, dict[_Key, Any])
    if _depth(metadata) >= _MAX_DEPTH:  # the body is one more object
        raise _bad(f"the JSON is nested deeper than {_MAX_DEPTH}")
    image, named = _image(asked.image)
    return ImageRequest(image, asked.content_type or named, metadata, asked.page)


def _image(text: str) -> tuple[bytes, str]:
    """The image with the type in its prefix; one that no image has, such as browsers guess, says nothing."""
    try:
        image, named = read_base64(text)
    except ValueError as error:
        raise _bad(_EXPECTED) from error
    return image, named if named in CONTENT_TYPES else ""


def _object(data: bytes | msgspec.Raw, keyed: type[dict[_Key, Any]]) -> dict[str, Any]:
    """Decode a JSON object in which no key comes twice; a number too large for a float becomes infinite."""
    seen: set[str] = set()

    def once(_: type, text: str) -> _Key:
        if text in seen:
            raise ValueError("a key comes twice")
        seen.add(text)
        return _Key(text)

    decoder = msgspec.json.Decoder(keyed, dec_hook=once, float_hook=float)
    return {str(key): value for key, value in decoder.decode(data).items()}


def _depth(value: object) -> int:
    """How deep lists and objects are nested; msgspec has refused what Python could not follow."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _bad(message: str) -> Problem:
    return Problem(400, "bad_json", message, 'Send {"image": "<base64>", "metadata": {"column": value}}.')
