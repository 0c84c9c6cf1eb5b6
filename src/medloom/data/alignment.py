"""The files of a sample meet where they lie in the patient: masks and channels are brought to the grid of the image.

Voxels are moved, never interpolated: flips, another order of axes, volumes cut along another side. Files on another
grid are refused, or resampled where the recipe asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medloom.data.checks import ClassMap, UnfitError, joined_classes, mask_classes, named
from medloom.data.page_reader import PageReader
from medloom.data.segments import as_volume, mask_on
from medloom.imaging import Image, Volume
from medloom.imaging.canonical import plane_of, turn_of
from medloom.imaging.dicom_seg import Segmentation
from medloom.imaging.geometry import Grid, Match, find_match, found_at

__all__ = ["Align", "Alignment", "is_unplaced", "read_mask"]

Align = Literal["refuse", "resample"]
"""The recipe's ``data.align``."""

_UNPLACED = "taken as stored: only one of image and {what} says where it lies in the patient"

_BROUGHT = "brought to the directions of the image, {axes}"
_HALF = 0.5


@dataclass(frozen=True)
class Alignment:
    """Brings files to the grid of an image.

    Args:
        reader: Reads the files.
        align: What becomes of files on another grid: ``refuse`` or ``resample``.
    """

    reader: PageReader
    align: Align = "refuse"

    def bring(self, name: str, page: int | None, onto: Image, what: str, *, smooth: bool) -> Image:
        """Read a file of a sample as it lies on the image.

        Args:
            name: The file.
            page: The page that belongs to the image where one of the two does not say where it lies.
            onto: The image.
            what: What the file is, such as ``mask``, for messages.
            smooth: Interpolate linearly where it is resampled; else the nearest voxel is taken, as masks need it.

        Returns:
            The file's pixels at those of the image; where one of the two has no affine, the page that belongs to it,
            turned as the image where both say how they are oriented.

        Raises:
            UnfitError: If it lies on another grid.
            DecodeError: Whatever is wrong with the content.
        """
        segmentation = None if smooth else self.reader.segmentation(name)
        if segmentation is not None:
            return self._segments(segmentation, onto, what)
        plane, grids = onto.grid, self.reader.grids(name)
        if plane is None or not grids:
            return _by_directions(self.reader.decode(name, page), onto, what)
        for number, grid in _likely_first(grids, page):
            match = find_match(plane, grid)
            if match is not None:
                return self._moved(name, number, match, onto)
        volume = self.reader.volume(name)
        if volume is not None and (match := find_match(plane, _grid(volume))) is not None:
            return _turned(match.cut(volume.voxels)[..., np.newaxis], volume, match, onto)
        number, grid = next(_likely_first(grids, page))
        if self.align == "refuse":
            raise UnfitError("grid", _another_grid(plane, grid, what))
        return _resampled_onto(onto, plane, volume or self._slab(name, number, grid), what, smooth=smooth)

    def _segments(self, found: Segmentation, onto: Image, what: str) -> Image:
        """The segments on the image, by where they lie and nothing else."""
        plane = onto.grid
        if plane is None:
            raise UnfitError("grid", "the image does not say where it lies in the patient, as its segmentation does")
        mask = mask_on(found, onto, plane)
        if mask is not None:
            return mask
        if self.align == "refuse":
            raise UnfitError("grid", _another_grid(plane, found.grid, what))
        return _resampled_onto(onto, plane, as_volume(found), what, smooth=False)

    def _moved(self, name: str, number: int, match: Match, onto: Image) -> Image:
        """The very voxels of the file, in the order of the image."""
        if match.slice is None:
            volume = self.reader.volume(name)
            if volume is None:
                raise UnfitError("grid", "the file is cut across its pages, which are no volume")
            return _turned(match.cut(volume.voxels)[..., np.newaxis], volume, match, onto)
        page = self.reader.decode(name, number + match.slice)
        if not match.moves:
            return page
        return _turned(replace(match, start=(*match.start[:2], 0)).cut(page.pixels[np.newaxis]), page, match, onto)

    def _slab(self, name: str, number: int, grid: Grid) -> Volume:
        """One page as a volume of one slice."""
        page = self.reader.decode(name, number)
        spacing = grid.spacing_mm[::-1]
        return Volume(
            page.pixels[np.newaxis, ..., 0], spacing, grid.affine, page.format, page.notes, page.spacing_mm,
            value_ranges=(page.value_range,),
        )  # fmt: skip


def is_unplaced(note: str) -> bool:
    """Whether a note of an image says that only one of it and another file of its sample has a place."""
    start, _, end = _UNPLACED.partition("{what}")
    return note.startswith(start) and note.endswith(end)


def _by_directions(found: Image, onto: Image, what: str) -> Image:
    """A page beside an image of which at least one does not say where it lies: turned alike where both say how."""
    if found.axes is None or onto.axes is None:
        unlike = found.axes is not onto.axes
        return replace(found, notes=(*found.notes, _UNPLACED.format(what=what))) if unlike else found
    if plane_of(found.axes) != plane_of(onto.axes):
        planes = plane_of(onto.axes), plane_of(found.axes)
        raise UnfitError("grid", f"the image is a {planes[0]} slice and the {what} a {planes[1]} one")
    if found.axes == onto.axes:
        return found
    pixels = turn_of(onto.axes).undo(turn_of(found.axes).apply(found.pixels))
    notes = (*found.notes, _BROUGHT.format(axes="".join(onto.axes)))
    return replace(
        found, pixels=np.ascontiguousarray(pixels), notes=notes, spacing_mm=onto.spacing_mm, affine=onto.affine,
        slices=onto.slices, directions=onto.directions,
    )  # fmt: skip


def read_mask(
    alignment: Alignment, files: Sequence[str], classes: ClassMap, page: int | None, onto: Image
) -> NDArray[np.uint8]:
    """Read the masks of an image as they lie on it, joined; errors name the file. See ``joined_classes``.

    Raises:
        DataError: If one cannot be read or decoded, or lies on another grid, or if they contradict each other.
    """

    def read(file: str) -> NDArray[np.uint8]:
        return mask_classes(alignment.bring(file, page, onto, "mask", smooth=False), classes.of_file(file))

    found = [named(partial(read, file), file) for file in files]
    return named(lambda: joined_classes(found, classes), files[0])


def _resampled_onto(onto: Image, plane: Grid, stored: Volume, what: str, *, smooth: bool) -> Image:
    pixels = _resampled(stored, plane, what, smooth=smooth)
    notes = (*stored.notes, f"resampled to the grid of the image ({'linear' if smooth else 'nearest neighbour'})")
    return Image(
        pixels, stored.format, onto.spacing_mm, notes, affine=onto.affine, slices=onto.slices,
        value_range=stored.value_range,
    )  # fmt: skip


def _turned(pixels: NDArray[Any], stored: Image | Volume, match: Match, onto: Image) -> Image:
    notes = (*stored.notes, _BROUGHT.format(axes="".join(onto.axes or ())))
    return Image(
        pixels, stored.format, onto.spacing_mm, notes, affine=onto.affine, slices=onto.slices,
        window=stored.window if isinstance(stored, Image) else None, value_range=stored.value_range,
    )  # fmt: skip


def _grid(volume: Volume) -> Grid:
    depth, height, width = volume.voxels.shape
    return Grid(volume.affine, (width, height, depth))


def _likely_first(grids: tuple[Grid, ...], page: int | None) -> Iterator[tuple[int, Grid]]:
    """Yield each grid with its number: first the one of the page that belongs to the image by its number."""
    likely = min(page or 0, len(grids) - 1)
    for number in dict.fromkeys((likely, *range(len(grids)))):
        yield number, grids[number]


def _resampled(stored: Volume, plane: Grid, what: str, *, smooth: bool) -> NDArray[Any]:
    """The values of a volume at the pixels of a plane, (H, W, 1); zero for masks, else the least value, beside it."""
    other, (width, height, _) = _grid(stored), plane.sides
    matrix = found_at(plane, other)
    column, row = np.meshgrid(np.arange(width), np.arange(height))
    places = matrix[:3, :2] @ np.stack([column.ravel(), row.ravel()]) + matrix[:3, 3:]
    ends = np.array(other.sides, np.float64)[:, np.newaxis] - _HALF
    inside = ((places >= -_HALF) & (places <= ends)).all(axis=0)
    if len(stored.voxels) == 1 and not inside.any():
        raise UnfitError("grid", f"{_another_grid(plane, other, what, advise=False)}: they do not lie on each other")
    values = _linear(stored.voxels, places) if smooth else _nearest(stored.voxels, places)
    values[~inside] = stored.voxels.min() if smooth else 0
    return values.reshape(height, width, 1)


def _nearest(voxels: NDArray[Any], places: NDArray[np.float64]) -> NDArray[Any]:
    column, row, number = (np.rint(one).clip(0, side - 1) for one, side in zip(places, voxels.shape[::-1], strict=True))
    values: NDArray[Any] = voxels[number.astype(np.int64), row.astype(np.int64), column.astype(np.int64)]
    return values


def _linear(voxels: NDArray[Any], places: NDArray[np.float64]) -> NDArray[Any]:
    values = ndimage.map_coordinates(voxels.astype(np.float64), places[::-1], np.float64, order=1, mode="nearest")
    return (np.rint(values) if voxels.dtype.kind in "iu" else values).astype(voxels.dtype)


def _another_grid(plane: Grid, other: Grid, what: str, *, advise: bool = True) -> str:
    """Name two grids and how they differ."""
    said = f"the {what} lies on another grid than the image: image {plane}; {what} {other}"
    return f"{said}{_difference(plane, other)}" + ("; data.align=resample would resample it" if advise else "")


def _difference(plane: Grid, other: Grid) -> str:
    """What sizes, spacings and directions do not show."""
    if str(plane) != str(other.plane(0)):
        return ""
    axes = [grid.affine[:3, :2] / np.linalg.norm(grid.affine[:3, :2], axis=0) for grid in (plane, other)]
    cosine = float((axes[0] * axes[1]).sum(axis=0).min())
    turned = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    if turned > _HALF:
        return f", turned by {turned:.1f} degrees"
    off = found_at(plane, other)[:3, 3]
    off -= [0, 0, np.clip(np.rint(off[2]), 0, other.sides[2] - 1)]
    return f", shifted by {np.linalg.norm(other.affine[:3, :3] @ off):.3g} mm"
