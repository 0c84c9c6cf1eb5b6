"""What passes between a fence, its host and its workers. Nothing is ever unpickled.

A fence and a worker exchange messages: two lengths, a JSON header, raw bytes. A fence gives its host orders.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from medloom.errors import DecodeCode, DecodeError
from medloom.imaging.dicom_sources import Sources
from medloom.imaging.geometry import Affine
from medloom.imaging.types import DisplayTable, Image, Pixels, Reduction, Volume

__all__ = [
    "BEGIN",
    "END",
    "IMAGE",
    "NOTHING",
    "ORDER",
    "REPLY",
    "SOURCES",
    "VOLUME",
    "Wire",
    "error_header",
    "error_of",
    "image_header",
    "image_of",
    "new_pixels",
    "sources_bytes",
    "sources_of",
    "volume_header",
    "volume_of",
]

ORDER = struct.Struct("<ci")
"""What a host is to do, and with which worker's process; a socket for the worker comes along with ``BEGIN``."""

REPLY = struct.Struct("<i")
"""The worker's process, 0 if there is none."""

BEGIN, END = b"+", b"-"

IMAGE, VOLUME, SOURCES = "image", "volume", "sources"
"""What a worker is to read."""

NOTHING = "nothing"
"""Key of the answer that it is no volume."""

_LENGTHS = struct.Struct("<IQ")
_MAX_HEADER_BYTES = 2**20
_KINDS = "biuf"
"""Kinds of dtype that pixels may have; above all no objects, which would be addresses."""


class Wire:
    """One end of a connection between a fence and a worker.

    Args:
        end: A connected socket; closed with this object.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def send(self, header: Mapping[str, Any], body: memoryview, deadline: float = math.inf) -> None:
        """Send a message.

        Args:
            header: What JSON can hold.
            body: Bytes, one-dimensional.
            deadline: Time of ``time.monotonic`` at which to give up.

        Raises:
            TimeoutError: At the deadline.
            OSError: If the other end is gone.
        """
        text = json.dumps(header).encode()
        for piece in (_LENGTHS.pack(len(text), len(body)) + text, body):
            self._end.settimeout(_left(deadline))
            self._end.sendall(piece)

    def receive_header(self, deadline: float = math.inf) -> tuple[dict[str, Any], int]:
        """Receive the beginning of a message; the body must be received next.

        Returns:
            The header, and the length of the body in bytes.

        Raises:
            TimeoutError: At the deadline.
            EOFError: If the other end is gone.
            ValueError: If it is no such message.
        """
        header_bytes, body_bytes = _LENGTHS.unpack(self._receive(_LENGTHS.size, deadline))
        if header_bytes > _MAX_HEADER_BYTES:
            raise ValueError("a header is too long")
        header = json.loads(self._receive(header_bytes, deadline))
        if not isinstance(header, dict):
            raise ValueError("a header is no object")
        return header, body_bytes

    def receive_into(self, body: memoryview, deadline: float = math.inf) -> None:
        """Receive as many bytes as ``body`` holds, into it.

        Raises:
            TimeoutError: At the deadline.
            EOFError: If the other end is gone.
        """
        got = 0
        while got < len(body):
            self._end.settimeout(_left(deadline))
            count = self._end.recv_into(body[got:])
            if not count:
                raise EOFError("the other end is gone")
            got += count

    @property
    def silent(self) -> bool:
        """Whether the other end is there and has nothing to say, as it should be between messages."""
        self._end.settimeout(0)
        try:
            self._end.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """Close this end; the other end sees it."""
        self._end.close()

    def _receive(self, count: int, deadline: float) -> bytes:
        body = bytearray(count)
        self.receive_into(memoryview(body), deadline)
        return bytes(body)


def _left(deadline: float) -> float | None:
    """Seconds to a deadline; None if there is none."""
    if deadline == math.inf:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def image_header(image: Image) -> dict[str, Any]:
    """Return everything about an image but the values of its pixels and the indices of a palette, which masks have."""
    reduction = image.reduction
    return {
        "dtype": image.pixels.dtype.str,
        "shape": image.pixels.shape,
        "format": image.format,
        "spacing_mm": image.spacing_mm,
        "notes": image.notes,
        "window": image.window,
        "reduction": reduction and [reduction.height, reduction.width, reduction.box],
        "affine": None if image.affine is None else image.affine.tolist(),
        "slices": image.slices,
        "directions": image.directions,
        "value_range": image.value_range,
        "table": _plain_table(image.table),
    }


def volume_header(volume: Volume) -> dict[str, Any]:
    """Return everything about a volume but the values of its voxels."""
    return {
        "dtype": volume.voxels.dtype.str,
        "shape": volume.voxels.shape,
        "format": volume.format,
        "spacing_mm": volume.spacing_mm,
        "affine": volume.affine.tolist(),
        "notes": volume.notes,
        "plane_spacing_mm": volume.plane_spacing_mm,
        "oriented": volume.oriented,
        "windows": volume.windows,
        "tables": [_plain_table(table) for table in volume.tables],
        "value_ranges": volume.value_ranges,
    }


def volume_of(header: Mapping[str, Any], voxels: Pixels) -> Volume:
    """Put a volume together again.

    Raises:
        ValueError: If the header is no volume's.
    """
    step, row, column = map(float, header["spacing_mm"])
    return Volume(
        voxels,
        (step, row, column),
        _affine(header["affine"]),
        str(header["format"]),
        tuple(map(str, header["notes"])),
        _pair(header["plane_spacing_mm"]),
        bool(header["oriented"]),
        tuple(map(_pair, header["windows"])),
        tuple(map(_table, header["tables"])),
        tuple(map(_pair, header["value_ranges"])),
    )


def new_pixels(header: Mapping[str, Any], body_bytes: int, most_bytes: int) -> Pixels:
    """Return an array for the pixels that a header announces, to be filled.

    Raises:
        ValueError: If the header is no image's, the length is not its own, or it is over ``most_bytes``.
    """
    dtype = np.dtype(str(header["dtype"]))
    shape = [int(side) for side in header["shape"]]
    length = math.prod(shape) * dtype.itemsize
    if dtype.kind not in _KINDS or len(shape) != 3 or min(shape) < 1 or not length == body_bytes <= most_bytes:
        raise ValueError("a header is no image's")
    return np.empty(shape, dtype)


def image_of(header: Mapping[str, Any], pixels: Pixels) -> Image:
    """Put an image together again.

    Raises:
        ValueError: If the header is no image's.
    """
    reduction = header["reduction"]
    return Image(
        pixels,
        str(header["format"]),
        spacing_mm=_pair(header["spacing_mm"]),
        notes=tuple(map(str, header["notes"])),
        window=_pair(header["window"]),
        reduction=None if reduction is None else _reduction(*reduction),
        affine=None if header["affine"] is None else _affine(header["affine"]),
        slices=int(header["slices"]),
        directions=None if header["directions"] is None else _directions(*header["directions"]),
        value_range=_pair(header["value_range"]),
        table=_table(header["table"]),
    )


def sources_bytes(sources: Sources) -> tuple[dict[str, Any], bytes]:
    """Return what a header says of images, as bytes behind a header that counts them."""
    body = json.dumps(sources.plain()).encode()
    return {"dtype": "|u1", "shape": [len(body), 1, 1]}, body


def sources_of(header: Mapping[str, Any], body: Pixels) -> Sources:
    """Put what ``sources_bytes`` returned together again.

    Raises:
        ValueError, KeyError, TypeError: If it is no such thing.
    """
    del header  # it was needed to receive the body
    return Sources.from_plain(json.loads(body.tobytes()))


def _pair(values: list[Any] | None) -> tuple[float, float] | None:
    if values is None:
        return None
    first, second = map(float, values)
    return first, second


def _affine(rows: list[Any]) -> Affine:
    affine = np.array(rows, np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise ValueError("a header's affine is none")
    return affine


def _directions(column: str, row: str) -> tuple[str, str]:
    return str(column), str(row)


def _plain_table(table: DisplayTable | None) -> list[Any] | None:
    return None if table is None else [table.first, table.entries.tolist()]


def _table(plain: list[Any] | None) -> DisplayTable | None:
    if plain is None:
        return None
    first, entries = plain
    found = np.array(entries, np.float32)
    if found.ndim != 1 or not found.size:
        raise ValueError("a header's table is none")
    return DisplayTable(float(first), found)


def _reduction(height: int, width: int, box: list[float]) -> Reduction:
    left, top, right, bottom = map(float, box)
    return Reduction(int(height), int(width), (left, top, right, bottom))


def error_header(error: DecodeError) -> dict[str, Any]:
    """Return a refusal as a header; what caused it stays behind."""
    return {"code": error.code, "message": error.message, "field": error.field, "hint": error.hint}


def error_of(header: Mapping[str, Any]) -> DecodeError:
    """Put a refusal together again.

    Raises:
        ValueError: If there is no such code.
    """
    if header["code"] not in get_args(DecodeCode):
        raise ValueError("a header has no code that there is")
    field, hint = (None if header[key] is None else str(header[key]) for key in ("field", "hint"))
    return DecodeError(header["code"], str(header["message"]), field=field, hint=hint)
