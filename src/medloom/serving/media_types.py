"""What clients call a format, brought to one name."""

from __future__ import annotations

__all__ = ["OCTETS", "plain_type"]

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
