"""Pictures of the data report, drawn from stored pixels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from medloom.data.stored import StoredPixels
from medloom.data.truth import Preview
from medloom.files import write_bytes
from medloom.imaging import encode_png
from medloom.imaging.display import grey_levels, to_grey
from medloom.targets import foreground_of

__all__ = ["Stack", "animation", "augmentation", "class_gallery", "gallery", "sheet_scales", "write_augmentation"]

ByteArray = npt.NDArray[np.uint8]

_COLUMNS = 8
_THUMB = 120
_FRAME = 256
_VIEW = 180
_GAP = 4
_FRAME_MS = 140
_AUGMENTATION_FILE = "augmentation.png"

# Red for the first class, then colours that are told apart from it and from grey.
_CLASS_COLOURS = np.array([(255, 48, 48), (255, 200, 40), (70, 160, 255), (90, 220, 120), (220, 110, 255)], np.float32)
_STRENGTH = 0.45


@dataclass(frozen=True)
class Stack:
    """Images of one channel, scaled to grey for display, and their masks.

    Args:
        grey: (n, h, w) uint8, one scaling for the whole stack; (n, h, w, 3) for colour pictures.
        masks: (n, h, w) uint8 class indices, or None.
    """

    grey: ByteArray
    masks: ByteArray | None

    @classmethod
    def read(cls, store: StoredPixels, rows: npt.NDArray[np.int64], channel: int | None) -> Self:
        """Read ``rows`` of ``store``; in colour and without masks if ``channel`` is None or there are none."""
        masks = np.asarray(store.masks[rows]) if getattr(store, "has_masks", True) else None
        return cls(_shown(np.asarray(store.images[rows]), channel), masks)

    def take(self, places: npt.NDArray[np.int64]) -> Stack:
        """Return the images at ``places``."""
        return Stack(self.grey[places], None if self.masks is None else self.masks[places])

    def tiles(self, side: int, *, masks: bool) -> list[ByteArray]:
        """Return each image as RGB, (h, w, 3) with the longer side ``side``; masks in colour if asked for."""
        if not masks or self.masks is None:
            return [_resize(_rgb(grey), side) for grey in self.grey]
        return [_resize(_colour(grey, mask), side) for grey, mask in zip(self.grey, self.masks, strict=True)]


def gallery(stack: Stack, *, masks: bool) -> bytes:
    """Return a PNG with the images in rows of eight, plain or with the mask in red."""
    return encode_png(_grid(stack.tiles(_THUMB, masks=masks), min(_COLUMNS, len(stack.grey))))


def class_gallery(stacks: Sequence[Stack]) -> bytes:
    """Return a PNG with the pictures of each stack in a row of its own."""
    columns = max(len(stack.grey) for stack in stacks)
    tiles: list[ByteArray] = []
    for stack in stacks:
        row = stack.tiles(_THUMB, masks=False)
        tiles += [*row, *[np.zeros_like(row[0])] * (columns - len(row))]
    return encode_png(_grid(tiles, columns))


def animation(stack: Stack) -> bytes:
    """Return an animated WebP through the images, plain on the left, with the mask in red on the right."""
    plain, marked = stack.tiles(_FRAME, masks=False), stack.tiles(_FRAME, masks=True)
    frames = [Image.fromarray(_grid([left, right], 2)) for left, right in zip(plain, marked, strict=True)]
    buffer = io.BytesIO()
    frames[0].save(
        buffer, "WEBP", save_all=True, append_images=frames[1:], duration=_FRAME_MS, loop=0, quality=65, method=0
    )
    return buffer.getvalue()


def augmentation(views: Sequence[tuple[npt.NDArray[Any], ByteArray | None]], channel: int | None) -> bytes:
    """Return a PNG: the views side by side, plain in the upper row, with the mask in red below if there is one.

    Args:
        views: Image (C, h, w), any dtype and range, and mask (h, w) or None of each view; the original first.
        channel: Which channel to show; None: the first three as red, green and blue.
    """
    shown = _shown(np.stack([np.asarray(image) for image, _ in views]), channel)
    masks = [np.asarray(mask) for _, mask in views if mask is not None]
    stack = Stack(shown, np.stack(masks) if len(masks) == len(views) else None)
    tiles = stack.tiles(_VIEW, masks=False)
    if stack.masks is not None:
        tiles += stack.tiles(_VIEW, masks=True)
    return encode_png(_grid(tiles, len(views)))


def sheet_scales(folder: Path, height: int, width: int) -> dict[str, dict[str, float | None]]:
    """Return how large what the sheets in a folder show is, for a bar on each, by name without suffix.

    The augmented views are left out: they may be cut out of the image.

    Args:
        folder: Where the pictures are.
        height: Of a stored image in pixels.
        width: The same.

    Returns:
        ``width_px`` of the whole sheet in stored pixels, ``of_px`` of one image, and ``mm_per_px``, which is None:
        stored images were resized.
    """
    found: dict[str, dict[str, float | None]] = {}
    for name, side in (("gallery_plain.png", _THUMB), ("gallery_mask.png", _THUMB), ("animation.webp", _FRAME)):
        if (path := folder / name).is_file():
            with Image.open(path) as sheet:
                enlarged = side / max(height, width)
                found[path.stem] = {"width_px": sheet.width / enlarged, "of_px": width, "mm_per_px": None}
    return found


def write_augmentation(folder: Path, preview: Preview | None, row: int, channel: int | None) -> None:
    """Write the picture of the augmented views of a row, or remove that of an earlier call where there are none."""
    (folder / _AUGMENTATION_FILE).unlink(missing_ok=True)
    if preview is not None:
        write_bytes(folder / _AUGMENTATION_FILE, augmentation(preview(row), channel))


def _shown(images: npt.NDArray[Any], channel: int | None) -> ByteArray:
    """One channel of images (n, C, h, w) as grey (n, h, w), or three of them as colour (n, h, w, 3)."""
    if channel is not None:
        return _grey(images[:, channel])
    colour = np.moveaxis(images[:, :3], 1, -1)
    return colour if colour.dtype == np.uint8 else _grey(colour)


def _grey(values: npt.NDArray[Any]) -> ByteArray:
    """Scale so that the darkest and the brightest 0.5 % saturate; a constant stack is black."""
    # A few hundred thousand pixels settle the percentiles.
    step = max(1, values.size // 400_000)
    low, high = grey_levels(values.reshape(-1)[::step])
    if high <= low:
        low, high = float(values.min()), float(max(values.max(), values.min() + 1))
    return np.stack([to_grey(one, (low, high)) for one in values])


def _rgb(grey: ByteArray) -> ByteArray:
    return grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=-1)


def _colour(grey: ByteArray, mask: ByteArray) -> ByteArray:
    """Lay each class over the grey image, half transparent."""
    picture = _rgb(grey).astype(np.float32)
    foreground = foreground_of(mask)
    colours = _CLASS_COLOURS[(mask[foreground].astype(np.int64) - 1) % len(_CLASS_COLOURS)]
    picture[foreground] += _STRENGTH * (colours - picture[foreground])
    return picture.astype(np.uint8)


def _resize(rgb: ByteArray, side: int) -> ByteArray:
    height, width = rgb.shape[:2]
    ratio = side / max(height, width)
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS))


def _grid(tiles: Sequence[ByteArray], columns: int) -> ByteArray:
    """Lay tiles of one size out row by row."""
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    sheet = np.zeros((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), dtype=np.uint8)
    for place, tile in enumerate(tiles):
        top, left = (place // columns) * (height + _GAP), (place % columns) * (width + _GAP)
        sheet[top : top + height, left : left + width] = tile
    return sheet
