"""Bytes to pixels and geometry, safely, by magic number.

`decode` is the only way from untrusted bytes to pixels; it returns an `Image` or raises
`medloom.errors.DecodeError`, and nothing else.
"""

from medloom.imaging.decoding import decode, inspect
from medloom.imaging.encoding import encode_png
from medloom.imaging.registry import CONTENT_TYPES, FORMATS_BY_SUFFIX, available_codecs, sniff
from medloom.imaging.types import DEFAULT_BUDGET, Budget, Header, Image

__all__ = [
    "CONTENT_TYPES",
    "DEFAULT_BUDGET",
    "FORMATS_BY_SUFFIX",
    "Budget",
    "Header",
    "Image",
    "available_codecs",
    "decode",
    "encode_png",
    "inspect",
    "sniff",
]
