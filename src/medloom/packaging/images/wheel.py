"""The installed Medloom as a wheel, so that an image gets the very code that wrote its build context."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import medloom
from medloom.files import replacing

__all__ = ["EARLIEST", "wheel_name", "write_wheel"]

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""First time that a zip can hold; the time of every file."""

_LEFT_OUT = frozenset({"__pycache__", "node_modules", "modules", "licences"})
"""Folders that no installation has: what Python and Node.js make, and what the server's page is built from."""

_TAGS = "Wheel-Version: 1.0\nGenerator: medloom\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def wheel_name() -> str:
    """Return what the wheel of this version is called."""
    return f"medloom-{medloom.__version__}-py3-none-any.whl"


def write_wheel(folder: Path) -> Path:
    """Write the wheel into a folder; the same files give the same bytes.

    Args:
        folder: Where.

    Returns:
        The wheel.

    Source: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
    """
    info = f"medloom-{medloom.__version__}.dist-info"
    files = dict(_package())
    files[f"{info}/METADATA"] = _metadata().encode()
    files[f"{info}/WHEEL"] = _TAGS.encode()
    files[f"{info}/entry_points.txt"] = b"[console_scripts]\nmedloom = medloom.cli.main:main\n"
    record = "".join(f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    path = folder / wheel_name()
    with replacing(path) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, EARLIEST)
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return path


def _package() -> Iterator[tuple[str, bytes]]:
    root = Path(medloom.__file__).parent
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root.parent)
        if path.is_file() and not _LEFT_OUT & set(inside.parts[:-1]):
            yield inside.as_posix(), path.read_bytes()


def _metadata() -> str:
    """What is said of the installed distribution, without what it needs: an image is locked, and one extra is in it."""
    found = metadata.metadata("medloom")
    said = {"Metadata-Version": "2.4", "Name": "medloom", "Version": medloom.__version__}
    said |= {key: found[key] for key in ("Summary", "License-Expression", "Requires-Python") if key in found}
    return "".join(f"{key}: {value}\n" for key, value in said.items())


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
