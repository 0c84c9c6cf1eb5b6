"""Pixels to PNG and TIFF."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np

from medloom.imaging.types import Pixels

__all__ = ["encode_png", "encode_tiff"]

_RUNS = 3
"""zlib's Z_RLE: of pictures as small as what it finds by default, and in a quarter of the time."""

_AS_IT_IS, _BY_ROW_ABOVE = 8, 32
"""Filters of libpng: none, for areas of one value; and the difference from the row above, for pictures. To try five for
each row, as libpng does by itself, takes twice as long for a tenth less."""


def encode_png(pixels: Pixels, *, areas: bool = False) -> bytes:
    """Encode pixels losslessly as PNG.

    Args:
        pixels: Array (H, W) or (H, W, C) with C of 1, 3 or 4, uint8 or uint16.
        areas: Whether it is a mask, with large areas of one value; it is then smaller and faster.

    Returns:
        The PNG file.

    Raises:
        ValueError: If shape or dtype is another.
    """
    shown = f"{pixels.dtype} {pixels.shape}"
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)) or pixels.size == 0:
        raise ValueError(f"cannot write {shown} as PNG; expected (H, W) or (H, W, C) with C of 1, 3 or 4")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"cannot write {shown} as PNG; expected uint8 or uint16")
    return bytes(
        imagecodecs.png_encode(
            np.ascontiguousarray(pixels), strategy=_RUNS, filter=_AS_IT_IS if areas else _BY_ROW_ABOVE
        )
    )


def encode_tiff(pixels: Pixels) -> bytes:
    """Encode levels of grey losslessly as TIFF; the same pixels always give the same bytes.

    Args:
        pixels: Array (H, W), or (D, H, W) for D pages, uint8 or uint16.

    Returns:
        The TIFF file.

    Raises:
        ValueError: If shape or dtype is another.
    """
    if pixels.ndim not in (2, 3) or pixels.size == 0 or pixels.dtype not in (np.uint8, np.uint16):
        shown = f"{pixels.dtype} {pixels.shape}"
        raise ValueError(f"cannot write {shown} as TIFF; expected (H, W) or (D, H, W), uint8 or uint16")
    import tifffile  # it takes long to import, and a server may never need it

    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for page in pixels if pixels.ndim == 3 else pixels[None]:
            writer.write(
                np.ascontiguousarray(page), photometric="minisblack", compression="adobe_deflate", metadata=None,
                software=False,
            )  # fmt: skip
    return buffer.getvalue()
