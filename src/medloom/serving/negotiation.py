"""Which of the answers a client wants, by its ``Accept`` header.

Source: https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

__all__ = ["choose"]

_QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


def choose(accept: str | None, offers: Sequence[str]) -> str | None:
    """Choose the media type to answer with.

    The most specific range that matches an offer gives its quality; the best quality wins, then the
    offer that was named more specifically, then the earlier offer. A quality of 0 rules an offer out.

    Args:
        accept: The header, or None or empty if the client does not care.
        offers: Media types that there are, the default first.

    Returns:
        One of ``offers``, or None if the client takes none of them.

    Example:
        >>> choose("image/*;q=0.5, */*;q=0.1", ["application/json", "image/png"])
        'image/png'
    """
    if accept is None or not accept.strip():
        return offers[0]
    ranges = list(_ranges(accept))
    ranked = [(*_rank(offer, ranges), -at, offer) for at, offer in enumerate(offers)]
    quality, *_, best = max(ranked)
    return best if quality > 0.0 else None


def _rank(offer: str, ranges: Sequence[tuple[str, float]]) -> tuple[float, int]:
    """Quality of an offer, and how specific the range is that gave it."""
    patterns = (offer, offer.partition("/")[0] + "/*", "*/*")
    for specificity, pattern in zip((2, 1, 0), patterns, strict=True):
        qualities = [quality for found, quality in ranges if found == pattern]
        if qualities:
            return max(qualities), specificity
    return 0.0, -1


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept.lower().split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        quality = _quality(parameters)
        if quality is not None:
            yield media, quality


def _quality(parameters: Sequence[str]) -> float | None:
    """The ``q`` among the parameters: 1 if there is none, None if it is no quality."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            text = value.strip()
            return float(text) if _QUALITY.fullmatch(text) else None
    return 1.0
