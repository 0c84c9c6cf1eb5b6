"""Which of the answers a client wants, by its ``Accept`` header.

Source: https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = ["HTML", "MULTIPART", "choose", "parts_wanted", "prefers_page"]

HTML = "text/html"

MULTIPART = "multipart/mixed"
"""An answer in several forms at once."""

_QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


def choose(accept: str | None, offers: Sequence[str]) -> str | None:
    """Choose the media type to answer with.

    The most specific range that matches an offer gives its quality; the best quality wins, then the
    offer that was named more specifically, then the earlier offer. A quality of 0 rules an offer out.
    Where several offers share a media type, the parameter ``form`` tells them apart; others do not count.

    Args:
        accept: The header, or None or empty if the client does not care.
        offers: Media types that there are, the default first.

    Returns:
        One of ``offers``, or None if the client takes none of them.

    Example:
        >>> choose("image/*;q=0.5, */*;q=0.1", ["application/json", "image/png"])
        'image/png'
        >>> choose("application/dicom;form=sr", ["application/dicom; form=seg", "application/dicom; form=sr"])
        'application/dicom; form=sr'
    """
    if accept is None or not accept.strip():
        return offers[0]
    ranges = list(_ranges(accept))
    ranked = [(*_rank(offer, ranges), -at, offer) for at, offer in enumerate(offers)]
    quality, *_, best = max(ranked)
    return best if quality > 0.0 else None


def prefers_page(accept: str) -> bool:
    """Whether a browser asks for a page, and no program for JSON or for nothing in particular.

    Example:
        >>> prefers_page("text/html,*/*;q=0.8"), prefers_page("*/*")
        (True, False)
    """
    return choose(accept, ("application/json", HTML)) == HTML


def _rank(offer: str, ranges: Sequence[_Range]) -> tuple[float, int]:
    """Quality of an offer, and how specific the range is that gave it."""
    media, form = _form(offer)
    patterns = (media, media.partition("/")[0] + "/*", "*/*")
    for specificity, pattern, wanted in ((3, media, form), *zip((2, 1, 0), patterns, ("",) * 3, strict=True)):
        qualities = [one.quality for one in ranges if one.media == pattern and one.form == wanted]
        if qualities and (wanted or specificity < 3):
            return max(qualities), specificity
    return 0.0, -1


def _form(offer: str) -> tuple[str, str]:
    """The media type of an offer, and its parameter ``form``."""
    media, *parameters = (piece.strip() for piece in offer.split(";"))
    return media, _parameter(parameters, "form")


class _Range(NamedTuple):
    """A part of the header: what it takes, in which form if it says so, and how gladly."""

    media: str
    form: str
    quality: float


def _ranges(accept: str) -> Iterator[_Range]:
    for part in accept.lower().split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        quality = _quality(parameters)
        if quality is not None:
            yield _Range(media, _parameter(parameters, "form"), quality)


def _parameter(parameters: Sequence[str], wanted: str) -> str:
    """The value of a parameter, without quotes; empty if there is none."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == wanted:
            return value.strip().strip('"')
    return ""


def parts_wanted(accept: str, parameter: str = "forms") -> tuple[str, ...]:
    """Return the forms that a client wants in an answer of several parts, in its order; empty if it does not say.

    Args:
        accept: The header.
        parameter: ``forms``, all of which it wants, or ``optional``, of which it wants those that there are.

    Example:
        >>> parts_wanted("multipart/mixed; forms=json+seg, application/json;q=0.5")
        ('json', 'seg')
    """
    for part in accept.lower().split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        if media == MULTIPART and (found := _parameter(parameters, parameter)):
            return tuple(dict.fromkeys(found.split("+")))
    return ()


def _quality(parameters: Sequence[str]) -> float | None:
    """The ``q`` among the parameters: 1 if there is none, None if it is no quality."""
    text = _parameter(parameters, "q")
    if text or any(parameter.partition("=")[0].strip() == "q" for parameter in parameters):
        return float(text) if _QUALITY.fullmatch(text) else None
    return 1.0
