"""What clients call a format, brought to one name."""

from __future__ import annotations

import mimetypes

__all__ = ["OCTETS", "not_taken", "plain_type"]

OCTETS = "application/octet-stream"
"""Bytes whose format is found out."""

_ALIASES = {
    "application/x-image": OCTETS,
    "binary/octet-stream": OCTETS,
    "application/x-zip-compressed": "application/zip",
    "application/dicom+zip": "application/zip",
    "image/dicom": "application/dicom",
    "image/dicom+octet-stream": "application/dicom",
    "image/nifti": "application/x-nifti",
    "application/nifti": "application/x-nifti",
    "application/npy": "application/x-npy",
    "application/x-numpy": "application/x-npy",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/tif": "image/tiff",
    "image/x-tiff": "image/tiff",
}


def plain_type(header: str) -> str:
    """Return a media type without parameters, in lower case, and of several names for a format the usual one.

    Args:
        header: A ``Content-Type``.

    Example:
        >>> plain_type("Image/X-PNG; name=a"), plain_type("application/x-image")
        ('image/png', 'application/octet-stream')
    """
    found = header.partition(";")[0].strip().lower()
    return _ALIASES.get(found, found)


_USUAL = frozenset(
    {
        *mimetypes.MimeTypes().types_map[True].values(),
        "application/x-www-form-urlencoded",
        *("gzip", "x-gzip", "deflate", "br", "zstd", "compress"),
    }
)
"""Media types and encodings in wide use."""


def not_taken(header: str, value: str) -> str:
    """Say that what a header says is not taken, and repeat it only if it is a usual one: it may hold a name.

    Args:
        header: Its name.
        value: In lower case, without parameters.

    Example:
        >>> not_taken("Content-Type", "text/html"), not_taken("Content-Type", "image/jane-doe")
        ('Content-Type text/html is not taken', 'what Content-Type says is not taken')
    """
    return f"{header} {value} is not taken" if value in _USUAL else f"what {header} says is not taken"
