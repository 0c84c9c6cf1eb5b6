"""A form with images: the parts of a ``multipart/form-data`` body, and what is asked for in them.

How many parts there may be is looked at before any is taken out, and how large their headers are while they are read.

Source: https://www.rfc-editor.org/rfc/rfc7578
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from email.message import Message
from typing import TYPE_CHECKING, Any

import msgspec
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from medloom.serving.bodies import MOST_IMAGES, Asked, read_metadata
from medloom.serving.media_types import OCTETS, plain_type
from medloom.serving.problems import ACCEPTED, JSON, MULTIPART, Problem
from medloom.serving.requests import ImageRequest
from medloom.serving.strict_json import MALFORMED, read_list, read_object

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

__all__ = ["Part", "boundary_of", "read_form", "read_parts"]

_KINDS: tuple[tuple[str, type[int | str]], ...] = (("page", int), ("series", str))
_MOST_PARTS = 128
_MOST_HEADERS = 8
_MOST_HEADER_BYTES = 4096
_MOST_TEXT = 2**14
_IMAGES = frozenset(ACCEPTED) - {JSON, MULTIPART} | {OCTETS}
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_HINT = "Send parts of their own with images, and fields with metadata."

logging.getLogger("python_multipart.multipart").setLevel(logging.CRITICAL)  # it quotes what came


@dataclass
class Part:
    """One part.

    Args:
        content: Its bytes.
        name: Name of the field; empty if it has none.
        content_type: Media type without parameters, in lower case; empty if nothing was said.
        is_file: Whether it comes with the name of a file, which is not kept.
    """

    content: bytearray = field(default_factory=bytearray)
    name: str = ""
    content_type: str = ""
    is_file: bool = False


def boundary_of(content_type: str) -> bytes:
    """Return what stands between the parts.

    Args:
        content_type: The header, with parameters.

    Raises:
        Problem: 400 if it names no sound boundary.

    Example:
        >>> boundary_of('multipart/form-data; boundary="a b"')
        b'a b'
    """
    found = _parameter(content_type, "boundary")
    if not _BOUNDARY.fullmatch(found):
        raise _bad("the Content-Type names no sound boundary between the parts")
    return found.encode("ascii")


def read_form(body: bytes, boundary: bytes) -> Asked:
    """Take a form apart.

    Every part with the name of a file, or with the media type of an image, is an image. A part of JSON says the rest in
    an object with ``metadata`` (an object of values by column, or a list with one for each image), ``page`` and
    ``series``; fields called so say them as well, and any other field is a column of the metadata.

    Args:
        body: All of it.
        boundary: From ``boundary_of``.

    Returns:
        The images in the order of their parts.

    Raises:
        Problem: 400 if it is damaged, or says a thing twice or what is not known.
    """
    form = _Form()
    for part in read_parts(body, boundary):
        form.take(part)
    return form.asked()


class _Form:
    """Gathers what the parts of a form say."""

    def __init__(self) -> None:
        self._images: list[ImageRequest] = []
        self._said: dict[str, Any] = {}
        self._columns: dict[str, Any] = {}

    def take(self, part: Part) -> None:
        if part.content_type == JSON:
            self._json(part)
        elif part.is_file or part.content_type in _IMAGES:
            self._images.append(ImageRequest(bytes(part.content), part.content_type))
        elif part.name == "url":
            self._images.append(ImageRequest(b"", url=_text(part)))
        elif part.name == "metadata":
            self._say("metadata", bytes(part.content))
        elif part.name in ("page", "series"):
            self._say(part.name, _text(part))
        else:
            self._column(part.name, _text(part))

    def asked(self) -> Asked:
        if not 0 < len(self._images) <= MOST_IMAGES:
            raise _bad(f"the form has {len(self._images)} images; expected 1 to {MOST_IMAGES}")
        page, series = _page(self._said.get("page")), self._said.get("series") or None
        images = [
            ImageRequest(one.image, one.content_type, {**row, **self._columns}, page, series, one.url)
            for one, row in zip(self._images, self._rows(), strict=True)
        ]
        return Asked(tuple(images), several=len(images) > 1)

    def _rows(self) -> list[dict[str, Any]]:
        """Metadata of each image."""
        given = self._said.get("metadata", b"{}")
        if not bytes(given).lstrip().startswith(b"["):
            rows = [read_metadata(given)] * len(self._images)
        else:
            rows = [read_metadata(one) for one in _sound_list(given)]
        if len(rows) != len(self._images):
            raise _bad(f"the form has {len(self._images)} images and {len(rows)} rows of metadata")
        if any(name in row for row in rows for name in self._columns):
            raise _bad("a column of the metadata comes twice")
        return rows

    def _json(self, part: Part) -> None:
        if part.name == "metadata":
            self._say("metadata", bytes(part.content))
            return
        try:
            said = read_object(bytes(part.content), ("metadata", "page", "series"))
            plain = {key: _plain(said[key], kind) for key, kind in _KINDS if key in said}
        except MALFORMED as error:
            raise _bad("the JSON of the form is not an object with metadata, page and series") from error
        for key, value in plain.items():
            self._say(key, value)
        if "metadata" in said:
            self._say("metadata", said["metadata"])

    def _say(self, key: str, value: object) -> None:
        if key in self._said:
            raise _bad(f"the form says {key} twice")
        self._said[key] = value

    def _column(self, name: str, value: str) -> None:
        if not name or name in self._columns:
            raise _bad("a field has no name, or a column of the metadata comes twice")
        self._columns[name] = value


def _plain(data: msgspec.Raw, kind: type[int | str]) -> str:
    return str(msgspec.json.decode(data, type=kind))


def _sound_list(data: bytes) -> list[msgspec.Raw]:
    try:
        return read_list(data, MOST_IMAGES)
    except MALFORMED as error:
        raise _bad(f"the metadata of the form are no JSON list of at most {MOST_IMAGES} objects") from error


def _page(text: object) -> int | None:
    if text is None:
        return None
    if not (isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 7):
        raise Problem(400, "bad_page", "page must be a whole number, counted from 0")
    return int(text)


def _text(part: Part) -> str:
    if len(part.content) > _MOST_TEXT:
        raise _bad(f"a field has more than {_MOST_TEXT} bytes")
    try:
        return part.content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad("a field is not text in UTF-8") from error


def read_parts(body: bytes, boundary: bytes) -> list[Part]:
    """Take a body apart.

    Args:
        body: All of it.
        boundary: From ``boundary_of``.

    Raises:
        Problem: 400 if it is damaged, cut off, or has too many parts or headers.
    """
    if body.count(b"--" + boundary) > _MOST_PARTS + 1:
        raise _bad(f"the body has more than {_MOST_PARTS} parts")
    reader = _Reader()
    parser = MultipartParser(
        boundary, reader.callbacks(), max_header_count=_MOST_HEADERS, max_header_size=_MOST_HEADER_BYTES
    )
    try:
        parser.write(body)
        parser.finalize()
    except MultipartParseError as error:
        raise _bad("the body is not sound multipart/form-data") from error
    if not reader.ended:
        raise _bad("the body ends before its last boundary")
    return reader.parts


class _Reader:
    """Is told by the parser what it finds."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.ended = False
        self._name, self._value = bytearray(), bytearray()

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": lambda: self.parts.append(Part()),
            "on_part_data": lambda data, start, end: self.parts[-1].content.extend(data[start:end]),
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_end": self._end,
        }

    def _header(self) -> None:
        name, value = self._name.lower().decode("latin-1"), self._value.decode("utf-8", "replace")
        self._name, self._value = bytearray(), bytearray()
        part = self.parts[-1]
        if name == "content-disposition":
            part.name = _parameter(value, "name")
            part.is_file = bool(re.search(r";\s*filename\*?\s*=", value, re.IGNORECASE))
        elif name == "content-type":
            part.content_type = plain_type(value)
        elif name == "content-transfer-encoding" and value.strip().lower() in ("base64", "quoted-printable"):
            raise _bad("a part has a Content-Transfer-Encoding; expected its bytes as they are")

    def _end(self) -> None:
        self.ended = True


def _parameter(header: str, name: str) -> str:
    """A parameter of a header, as mail and browsers quote it; empty if it is not there."""
    message = Message()
    message["content-type"] = header.replace("\r", " ").replace("\n", " ")
    found = message.get_param(name)
    return found if isinstance(found, str) else ""


def _bad(message: str) -> Problem:
    return Problem(400, "bad_multipart", message, _HINT)
