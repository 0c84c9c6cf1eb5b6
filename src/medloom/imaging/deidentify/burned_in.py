"""Whether text was drawn into the pixels of an image; it is found, not read.

Rendered text differs from anatomy in this: thin strokes of one width, sharp edges and one grey level; shapes of one
height on one line, close together. So the image is searched, at its own size and at halves of it, for strokes that are
brighter (or darker) than what lies within a few pixels; connected strokes of the size of a letter are chained into
rows, and a row counts as text if its shapes agree. No word is known and no model is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from medloom.imaging.types import Pixels

__all__ = ["has_text"]

Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Integers = NDArray[np.int64]
Numbers = NDArray[np.float64]

_WIDEST_STROKE = 9  # exclusive; wider ones are found in a smaller image
_NEIGHBOURHOOD = 17
_LEAST_CONTRAST = 28  # of 255; below it, strokes are noise
_HEIGHTS = (6, 44)  # of a letter, at the image's own size; in a smaller one at least _LOWEST_REDUCED
_LOWEST_REDUCED = 9
_LEAST_SIDE = 48
_LEVELS = 5
_BAND_PIXELS = 6_000_000  # at a time, so that memory does not grow with the image
_LEAST_BAND, _OVERLAP = 256, 128
_LETTERS = 4
_NEAREST = 8
_SAMPLE = 512
_TAILS = (0.1, 99.9)
_EDGES = ((0, 1), (0, -1), (1, 0), (-1, 0))


def has_text(pixels: Pixels) -> bool:
    """Say whether an image seems to have text drawn into it, in letters of about 7 to 400 pixels.

    Found are rows of at least four letters or digits, upright or turned by a right angle, bright on dark or dark on
    bright. Not found are handwriting, scripts whose letters are joined, slanted text, and what a person could hardly
    see. It says nothing about what the text is: an exposure time is text as a name is.

    Args:
        pixels: (H, W) or (H, W, C) of any type; finite.

    Returns:
        True if there is text.

    Example:
        >>> has_text(np.zeros((64, 64), np.uint8))
        False
    """
    if min(pixels.shape[:2]) < _HEIGHTS[0]:
        return False
    return any(_has_strokes_of_text(plane) for plane in _planes(pixels))


def _planes(pixels: Pixels) -> Iterator[Bytes]:
    """Yield the image as levels of grey in which text would be bright, in each range that may show it."""
    grey = pixels.reshape(pixels.shape[:2]) if pixels.ndim == 2 or pixels.shape[2] == 1 else None
    for dark in (False, True):
        values = grey if grey is not None else pixels.min(axis=2) if dark else pixels.max(axis=2)
        for low, high in _ranges(values):
            levels = _grey(values, low, high)
            yield ~levels if dark else levels


def _ranges(values: Pixels) -> list[tuple[float, float]]:
    """Return the whole range and, where a few pixels stretch it much, that of the others."""
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return []
    if values.dtype == np.uint8:
        return [(low, high)]
    step = tuple(max(1, length // _SAMPLE) for length in values.shape)
    inner_low, inner_high = (float(value) for value in np.percentile(values[:: step[0], :: step[1]], _TAILS))
    if inner_high <= inner_low or 2 * (inner_high - inner_low) > high - low:
        return [(low, high)]
    return [(low, high), (inner_low, inner_high)]


def _grey(values: Pixels, low: float, high: float) -> Bytes:
    grey = np.empty(values.shape, np.uint8)
    factor = 255 / (high - low)
    for top in range(0, len(values), 256):
        rows = slice(top, top + 256)
        grey[rows] = ((values[rows].astype(np.float32) - low) * factor).clip(0, 255)
    return grey


def _has_strokes_of_text(grey: Bytes) -> bool:
    for level in range(_LEVELS):
        if level:
            grey = _half(grey)
            if min(grey.shape) < _LEAST_SIDE:
                return False
        rows = max(_BAND_PIXELS // grey.shape[1], _LEAST_BAND)
        for top in range(0, max(len(grey) - _OVERLAP, 1), rows):
            if _band_has_text(grey[top : top + rows + _OVERLAP], _LOWEST_REDUCED if level else _HEIGHTS[0]):
                return True
    return False


def _band_has_text(grey: Bytes, lowest: int) -> bool:
    contrast = grey - _slide(_slide(grey, _WIDEST_STROKE, np.minimum), _WIDEST_STROKE, np.maximum)
    # Half of the strongest contrast nearby is the outline of a letter whatever its contrast is.
    strokes = (contrast >= _LEAST_CONTRAST) & (contrast > _slide(contrast, _NEIGHBOURHOOD, np.maximum) // 2)
    shapes = _shapes(strokes, contrast, grey, lowest)
    return any(_is_text(row) for upright in (shapes, shapes.turned()) for row in _rows(upright.letters(lowest)))


def _half(grey: Bytes) -> Bytes:
    even = grey[: len(grey) // 2 * 2, : grey.shape[1] // 2 * 2].astype(np.uint16)
    total = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    return ((total + 2) // 4).astype(np.uint8)


def _slide(grey: Bytes, size: int, largest: np.ufunc) -> Bytes:
    """Return the extreme of a square around each pixel; windows are joined from halves, which is fast."""
    for axis in (0, 1):
        padding = [(0, 0), (0, 0)]
        padding[axis] = (size // 2, size - 1 - size // 2)
        grey, width = np.pad(grey, padding, mode="edge"), 1
        while width < size:
            shift = min(width, size - width)
            length = grey.shape[axis] - shift
            first, second = (slice(length), slice(shift, None))
            grey = largest(grey[first], grey[second]) if axis == 0 else largest(grey[:, first], grey[:, second])
            width += shift
    return grey


@dataclass(frozen=True)
class _Shapes:
    """Connected strokes; one entry each.

    Args:
        left: First column.
        right: Column after the last.
        top: First row.
        bottom: Row after the last.
        area: Pixels.
        stroke: About the width of its strokes.
        peak: Its largest level of grey.
        contrast: Its largest contrast.
        sharpness: Mean fall of grey across its outline, as a part of its contrast.
    """

    left: Numbers
    right: Numbers
    top: Numbers
    bottom: Numbers
    area: Numbers
    stroke: Numbers
    peak: Numbers
    contrast: Numbers
    sharpness: Numbers

    @property
    def height(self) -> Numbers:
        return self.bottom - self.top

    @property
    def width(self) -> Numbers:
        return self.right - self.left

    def chosen(self, which: Mask | Integers) -> _Shapes:
        return _Shapes(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    def turned(self) -> _Shapes:
        """Return them as they stand in the transposed image."""
        return _Shapes(
            self.top, self.bottom, self.left, self.right, self.area, self.stroke, self.peak, self.contrast,
            self.sharpness,
        )  # fmt: skip

    def letters(self, lowest: int) -> _Shapes:
        """Return those that have the size of a letter and are no blobs."""
        height, width = self.height, self.width
        sized = (height >= lowest) & (height <= _HEIGHTS[1]) & (width <= np.maximum(1.6 * height, 10))
        thin = (self.stroke > 0.04 * height) & (self.stroke < 0.4 * height) & (self.area < 0.95 * height * width)
        return self.chosen(sized & (thin | (width < 0.35 * height)))


def _shapes(strokes: Mask, contrast: Bytes, grey: Bytes, lowest: int) -> _Shapes:
    """Measure the connected strokes that are neither dust nor larger than a letter."""
    labels, count = ndimage.label(strokes, np.ones((3, 3), bool))
    place = np.flatnonzero(strokes).astype(np.int64)
    label = labels.ravel()[place].astype(np.int64) - 1
    y, x = np.divmod(place, strokes.shape[1])
    left, right = _extremes(label, x, count), _extremes(label, x, count, last=True)
    top, bottom = _extremes(label, y, count), _extremes(label, y, count, last=True)
    largest = np.maximum(right - left, bottom - top)
    kept = (largest >= lowest) & (largest <= 1.6 * _HEIGHTS[1])
    inside = kept[label]
    number, total = (np.cumsum(kept) - 1)[label[inside]], int(kept.sum())
    y, x, place = y[inside], x[inside], place[inside]
    area = np.bincount(number, minlength=total).astype(np.float64)
    outline, fall = _outline(strokes, grey, number, y, x, total)
    most = _extremes(number, contrast.ravel()[place], total, last=True) - 1
    peak = _extremes(number, grey.ravel()[place], total, last=True) - 1
    return _Shapes(
        left[kept], right[kept], top[kept], bottom[kept], area, 2 * area / outline, peak, most, fall / outline / most
    )


def _extremes(label: Integers, values: Pixels, count: int, *, last: bool = False) -> Numbers:
    """Return the smallest value of each label, or one more than the largest."""
    found = np.full(count, 0 if last else np.iinfo(np.int64).max, np.int64)
    (np.maximum if last else np.minimum).at(found, label, values.astype(np.int64) + int(last))
    return found.astype(np.float64)


def _outline(
    strokes: Mask, grey: Bytes, number: Integers, y: Integers, x: Integers, total: int
) -> tuple[Numbers, Numbers]:
    """Return how many sides of pixels are the outline of each shape, and the sum of the fall of grey across them."""
    sides, fall = np.zeros(total), np.zeros(total)
    rows, columns = strokes.shape
    for down, across in _EDGES:
        there_y, there_x = (y + down).clip(0, rows - 1), (x + across).clip(0, columns - 1)
        border = (there_y == y) & (there_x == x)
        outside = border | ~strokes[there_y, there_x]
        here = grey[y[outside], x[outside]].astype(np.float64)
        sides += np.bincount(number[outside], minlength=total)
        fall += np.bincount(number[outside], here - grey[there_y[outside], there_x[outside]], total)
    return sides, fall


def _rows(shapes: _Shapes) -> Iterator[_Shapes]:
    """Chain each letter to the one at its right that could follow it, and yield the chains that are long enough."""
    count = len(shapes.area)
    if count < _LETTERS:
        return
    here, there = _followers(shapes)
    links = coo_array((np.ones(len(here)), (here, there)), shape=(count, count))
    rows, row = connected_components(links, directed=False)
    lengths, order = np.bincount(row, minlength=rows), np.argsort(row, kind="stable")
    ends = np.cumsum(lengths)
    for number in np.flatnonzero(lengths >= _LETTERS):
        yield shapes.chosen(order[ends[number] - lengths[number] : ends[number]])


def _followers(shapes: _Shapes) -> tuple[Integers, Integers]:
    count = len(shapes.area)
    nearest = min(_NEAREST, count)
    starts, ends = np.c_[shapes.left, shapes.bottom], np.c_[shapes.right, shapes.bottom]
    _, found = KDTree(starts).query(ends, k=nearest)
    here, there = np.repeat(np.arange(count), nearest), np.asarray(found).ravel()
    a, b = shapes.chosen(here), shapes.chosen(there)
    gap, height = b.left - a.right, np.maximum(a.height, b.height)
    fits = (
        (b.left > a.left)
        & (gap > -0.35 * height)
        & (gap < 1.1 * height)
        & (np.abs(a.bottom - b.bottom) <= np.maximum(1, 0.28 * height))
        & (np.minimum(a.height, b.height) >= 0.5 * height)
        & (np.abs(a.peak - b.peak) <= 0.3 * np.maximum(a.contrast, b.contrast))
        & (np.maximum(a.stroke, b.stroke) < 2 * np.minimum(a.stroke, b.stroke))
    )
    here, there, gap = here[fits], there[fits], gap[fits]
    order = np.lexsort((gap, here))
    here, there = here[order], there[order]
    first = np.diff(here, prepend=-1) != 0
    return here[first], there[first]


def _is_text(row: _Shapes) -> bool:
    """Say whether shapes that stand in a row agree as letters of one line do."""
    tallest = float(np.sort(row.height)[-2])
    tolerance = max(1.0, 0.07 * tallest)
    on_line = np.abs(row.bottom - np.median(row.bottom)) <= tolerance
    contrast = float(np.median(row.contrast))
    thickness = float(np.median(row.stroke)) / tallest
    return bool(
        on_line.mean() >= 0.8
        and _share_of_two_heights(row.top, tolerance) >= 0.8
        and np.median(row.sharpness) >= 0.5
        and row.peak.std() < 0.15 * contrast
        and contrast > 0.12 * 255
        and row.stroke.std() < 0.4 * row.stroke.mean()
        and 0.05 < thickness < 0.25
        and (row.width > 0.3 * row.height).mean() >= 0.5  # bars and the ticks of a ruler are not
    )


def _share_of_two_heights(tops: Numbers, tolerance: float) -> float:
    """Return how many tops are at one of two heights: that of capitals, and that of small letters."""
    near = np.abs(tops[:, np.newaxis] - np.unique(tops)) <= tolerance
    best = near[:, near.sum(axis=0).argmax()]
    return float((near | best[:, np.newaxis]).mean(axis=0).max())
