"""The formats there are. A new one is one module and one line here."""

from __future__ import annotations

from medloom.errors import DecodeError
from medloom.imaging import dicom, jpeg, nifti, npy, png, tiff
from medloom.imaging.types import Format

__all__ = ["CONTENT_TYPES", "FORMATS", "FORMATS_BY_SUFFIX", "available_codecs", "check_declared", "sniff"]

# DICOM comes first: its preamble may be the beginning of a TIFF, so that both kinds of reader find pixels.
FORMATS: dict[str, Format] = {
    "dicom": dicom, "tiff": tiff, "png": png, "jpeg": jpeg, "npy": npy, "nifti": nifti,
}  # fmt: skip

CONTENT_TYPES: dict[str, str] = {kind: name for name, item in FORMATS.items() for kind in item.CONTENT_TYPES}
FORMATS_BY_SUFFIX: dict[str, str] = {suffix: name for name, item in FORMATS.items() for suffix in item.SUFFIXES}

_SIGNATURES = tuple((name, offset, magic) for name, item in FORMATS.items() for offset, magic in item.MAGICS)
_UNDECLARED = frozenset({"", "application/octet-stream"})


def sniff(data: bytes) -> str:
    """Return the format that the first bytes say; a name or a declared type is never asked.

    Args:
        data: The encoded image, or at least its beginning.

    Returns:
        A name of ``FORMATS``, such as ``tiff`` or ``dicom``.

    Raises:
        DecodeError: ``empty``, ``truncated`` in the signature, or ``unsupported``.
    """
    if not data:
        raise DecodeError("empty", "the input has no bytes; expected an image")
    for name, offset, magic in _SIGNATURES:
        if data.startswith(magic, offset):
            return name
    if any(offset == 0 and magic.startswith(data) for _, offset, magic in _SIGNATURES):
        raise DecodeError("truncated", f"the input ends after {len(data)} bytes, within the signature of its format")
    raise DecodeError("unsupported", f"the input is none of {', '.join(FORMATS)}", hint="Convert it to TIFF or PNG.")


def check_declared(content_type: str | None, name: str) -> None:
    """Refuse an input that is declared as something else than it is.

    Args:
        content_type: Declared media type; parameters and case do not matter. None, "" and
            ``application/octet-stream`` declare nothing.
        name: The sniffed format.

    Raises:
        DecodeError: ``unsupported`` for an unknown type, ``mismatch`` for another one.
    """
    declared = (content_type or "").partition(";")[0].strip().lower()
    if declared in _UNDECLARED:
        return
    if declared not in CONTENT_TYPES:
        raise DecodeError(
            "unsupported", "the declared content type is not known", hint=f"Send one of {', '.join(CONTENT_TYPES)}."
        )
    if CONTENT_TYPES[declared] != name:
        raise DecodeError(
            "mismatch", f"the input was declared as {declared} but is {name}", field="Content-Type",
            hint=f"Declare it as {FORMATS[name].CONTENT_TYPES[0]}.",
        )  # fmt: skip


def available_codecs() -> dict[str, str]:
    """Return, for each format, what decodes it and in which version."""
    return {name: item.codec() for name, item in FORMATS.items()}
