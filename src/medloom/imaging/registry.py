"""The formats that `medloom.registry.FORMATS` names, and what tells them apart."""

from __future__ import annotations

from medloom import registry
from medloom.errors import DecodeError
from medloom.imaging.types import Format

__all__ = [
    "CONTENT_TYPES",
    "FORMATS",
    "FORMATS_BY_SUFFIX",
    "available_codecs",
    "check_declared",
    "sniff",
    "strip_suffix",
]

FORMATS: dict[str, Format] = {name: registry.load(entry) for name, entry in registry.FORMATS.items()}

CONTENT_TYPES: dict[str, str] = {kind: name for name, item in FORMATS.items() for kind in item.content_types}
FORMATS_BY_SUFFIX: dict[str, str] = {suffix: name for name, item in FORMATS.items() for suffix in item.suffixes}
_SUFFIXES = tuple(FORMATS_BY_SUFFIX)

_SIGNATURES = tuple((name, offset, magic) for name, item in FORMATS.items() for offset, magic in item.magics)
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
            hint=f"Declare it as {FORMATS[name].content_types[0]}.",
        )  # fmt: skip


def available_codecs() -> dict[str, str]:
    """Return, for each format, what decodes it and in which version."""
    return {name: item.codec() for name, item in FORMATS.items()}


def strip_suffix(name: str, more: tuple[str, ...] = ()) -> str:
    """Return a name without the suffix of an image file; other dots, as in ``1.2.840.1``, are part of the name.

    Args:
        name: A file's name or path.
        more: Suffixes, lower case, with the dot, that go as well, such as ``.zip``.

    Example:
        >>> strip_suffix("a/scan.nii.gz"), strip_suffix("1.2.840.1"), strip_suffix(".png")
        ('a/scan', '1.2.840.1', '.png')
    """
    lower = name.lower()
    if not lower.endswith(_SUFFIXES + more):  # one call in place of one for each suffix
        return name
    suffix = max((end for end in _SUFFIXES + more if lower.endswith(end)), key=len)
    return name[: len(name) - len(suffix)] or name
