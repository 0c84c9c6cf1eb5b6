"""TIFF and BigTIFF.

The directories are read here, and every strip or tile is found to lie in the file and in the budget and to be whole.
Most compressed pages are put together here from what that check decoded; libtiff decodes the others, and what it
returns must have the shape and type that the directory announced.

A page that says it is a smaller copy of another one (a thumbnail, a level of a pyramid) is no page of its own: pages
are counted without them.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import imagecodecs
import numpy as np

from medloom.errors import DecodeError
from medloom.imaging.checks import check_header, choose_page
from medloom.imaging.orientation import ORIENTATION_TAG, orient, swaps_axes
from medloom.imaging.tiff_chunks import Chunk, check_jpeg, decoded, is_decoded, stored_bytes
from medloom.imaging.tiff_ifd import TiffFile, TiffTags, directory_offsets, is_reduced, open_file, read_tags
from medloom.imaging.types import Budget, Format, Header, Image, Pixels

__all__ = ["FORMAT", "codec", "decode", "inspect"]

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _DESCRIPTION = 256, 257, 258, 259, 262, 266, 270
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES, _PLANAR, _PREDICTOR = 273, 277, 278, 279, 284, 317
_COLOUR_MAP, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES, _SAMPLE_FORMAT = 320, 322, 323, 324, 325, 339
_JPEG_TABLES = 347

_RAW, _JPEG = 1, 7
_COMPRESSIONS = {
    _RAW: "none", 2: "CCITT RLE", 3: "CCITT G3", 4: "CCITT G4", 5: "LZW", _JPEG: "JPEG", 8: "Deflate",
    32773: "PackBits", 32946: "Deflate", 50000: "Zstandard",
}  # fmt: skip
_BILEVEL_ONLY = (2, 3, 4)
_UNTYPED = 4
_PACKED_BITS = {2: "uint8", 4: "uint8", 10: "uint16", 12: "uint16", 14: "uint16"}  # of whole numbers without sign
_PLAIN, _DIFFERENCES, _FLOATING = 1, 2, 3
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_DTYPES = {
    (1, 1): "bool", (1, 8): "uint8", (1, 16): "uint16", (1, 32): "uint32", (1, 64): "uint64",
    (2, 8): "int8", (2, 16): "int16", (2, 32): "int32", (2, 64): "int64",
    (3, 16): "float16", (3, 32): "float32", (3, 64): "float64",
}  # fmt: skip
_IMAGEJ = re.compile(rb"ImageJ=.*?^images=(\d+)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class _Page:
    """One directory, understood."""

    number: int
    height: int
    width: int
    samples: int
    dtype: str
    bits: int
    compression: int
    photometric: int
    planar: bool
    orientation: int
    predictor: int
    tags: TiffTags

    @property
    def samples_in_plane(self) -> int:
        return 1 if self.planar else self.samples

    @property
    def packed(self) -> bool:
        """Whether samples share bytes and are unpacked here; libtiff reads fax, which has one bit."""
        return self.bits in _PACKED_BITS or (self.bits == 1 and self.compression not in _BILEVEL_ONLY)

    @property
    def scale(self) -> int:
        """What brings the largest level of grey of less than a byte to 255."""
        return 255 // (2**self.bits - 1) if self.bits < 8 and self.photometric != _PALETTE else 1

    @property
    def value_range(self) -> tuple[float, float] | None:
        """What the stored bits can hold, where that is less than the type can."""
        fills = self.photometric == _PALETTE or self.bits < 8 or self.bits == 8 * np.dtype(self.dtype).itemsize
        return None if fills else (0, 2**self.bits - 1)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape in which readers return the stored samples."""
        plane = (self.height, self.width)
        if self.samples == 1:
            return plane
        return (self.samples, *plane) if self.planar else (*plane, self.samples)

    @property
    def notes(self) -> tuple[str, ...]:
        found = (
            (self.photometric == _PALETTE, "palette expanded"),
            (self.photometric == _WHITE_IS_ZERO, "white-is-zero inverted"),
            (self.dtype == "bool" and self.scale > 1, "1-bit scaled to 0 and 255"),
            (self.bits > 1 and self.scale > 1, f"{self.bits}-bit grey scaled to 0–255"),
            (2 <= self.orientation <= 8, "orientation applied"),
        )
        return tuple(text for there, text in found if there)


def codec() -> str:
    """Name and version of what decodes it."""
    return f"{imagecodecs.tiff_version()} ({', '.join(dict.fromkeys(_COMPRESSIONS.values()))})"


def inspect(data: bytes, budget: Budget, /) -> Header:
    """Find every directory, read the first page, and check it against the budget."""
    file, directories, _ = _directories(data, budget)
    number, offset = directories[0]
    return _header(_page(read_tags(file, offset), number), len(directories), budget)


def decode(data: bytes, page: int | None, budget: Budget, /) -> Image:
    """Return the pixels of one page."""
    file, directories, left_out = _directories(data, budget)
    number, offset = directories[choose_page(page, len(directories))]
    found = _page(read_tags(file, offset), number)
    header = _header(found, len(directories), budget)
    stored = orient(_stored(found, budget), found.orientation)
    pixels = _meaning(stored, found)
    if pixels.shape != header.shape or pixels.dtype != header.dtype:
        raise _contradiction(pixels)
    indices = stored.astype(np.uint8) if found.photometric == _PALETTE else None
    return Image(pixels, "tiff", notes=(*found.notes, *left_out), indices=indices, value_range=found.value_range)


def _directories(data: bytes, budget: Budget) -> tuple[TiffFile, list[tuple[int, int]], tuple[str, ...]]:
    """Return number and offset of each page, and a note where smaller copies are none; unless there is nothing else."""
    file = open_file(data)
    every = list(enumerate(directory_offsets(file, budget.max_frames)))
    if len(every) == 1:
        return file, every, ()
    pages = [(number, offset) for number, offset in every if not is_reduced(file, offset)]
    if not pages or len(pages) == len(every):
        return file, every, ()
    return file, pages, ("smaller copies in the file left out",)


def _contradiction(pixels: Pixels) -> DecodeError:
    return DecodeError("corrupt", f"the image decodes to {pixels.dtype} {pixels.shape}, not what its header says")


def _page(tags: TiffTags, number: int) -> _Page:
    """Understand a directory, or say what about it is not read."""
    samples = tags.integer(_SAMPLES, 1)
    bits = tags.integer(_BITS, 1)
    page = _Page(
        number=number,
        height=tags.integer(_HEIGHT),
        width=tags.integer(_WIDTH),
        samples=samples,
        dtype=_dtype(max(tags.integer(_SAMPLE_FORMAT, 1), 1), bits),
        bits=bits,
        compression=tags.integer(_COMPRESSION, _RAW),
        photometric=tags.integer(_PHOTOMETRIC, _BLACK_IS_ZERO if samples < 3 else _RGB),
        planar=tags.integer(_PLANAR, 1) == 2,
        orientation=tags.integer(ORIENTATION_TAG, 1),
        predictor=tags.integer(_PREDICTOR, _PLAIN),
        tags=tags,
    )
    _check_supported(page)
    return page


def _dtype(sample_format: int, bits: int) -> str:
    sample_format = 1 if sample_format == _UNTYPED else sample_format
    if sample_format == 1 and bits in _PACKED_BITS:
        return _PACKED_BITS[bits]
    if (sample_format, bits) not in _DTYPES:
        raise DecodeError(
            "unsupported", f"samples of {bits} bits in format {sample_format} are not read", field="BitsPerSample",
            hint="Save it with 8, 16 or 32 bits.",
        )  # fmt: skip
    return _DTYPES[sample_format, bits]


def _check_supported(page: _Page) -> None:
    if page.compression not in _COMPRESSIONS or (page.compression in _BILEVEL_ONLY and page.dtype != "bool"):
        raise DecodeError(
            "unsupported", f"compression {page.compression} is not read for {page.dtype}", field="Compression",
            hint=f"Save it with one of {', '.join(dict.fromkeys(_COMPRESSIONS.values()))}.",
        )  # fmt: skip
    if not _meaning_known(page):
        raise DecodeError(
            "unsupported",
            f"photometric interpretation {page.photometric} is not read for {page.samples} samples of {page.dtype}",
            field="PhotometricInterpretation",
            hint="Save it as grey or RGB.",
        )
    if page.packed and (page.predictor != _PLAIN or not _unpackable(page.compression)):
        raise DecodeError(
            "unsupported", f"samples of {page.bits} bits with compression {page.compression} and predictor "
            f"{page.predictor} are not read", field="BitsPerSample", hint="Save it with 8 or 16 bits.",
        )  # fmt: skip
    if page.predictor not in (_PLAIN, _DIFFERENCES, _FLOATING):
        raise DecodeError("unsupported", "the predictor is not 1, 2 or 3", field="Predictor")


def _unpackable(compression: int) -> bool:
    return compression == _RAW or is_decoded(compression)


def _meaning_known(page: _Page) -> bool:
    """Tell whether the samples can be turned into grey, RGB or plain channels."""
    if page.photometric == _WHITE_IS_ZERO:
        return page.dtype.startswith(("bool", "uint")) and page.samples == 1
    if page.photometric == _PALETTE:
        return page.dtype in ("bool", "uint8") and page.samples == 1
    if page.photometric == _YCBCR:
        return page.compression == _JPEG and page.samples == 3
    return page.photometric in (_BLACK_IS_ZERO, _RGB)


def _header(page: _Page, pages: int, budget: Budget) -> Header:
    height, width, channels, dtype = page.height, page.width, page.samples, page.dtype
    if swaps_axes(page.orientation):
        height, width = width, height
    if page.dtype == "bool":
        dtype = "uint8"
    if page.photometric == _PALETTE:
        channels, dtype = 3, _palette(page).dtype.name
    _check_stack(page, pages)
    return check_header(Header("tiff", height, width, channels, dtype, pages), len(page.tags.file.data), budget)


def _check_stack(page: _Page, pages: int) -> None:
    """Refuse ImageJ stacks that have one directory for all slices: only the first would be seen."""
    announced = _IMAGEJ.search(page.tags.text(_DESCRIPTION))
    if announced and int(announced[1]) > pages:
        raise DecodeError(
            "unsupported", f"ImageJ announces {int(announced[1])} slices; the file describes {pages}",
            field="ImageDescription", hint="Save the stack as an image sequence.",
        )  # fmt: skip


@dataclass(frozen=True)
class _Grid:
    """How a page is cut into strips or tiles."""

    tiled: bool
    height: int
    width: int
    down: int
    across: int
    planes: int

    def rows(self, page: _Page, number: int) -> int:
        """Return the rows of the page that a strip has; the last one may have fewer than the others."""
        return min(self.height, page.height - number // self.across % self.down * self.height)


def _chunks(page: _Page, grid: _Grid) -> Iterator[Chunk]:
    """Find all strips or tiles: announced, in the file, and within the budget. It is checked here and now."""
    tags, expected = page.tags, grid.down * grid.across * grid.planes
    offsets = tags.integers(_TILE_OFFSETS if grid.tiled else _STRIP_OFFSETS, expected)
    counts = tags.integers(_TILE_BYTES if grid.tiled else _STRIP_BYTES, expected)
    _check_extents(offsets, counts, expected, len(tags.file.data))
    return (
        Chunk(offset, offset + count, grid.height if grid.tiled else grid.rows(page, number), grid.height)
        for number, (offset, count) in enumerate(zip(offsets, counts, strict=True))
    )


def _check_extents(offsets: tuple[int, ...], counts: tuple[int, ...], expected: int, size: int) -> None:
    if len(offsets) != expected or len(counts) != expected:
        raise DecodeError("corrupt", f"{len(offsets)} strips or tiles came; expected {expected}", field="StripOffsets")
    if min(counts) < 1:
        raise DecodeError("corrupt", "a strip or tile has no bytes", field="StripByteCounts")
    if any(offset + count > size for offset, count in zip(offsets, counts, strict=True)):
        raise DecodeError("truncated", "the file ends within its pixels", field="StripOffsets")
    if sum(counts) > size:  # a million strips that are all the same megabytes would decode for minutes
        raise DecodeError("corrupt", "the strips or tiles overlap", field="StripByteCounts")


def _grid(page: _Page, budget: Budget) -> _Grid:
    tags = page.tags
    tiled = _TILE_WIDTH in tags.entries
    width = tags.integer(_TILE_WIDTH) if tiled else page.width
    height = tags.integer(_TILE_HEIGHT) if tiled else min(tags.integer(_ROWS_PER_STRIP, page.height), page.height)
    if min(width, height) < 1:
        raise DecodeError("corrupt", "a strip or tile has no pixels", field="RowsPerStrip")
    down, across = math.ceil(page.height / height), math.ceil(page.width / width)
    if tiled:  # readers allocate whole tiles
        padded = Header("tiff", down * height, across * width, page.samples, page.dtype)
        check_header(padded, len(tags.file.data), budget)
    return _Grid(tiled, height, width, down, across, page.samples if page.planar else 1)


def _stored(page: _Page, budget: Budget) -> Pixels:
    """Return the samples as they are stored, as (H, W, C); each strip or tile is whole, if its compression can tell."""
    grid = _grid(page, budget)
    chunks, data = _chunks(page, grid), page.tags.file.data
    row_bytes = -(-grid.width * page.samples_in_plane * page.bits // 8)
    reverse = page.tags.integer(_FILL_ORDER, 1) == 2
    if page.packed and page.compression == _RAW:
        return _put_together(page, grid, stored_bytes(data, chunks, row_bytes, reverse=reverse))
    if is_decoded(page.compression):
        parts = decoded(data, chunks, page.compression, row_bytes, reverse=reverse)
        if page.predictor != _FLOATING:
            return _put_together(page, grid, parts)
        deque(parts, maxlen=0)
    elif page.compression == _JPEG:
        check_jpeg(data, chunks, page.tags.text(_JPEG_TABLES), grid.width, budget)
    return _by_libtiff(page)


def _put_together(page: _Page, grid: _Grid, parts: Iterable[bytes | bytearray]) -> Pixels:
    """Lay the rows of strips or tiles into their place; by the predictor 2 they are differences along the row."""
    samples, dtype = page.samples_in_plane, np.dtype(f"u{np.dtype(page.dtype).itemsize}")
    pixels = np.empty((grid.planes, page.height, page.width, samples), dtype)
    for number, part in enumerate(parts):
        plane, place = divmod(number, grid.down * grid.across)
        down, across = divmod(place, grid.across)
        there = pixels[plane, down * grid.height :, across * grid.width :][: grid.height, : grid.width]
        count = len(there) * grid.width * samples
        if page.packed:
            flat = imagecodecs.packints_decode(part, dtype, page.bits, runlen=grid.width * samples)[:count]
        else:
            flat = np.frombuffer(part, dtype.newbyteorder(page.tags.file.order), count)
        rows = flat.reshape(-1, grid.width, samples)
        if page.predictor == _DIFFERENCES:  # of whole numbers with overflow, whatever the samples are
            rows = np.cumsum(rows, axis=1, dtype=dtype)
        there[:] = rows[:, : there.shape[1]]
    meant = pixels.view(page.dtype)
    return np.moveaxis(meant[..., 0], 0, -1) if page.planar else meant[0]


def _by_libtiff(page: _Page) -> Pixels:
    stored: Pixels = imagecodecs.tiff_decode(page.tags.file.data, index=page.number)
    if stored.shape != page.stored_shape or stored.dtype != page.dtype:
        raise _contradiction(stored)
    if page.samples == 1:
        return stored[..., np.newaxis]
    return np.moveaxis(stored, 0, -1) if page.planar else stored


def _meaning(stored: Pixels, page: _Page) -> Pixels:
    """Turn stored samples into grey, RGB or plain channels."""
    if page.photometric == _PALETTE:
        return _palette(page)[stored[..., 0].astype(np.uint8)]
    if page.dtype == "bool" or page.scale > 1:
        stored = stored.astype(np.uint8) * np.uint8(page.scale)
    if page.photometric == _WHITE_IS_ZERO:
        return np.array(page.scale * (2**page.bits - 1), stored.dtype) - stored
    return stored


def _palette(page: _Page) -> Pixels:
    """Return the colour map as (colours, 3): uint8 where 8 bits say all of it, else uint16."""
    expected = 3 * 2**page.bits
    colours = np.array(page.tags.integers(_COLOUR_MAP, expected))
    if len(colours) != expected or colours.max() > 65535:
        raise DecodeError("corrupt", f"the colour map has {len(colours)} values; expected {expected}", field="ColorMap")
    table = colours.reshape(3, -1).T
    if not (table % 257).any() or not (table % 256).any():
        return (table >> 8).astype(np.uint8)
    return table.astype(np.uint16)


FORMAT = Format(
    name="tiff",
    magics=(
        (0, b"II*\x00"),
        (0, b"MM\x00*"),
        (0, b"II+\x00"),
        (0, b"MM\x00+"),
    ),
    suffixes=(".tif", ".tiff"),
    content_types=("image/tiff",),
    codec=codec,
    inspect=inspect,
    decode=decode,
)
