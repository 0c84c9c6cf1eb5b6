"""Bytes to pixels and geometry, safely, by magic number.

`decode` is the only way from untrusted bytes to pixels; it returns an `Image` or raises
`medloom.errors.DecodeError`, and nothing else.
"""

from medloom.imaging.decoding import decode, inspect
from medloom.imaging.dicom_file import transfer_syntaxes
from medloom.imaging.encoding import encode_png
from medloom.imaging.registry import CONTENT_TYPES, FORMATS_BY_SUFFIX, available_codecs, sniff
from medloom.imaging.series import read_series
from medloom.imaging.types import DEFAULT_BUDGET, FILE_BUDGET, Budget, Header, Image
from medloom.imaging.volume import Volume
from medloom.imaging.window import apply_window

__all__ = [
    "CONTENT_TYPES",
    "DEFAULT_BUDGET",
    "FILE_BUDGET",
    "FORMATS_BY_SUFFIX",
    "Budget",
    "Header",
    "Image",
    "Volume",
    "apply_window",
    "available_codecs",
    "decode",
    "encode_png",
    "inspect",
    "read_series",
    "sniff",
    "transfer_syntaxes",
]
