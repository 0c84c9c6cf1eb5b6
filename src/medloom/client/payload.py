"""What a caller hands over as the bytes that are sent: a file as it is, pixels as NPY, a folder with a series as a zip.

Names of files are not sent. A decoded image or volume is not taken: what it says beside its pixels (orientation,
window, spacing) has no file that keeps all of it, and without it the answer might be another one.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from medloom.client.wire import Request
from medloom.errors import InputError
from medloom.inference.answers.base import NPY, npy_bytes
from medloom.inference.given import as_image, read_file

__all__ = ["Options", "Sendable", "request_for", "zipped"]

_ANY = "application/octet-stream"

Sendable = str | Path | bytes | NDArray[Any]
"""What can be sent: the path of a file, or of a folder that is a DICOM series; a file's bytes; pixels."""


class Options(TypedDict, total=False):
    """What may be said of an image, as ``Predictor.predict`` takes it.

    Args:
        metadata: Values by column; missing ones count as blank.
        content_type: What the bytes are said to be; checked against what they are.
        page: Page of a file that has several.
        series: Which series of a folder or zip: its index in the order of the UIDs, or its UID.
    """

    metadata: Mapping[str, Any] | None
    content_type: str | None
    page: int | None
    series: int | str | None


def request_for(
    image: Sendable, *, path: str, accept: str, headers: Mapping[str, str], **options: Unpack[Options]
) -> Request:
    """Return the request of ``POST /invocations`` or the like; with metadata it is JSON, else the bytes as they are.

    Raises:
        InputError: If there is no such file, the pixels are none, or metadata are no plain values.
    """
    named = {key: options.get(key) for key in ("page", "series")}
    query = {key: str(value) for key, value in named.items() if value is not None}
    content, found = _content(image)
    content_type = options.get("content_type") or found
    if metadata := options.get("metadata"):
        named = {} if content_type == _ANY else {"content_type": content_type}
        body = {"image": base64.b64encode(content).decode("ascii"), "metadata": dict(metadata), **named}
        content, content_type = _json(body), "application/json"
    return Request("POST", path, content, {"Content-Type": content_type, "Accept": accept, **headers}, query)


def _json(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, allow_nan=False, default=_number).encode()
    except (TypeError, ValueError) as error:
        raise InputError("metadata hold a value that is neither text nor a finite number nor nothing") from error


def _number(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError


def _content(image: Sendable) -> tuple[bytes, str]:
    if isinstance(image, bytes):
        return image, _ANY
    if isinstance(image, (str, Path)):
        path = Path(image).expanduser()
        return (_zipped(path), "application/zip") if path.is_dir() else (read_file(path), _ANY)
    if not isinstance(image, np.ndarray):
        raise InputError(f"a {type(image).__name__} cannot be sent; give the path or the bytes of its file, or pixels")
    return npy_bytes(as_image(image).pixels), NPY


def _zipped(folder: Path) -> bytes:
    """Put the files of a folder into a zip, by number: their names may say who a patient is."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise InputError(f"{folder} holds no files; expected a DICOM series")
    return zipped(path.read_bytes() for path in files)


def zipped(files: Iterable[bytes]) -> bytes:
    """Return a zip of files, which are called by their number."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for number, content in enumerate(files):
            archive.writestr(zipfile.ZipInfo(f"{number:06d}"), content)
    return buffer.getvalue()
