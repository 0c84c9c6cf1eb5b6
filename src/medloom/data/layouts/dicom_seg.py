"""``dicom-seg``: DICOM images, and segmentations (DICOM SEG) of them anywhere among the files.

A segmentation belongs to the series of the images that it names, or where it names none, to the only series in its
frame of reference on whose images all of its slices lie. Every image of such a series is a sample: what a segmentation
leaves out of it is background. Several segmentations of a series are joined. Segments are known by their names, because
their numbers differ from file to file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medloom.data.checks import FILE_ERRORS, explain
from medloom.data.layouts.base import Item, Listing, Problem, Read, list_images, natural_key
from medloom.data.segments import lost_slices
from medloom.errors import DataError
from medloom.imaging.dicom_references import Instance, read_instance
from medloom.imaging.dicom_seg import SEGMENTATION_BUDGET, Segmentation, read_segmentation
from medloom.imaging.geometry import Grid
from medloom.recipe import MasksRecipe, Recipe
from medloom.wording import counted

__all__ = ["DicomSegmentations", "Found", "build", "look"]

_SHOWN = 12
_HINT = "Nothing in data says it: the PatientID of the images does."


@dataclass(frozen=True)
class Found:
    """The DICOM files of a folder.

    Args:
        images: What each image says, by path.
        segmentations: What each segmentation says, by path.
        problems: Files that cannot be read.
        others: How many images are in other formats.
    """

    images: dict[str, Instance] = field(default_factory=dict)
    segmentations: dict[str, Instance] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    others: int = 0


def look(names: Sequence[str], read: Read) -> Found:
    """Read what each DICOM file says of itself.

    Args:
        names: Relative POSIX paths.
        read: Gives the bytes of a name.
    """
    found, others = Found(), 0
    for name in list_images(names, read):
        try:
            instance = read_instance(read(name))
        except FILE_ERRORS as error:
            found.problems.append(Problem("unreadable", name, explain(error, name)[1]))
            continue
        if instance is None:
            others += 1
        else:
            (found.images if instance.segments is None else found.segmentations)[name] = instance
    return Found(found.images, found.segmentations, found.problems, others)


class DicomSegmentations:
    """Samples of DICOM images whose masks are DICOM segmentations.

    Args:
        values: Value of each class, the background first. Segments of these names are read, whatever their numbers; see
            ``Segment.called``.
    """

    def __init__(self, values: Mapping[str, int]) -> None:
        self._values = dict(values)

    def find(self, names: Sequence[str], read: Read) -> Listing:
        """Return the images of every series that has a segmentation.

        Args:
            names: Relative POSIX paths.
            read: Gives the bytes of a file.

        Returns:
            The samples. Segmentations of images that are not there, or whose slices lie on no image, are problems;
            images of series without one, and segments of other names, are counted in notes.

        Raises:
            DataError: If a class is called as no segment is.
        """
        found = look(names, read)
        series = _by_series(found.images)
        said = _named_segments(found.segmentations, self._values)
        problems, masks, spoiled = list(found.problems), dict[str, list[str]](), set[str]()
        for path, instance in sorted(found.segmentations.items(), key=lambda pair: natural_key(pair[0])):
            uids, problem = self._series_of(path, instance, found.images, series, read)
            if problem:
                problems.append(problem)
                spoiled |= uids
            for uid in uids:
                masks.setdefault(uid, []).append(path)
        # Without one of its segmentations the truth of an image would not be whole.
        usable = [uid for uid in series if uid in masks and uid not in spoiled]
        items = [item for uid in usable for item in _items(series[uid], masks[uid])]
        without, lost = (sum(len(series[uid]) for uid in uids) for uids in (series.keys() - masks.keys(), spoiled))
        notes = (*said, *_notes(without, lost, found.others))
        return Listing(tuple(items), tuple(problems), notes, patients_hint=_HINT)

    def expects(self) -> str:
        """Return what files it looks for."""
        return "DICOM images and DICOM segmentations of them"

    def rules(self) -> dict[str, Any]:
        """Return what decides which pixels belong to a sample."""
        return {"layout": "dicom-seg", "version": 2}

    def _series_of(
        self,
        path: str,
        found: Instance,
        images: Mapping[str, Instance],
        series: Mapping[str, Sequence[str]],
        read: Read,
    ) -> tuple[set[str], Problem | None]:
        """The series that a segmentation is of, and what is wrong with it."""
        named = {image.series for image in images.values() if image.uid in found.of_instances}
        named = named or {uid for uid in found.of_series if uid in series}
        if not named and (found.of_instances or found.of_series):
            return set(), Problem("missing_image", path, "a segmentation of images that are not there")
        likely = named or _beside(found, images)
        if not likely:
            return set(), Problem("missing_image", path, "it names no image, and none is in its frame of reference")
        try:
            segmentation = read_segmentation(read(path), named=self._values, budget=SEGMENTATION_BUDGET)
        except FILE_ERRORS as error:
            return likely, Problem("unreadable", path, explain(error, path)[1])
        lost = {uid: 0 if segmentation is None else _lost(segmentation, series[uid], images) for uid in likely}
        fitting = {uid for uid, count in lost.items() if not count}
        if not fitting:
            slices = counted(min(lost.values()), "slice with a segment lies", "slices with a segment lie")
            return likely, Problem(
                "grid", path, f"{slices} on no image of its series: another grid, or images are missing"
            )
        if not named and len(fitting) > 1:
            return fitting, Problem("ambiguous", path, f"it names no image, and lies on those of {len(fitting)} series")
        return fitting, None


def build(recipe: Recipe) -> DicomSegmentations:
    """Return the layout with the names of a recipe's classes."""
    return DicomSegmentations(MasksRecipe.of(recipe).target.mask_values)


def _by_series(images: Mapping[str, Instance]) -> dict[str, list[str]]:
    """The images of each series, from one end of it to the other."""
    series: dict[str, list[str]] = defaultdict(list)
    for path in sorted(images, key=natural_key):
        series[images[path].series].append(path)
    return {uid: sorted(paths, key=lambda path: _height(images[path])) for uid, paths in series.items()}


def _height(image: Instance) -> float:
    """How far along its slices' direction an image lies; images that do not say stay in the order of their names."""
    if not image.grids:
        return 0.0
    affine = image.grids[0].affine
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    return float(affine[:3, 3] @ normal / np.linalg.norm(normal))


def _beside(found: Instance, images: Mapping[str, Instance]) -> set[str]:
    """The series in the frame of reference of a segmentation."""
    here = found.frame_of_reference
    return {image.series for image in images.values() if here and image.frame_of_reference == here}


def _lost(segmentation: Segmentation, paths: Iterable[str], images: Mapping[str, Instance]) -> int:
    planes: list[Grid] = [grid for path in paths for grid in images[path].grids]
    return lost_slices(segmentation, planes)


def _named_segments(segmentations: Mapping[str, Instance], values: Mapping[str, int]) -> tuple[str, ...]:
    """A note on the segments of other names; of these only the terms of the standard are shown."""
    segments = [one for instance in segmentations.values() for one in (instance.segments or {}).values()]
    called = {one.called(values) for one in segments}
    shown = ", ".join(sorted({one.meaning or one.plain for one in segments})[:_SHOWN])
    _, *wanted = values
    if segments and (missing := [name for name in wanted if name not in called]):
        raise DataError(
            f"target.mask_values: no segment is called {', '.join(missing)}, by its label, its property type or as in "
            f"segment-1; property types are {shown}"
        )
    others = [one.meaning or one.plain for one in segments if one.called(values) is None]
    if not others:
        return ()
    named = ", ".join(sorted(set(others))[:_SHOWN])
    return (f"{counted(len(others), 'segment')} of other names than target.mask_values are background: {named}",)


def _items(paths: Sequence[str], masks: Sequence[str]) -> Iterator[Item]:
    first, *more = masks
    for path in paths:
        yield Item(path, path, (path,), first, known=False, more_masks=tuple(more))


def _notes(without: int, spoiled: int, others: int) -> Iterator[str]:
    if without:
        yield f"{counted(without, 'DICOM image is', 'DICOM images are')} of a series without a segmentation: left out"
    if spoiled:
        images = counted(spoiled, "DICOM image is", "DICOM images are")
        yield f"{images} of a series of which a segmentation has a problem: left out"
    if others:
        yield f"{counted(others, 'image is', 'images are')} no DICOM: left out"
