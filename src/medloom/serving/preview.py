"""What a decoder made of an image or volume, for a page that shows it under its prediction."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.data.whole import ZIP_MAGIC, has_dicom, open_zip
from medloom.imaging import Image, Volume
from medloom.imaging.grids import known_spacing
from medloom.inference import Predictor
from medloom.inference.answers.base import JSON, npy_bytes
from medloom.inference.volumes import file_pages, numbered_images
from medloom.serving.requests import ImageRequest, read_whole_volume

__all__ = ["Preview", "look"]

Pixels = NDArray[Any]

MOST_SIDE = 2048
"""Rows or columns: as many as every browser draws in one texture."""

MOST_PIXELS = 2**25
"""Pixels or voxels of all channels: what takes 128 MiB once they are drawn in colours."""

_KEPT = (np.dtype(np.uint8), np.dtype(np.int16), np.dtype(np.uint16), np.dtype(np.float32))
_AS = {np.dtype(np.bool_): np.uint8, np.dtype(np.int8): np.int16}


@dataclass(frozen=True)
class Preview:
    """Pixels to be shown.

    Args:
        pixels: ``(D, H, W, C)``: slice, row, column, channel; uint8, int16, uint16 or float32.
        about: What a viewer must know: ``kind`` (image or volume), ``depth``, ``height``, ``width`` and ``channels``
            of the picture, ``step`` (only every step-th row and column is there, as means), ``spacing_mm`` of slice,
            row and column, ``affine`` and whether it is ``oriented``, ``window``, ``format``, ``notes``.
    """

    pixels: Pixels
    about: dict[str, Any]

    def encode(self) -> tuple[bytes, str]:
        """Return it as a form of two parts, ``about`` (JSON) and ``pixels`` (NPY), and its media type."""
        boundary = f"medloom-{secrets.token_hex(16)}"
        about = json.dumps(self.about, allow_nan=False).encode()
        parts = [
            (f'form-data; name="about"\r\nContent-Type: {JSON}', about),
            (
                'form-data; name="pixels"; filename="pixels.npy"\r\nContent-Type: application/x-npy',
                npy_bytes(self.pixels),
            ),
        ]
        chunks = [
            b"--%s\r\nContent-Disposition: %s\r\n\r\n%s\r\n" % (boundary.encode(), head.encode(), body)
            for head, body in parts
        ]
        return b"".join([*chunks, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def look(predictor: Predictor, asked: ImageRequest, page: int | None, most_pixels: int = MOST_PIXELS) -> Preview:
    """Decode what a prediction of the same request would decode.

    Args:
        predictor: The model, with its decoders.
        asked: The image or volume.
        page: Page of a file that has several; None for a volume as a whole.
        most_pixels: Of all slices and channels together, as far as one row or column is left.

    Raises:
        DecodeError: If the bytes are not an acceptable image.
        InputError: If they are not what a model with context takes.
    """
    data, declared = asked.image, asked.content_type
    if predictor.context and asked.series is None and data.startswith(ZIP_MAGIC):
        with open_zip(data, declared, predictor.budget) as source:
            if not has_dicom(source):
                images, spots = numbered_images(predictor, source)
                placed = [images[at] for at in np.argsort([spot.place for spot in spots], kind="stable")]
                return _of_images(placed, most_pixels)
    volume = read_whole_volume(predictor, asked, page)
    if volume is not None:
        return _of_volume(volume, most_pixels)
    if predictor.context:
        return _of_images(file_pages(predictor, data, declared), most_pixels)
    image = predictor.decoder(data, content_type=declared, page=page, budget=predictor.budget)
    return _of_image(image, most_pixels)


def _of_image(image: Image, most_pixels: int) -> Preview:
    spacing = None if image.spacing_mm is None else (1.0, *image.spacing_mm)
    more = {"window": image.window, "format": image.format, "notes": list(image.notes)}
    pixels = image.pixels[np.newaxis]
    return _made(pixels, most_pixels, kind="image", spacing_mm=spacing, affine=None, oriented=False, **more)


def _of_images(images: Sequence[Image], most_pixels: int) -> Preview:
    """Show images of one stack as a volume of their first channels."""
    pixels = np.stack([image.pixels[..., :1] for image in images])
    more = {"window": images[0].window, "format": images[0].format, "notes": list(images[0].notes)}
    return _made(pixels, most_pixels, kind="volume", spacing_mm=None, affine=None, oriented=False, **more)


def _of_volume(volume: Volume, most_pixels: int) -> Preview:
    windows = [one for one in volume.windows if one is not None]
    return _made(
        volume.voxels[..., np.newaxis],
        most_pixels,
        kind="volume",
        spacing_mm=known_spacing(volume),
        affine=volume.affine.tolist(),
        oriented=volume.oriented,
        window=windows[len(windows) // 2] if windows else None,
        format=volume.format,
        notes=list(volume.notes),
    )


def _made(pixels_dhwc: Pixels, most_pixels: int, **about: Any) -> Preview:  # noqa: ANN401 - plain JSON types
    depth, height, width, channels = pixels_dhwc.shape
    step = _step(pixels_dhwc.shape, most_pixels)
    size = {"depth": depth, "height": height, "width": width, "channels": channels, "step": step}
    return Preview(_reduced(_narrowed(pixels_dhwc), step), {**size, **about})


def _step(shape: tuple[int, ...], most_pixels: int) -> int:
    """The smallest whole number by which rows and columns are divided until a browser can show them."""
    depth, height, width, channels = shape
    by_side = math.ceil(max(height, width) / MOST_SIDE)
    by_number = math.ceil(math.sqrt(depth * height * width * channels / most_pixels))
    return max(1, min(max(by_side, by_number), height, width))


def _narrowed(pixels: Pixels) -> Pixels:
    """Turn pixels into a type that a viewer knows; what is too large for float32 becomes its largest number."""
    if pixels.dtype in _KEPT:
        return pixels
    if pixels.dtype in _AS:
        return pixels.astype(_AS[pixels.dtype])
    most = np.finfo(np.float32).max
    return np.clip(pixels, -most, most).astype(np.float32)


def _reduced(pixels_dhwc: Pixels, step: int) -> Pixels:
    """Take means of blocks; rows and columns that fill no block are left out. One slice is widened at a time."""
    if step == 1:
        return np.ascontiguousarray(pixels_dhwc)
    depth, height, width, channels = pixels_dhwc.shape
    rows, columns = height // step, width // step
    small = np.empty((depth, rows, columns, channels), pixels_dhwc.dtype)
    for number, plane in enumerate(pixels_dhwc[:, : rows * step, : columns * step]):
        blocks = plane.reshape(rows, step, columns, step, channels)
        small[number] = blocks.mean(axis=(1, 3), dtype=np.float32)
    return small
