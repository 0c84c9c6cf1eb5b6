"""What a request declares, and its body; each refusal says why, before more is read than has to be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from starlette.requests import ClientDisconnect, Request

from medloom.serving.admission import Admission, Limits
from medloom.serving.media_types import not_taken, plain_type
from medloom.serving.problems import ACCEPTED, Problem

__all__ = ["accepted_type", "declared_type", "read_body"]

_PIECE_BYTES = 2**18


def declared_type(request: Request, accepted: Collection[str] = ACCEPTED) -> str:
    """Return the media type of the body; see ``plain_type``.

    Args:
        request: Its headers are looked at.
        accepted: Media types that may come.

    Raises:
        Problem: 415 for another one, for none, for several, or for a ``Content-Encoding``.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        message = not_taken("Content-Encoding", encoding)
        raise Problem(415, "unsupported_encoding", message, "Send the image as it is.", close=True)
    return accepted_type(request.headers.getlist("content-type"), accepted)


def accepted_type(headers: Sequence[str], accepted: Collection[str] = ACCEPTED) -> str:
    """Return the media type that a body is said to have; see ``plain_type``.

    Args:
        headers: Every ``Content-Type`` that came with it.
        accepted: Media types that may come.

    Raises:
        Problem: 415 for another one, for none, or for several.
    """
    media_type = plain_type(headers[0]) if len(headers) == 1 else ""
    if media_type not in accepted:
        came = not_taken("Content-Type", media_type) if media_type else "there is no single Content-Type"
        hint = f"Send an image as {', '.join(accepted)}."
        raise Problem(415, "unsupported_type", came, hint, close=True)
    return media_type


async def read_body(request: Request, limits: Limits, admission: Admission | None = None) -> bytes:
    """Read the body.

    Args:
        request: Its length is looked at before any of it is read.
        limits: How large it may be, and how long it may take.
        admission: Of the request, to which the bytes of the body are counted.

    Raises:
        Problem: 413, 411, 408 or 400, if it is too large, has no length, comes too slowly or breaks off; 503 if all
            bodies together are too large.
    """
    _check_length(request, limits.max_body_bytes)
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            return await _read(request, limits.max_body_bytes, _uncounted if admission is None else admission.hold)
    except TimeoutError as error:
        message = f"the body did not arrive within {limits.body_timeout_s:g} s"
        raise Problem(408, "too_slow", message, close=True) from error
    except ClientDisconnect as error:
        raise Problem(400, "truncated", "the connection ended before the body did", close=True) from error


async def _read(request: Request, most: int, hold: Callable[[int], None]) -> bytes:
    pieces, last, size = list[bytes](), bytearray(), 0  # one that grows to the end would be copied, and be there twice
    try:
        async for chunk in request.stream():
            hold(len(chunk))
            size += len(chunk)
            if size > most:
                raise _too_large(most)
            last += chunk
            if len(last) >= _PIECE_BYTES:
                pieces.append(bytes(last))
                last.clear()
    except BaseException:
        pieces.clear()  # whoever holds the exception, until the refusal has gone out, holds this frame
        last.clear()
        raise
    return b"".join([*pieces, last])


def _check_length(request: Request, most: int) -> None:
    """Refuse by the header what is too large or has no length, before any of it is read."""
    lengths = request.headers.getlist("content-length")
    if not lengths:
        if "transfer-encoding" not in request.headers:
            raise Problem(411, "length_required", "the request has no Content-Length and no body", close=True)
        return
    if len(set(lengths)) > 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
        raise Problem(400, "bad_length", "Content-Length must be one whole number", close=True)
    if len(lengths[0]) > 18 or int(lengths[0]) > most:
        raise _too_large(most)


def _too_large(most: int) -> Problem:
    return Problem(413, "too_large", f"the body is larger than {most} bytes", "Send one image per request.", close=True)


def _uncounted(size_bytes: int) -> None:
    """Count nothing: nobody was let in."""
