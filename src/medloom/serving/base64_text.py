"""Base64 as programs and browsers write it: with a ``data:`` prefix, in lines, for URLs, or without padding.

Source: https://www.rfc-editor.org/rfc/rfc4648 and https://www.rfc-editor.org/rfc/rfc2397
"""

from __future__ import annotations

import binascii
import re

__all__ = ["read_base64"]

_PREFIX = re.compile(r"data:([^;,\s]*)(?:;[^;,\s]+=[^;,\s]*)*;base64,", re.IGNORECASE)
_LONGEST_PREFIX = 256
_FROM_URLS = bytes.maketrans(b"-_", b"+/")
_LINE_BREAKS = b"\r\n"
"""Spaces are no such: they are what is left of a plus sign that was not escaped in a form."""


def read_base64(text: str) -> tuple[bytes, str]:
    """Return the bytes, and the media type that a ``data:`` prefix names; empty if there is none.

    Args:
        text: Base64 of either alphabet, in lines or in one, with all of its padding or none.

    Raises:
        ValueError: If it is no such text.

    Example:
        >>> read_base64("data:image/png;base64,_-8")
        (b'\\xff\\xef', 'image/png')
    """
    prefix = _PREFIX.match(text[:_LONGEST_PREFIX])
    start = prefix.end() if prefix else 0
    data = text[start:].encode("ascii").translate(_FROM_URLS, _LINE_BREAKS)
    if not data.endswith(b"="):
        data += b"=" * (-len(data) % 4)
    if len(data) % 4:
        raise ValueError("padding of the wrong length")  # which binascii lets through
    return binascii.a2b_base64(data, strict_mode=True), prefix[1].lower() if prefix else ""
