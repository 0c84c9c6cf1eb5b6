"""Bytes to pixels and geometry, safely, by magic number.

`decode` is the only way from untrusted bytes to pixels; it returns an `Image` or raises
`medloom.errors.DecodeError`, and nothing else.
"""

from medloom.imaging.decoding import decode, inspect, read_volume
from medloom.imaging.dicom_file import transfer_syntaxes
from medloom.imaging.display import to_grey
from medloom.imaging.encoding import encode_png
from medloom.imaging.registry import CONTENT_TYPES, FORMATS_BY_SUFFIX, available_codecs, sniff, strip_suffix
from medloom.imaging.series import read_frames, read_series
from medloom.imaging.types import DEFAULT_BUDGET, FILE_BUDGET, Budget, Header, Image, Volume
from medloom.imaging.window import Window, apply_window

__all__ = [
    "CONTENT_TYPES",
    "DEFAULT_BUDGET",
    "FILE_BUDGET",
    "FORMATS_BY_SUFFIX",
    "Budget",
    "Header",
    "Image",
    "Volume",
    "Window",
    "apply_window",
    "available_codecs",
    "decode",
    "encode_png",
    "inspect",
    "read_frames",
    "read_series",
    "read_volume",
    "sniff",
    "strip_suffix",
    "to_grey",
    "transfer_syntaxes",
]
