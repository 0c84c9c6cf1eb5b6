"""What schemathesis sends as an image: sound ones, of each media type, and now and then any bytes."""

from __future__ import annotations

import base64
import io
import zipfile

import numpy as np
import schemathesis
from hypothesis import strategies as st
from PIL import Image

from medloom.serving.problems import ACCEPTED

_PIXELS = np.full((24, 20, 3), 40, np.uint8)


def _encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(_PIXELS).save(buffer, kind)
    return buffer.getvalue()


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, _PIXELS)
    return buffer.getvalue()


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("note.txt", "no image")
    return buffer.getvalue()


PNG = _encoded("png")
IMAGES = {
    "image/png": PNG,
    "image/jpeg": _encoded("jpeg"),
    "image/tiff": _encoded("tiff"),
    "image/bmp": _encoded("bmp"),
    "image/gif": _encoded("gif"),
    "image/webp": _encoded("webp"),
    "application/x-npy": _npy(),
    "application/zip": _zip(),
}

for _kind in ACCEPTED:
    if _kind not in ("application/json", "multipart/form-data"):
        _sound = st.just(IMAGES.get(_kind, PNG))
        schemathesis.openapi.media_type(_kind, st.one_of(_sound, st.binary(max_size=400)))

schemathesis.openapi.format("byte", st.just(base64.b64encode(PNG).decode()))
