"""``dataset-json``: sets that a ``dataset.json`` describes: the Medical Segmentation Decathlon, and nnU-Net's raw data.

Images are in ``imagesTr`` and their masks in ``labelsTr``. The Decathlon lists them in ``training``, an image in one
file; nnU-Net has a file for each channel, ``<case>_0000.nii.gz``, ``<case>_0001.nii.gz``, and lists them or not. What
is in ``imagesTs`` has no masks and is left out.

Source: medicaldecathlon.com; the dataset format of nnU-Net (Isensee et al. 2021), versions 1 and 2.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from medloom.data.layouts.base import Item, Listing, Problem, Read, is_image, natural_key
from medloom.data.layouts.description import Case, Description, read_description
from medloom.data.layouts.patients import PatientPattern
from medloom.errors import DataError
from medloom.recipe import MasksRecipe, Recipe
from medloom.wording import counted

__all__ = ["DatasetJson", "build", "find_description"]

_FILE = "dataset.json"
_HINT = "Name what says it in data.patient_pattern."
_CHANNEL = re.compile(r"(.+)_(\d{4})")


def find_description(names: Sequence[str]) -> str:
    """Return the path of the only ``dataset.json``.

    Raises:
        DataError: If there is none, or several, as in a folder of several sets.
    """
    found = [name for name in names if PurePosixPath(name).name == _FILE]
    if len(found) == 1:
        return found[0]
    if not found:
        raise DataError("there is no dataset.json in the data; the layout dataset-json needs one")
    raise DataError(f"there are {len(found)} files called dataset.json; name the folder of one set", found[:20])


@dataclass(frozen=True)
class DatasetJson:
    """Samples of a set that a ``dataset.json`` describes.

    Args:
        channels: Names of the channels in order; as many as the file names.
        values: Pixel value of each class in the masks.
        ignored: Pixel values of masks that count nowhere.
        patient_pattern: Regular expression with one group that finds the patient in a case's name; None: every case is
            a patient of its own.

    Example:
        >>> text = b'{"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, "file_ending": ".png"}'
        >>> files = {"dataset.json": text, "imagesTr/a_0000.png": b"", "labelsTr/a.png": b""}
        >>> layout = DatasetJson(("CT",), {"background": 0, "liver": 1})
        >>> [item.masks for item in layout.find(list(files), files.__getitem__).items]
        [('labelsTr/a.png',)]
    """

    channels: tuple[str, ...]
    values: Mapping[str, int]
    ignored: tuple[int, ...] = ()
    patient_pattern: str | None = None

    def find(self, names: Sequence[str], read: Read) -> Listing:
        """Return the training cases.

        Args:
            names: Relative POSIX paths.
            read: Gives the bytes of ``dataset.json``.

        Returns:
            The samples. Cases of which a file is missing are problems; images that belong to no training case are
            counted in a note.

        Raises:
            DataError: If the file cannot be read, or says something else than the recipe about channels and classes.
        """
        file = find_description(names)
        described = read_description(read(file))
        self._check(described)
        folder = str(PurePosixPath(file).parent)
        inside = _Files(names, "" if folder == "." else f"{folder}/", described.ending)
        patient = PatientPattern(self.patient_pattern)
        found = [inside.item(case, described, patient) for case in described.cases or inside.cases()]
        items = [one for one in found if isinstance(one, Item)]
        problems = [one for one in found if isinstance(one, Problem)]
        items.sort(key=lambda item: (natural_key(item.patient), natural_key(item.sample)))
        said = patient.source.replace("data.labels.", "data.")
        notes = tuple(_notes(described, inside.left(items)))
        return Listing(tuple(items), tuple(problems), notes, patients=said, patients_hint=_HINT)

    def expects(self) -> str:
        """Return what files it looks for."""
        return "a dataset.json beside imagesTr and labelsTr"

    def rules(self) -> dict[str, Any]:
        """Return what decides which pixels belong to a sample."""
        return {"layout": "dataset-json", "version": 1, "channels": list(self.channels)}

    def _check(self, described: Description) -> None:
        """Refuse a recipe that says something else than the file."""
        problems = [*_channel_problems(self.channels, described), *_class_problems(self.values, described)]
        if described.ignored is not None and described.ignored not in self.ignored:
            problems.append(f"target.ignore: {described.ignored} counts nowhere in dataset.json; set it")
        if problems:
            raise DataError("the recipe and dataset.json say different things", problems)


def build(recipe: Recipe) -> DatasetJson:
    """Return the layout with a recipe's channels and classes."""
    masks = MasksRecipe.of(recipe)
    return DatasetJson(masks.data.channels, masks.target.mask_values, masks.target.ignored, masks.data.patient_pattern)


def _channel_problems(channels: Sequence[str], described: Description) -> Iterator[str]:
    named = ", ".join(described.channels)
    if len(channels) != len(described.channels):
        yield f"data.channels: {', '.join(channels)}; dataset.json has {named}"
        return
    places = {name.casefold(): place for place, name in enumerate(described.channels)}
    if any(places.get(name.casefold(), place) != place for place, name in enumerate(channels)):
        yield f"data.channels: {', '.join(channels)}; dataset.json has them in another order: {named}"


def _class_problems(values: Mapping[str, int], described: Description) -> Iterator[str]:
    there = {value: name for name, value in described.labels.items()}
    given = {name.casefold(): value for name, value in values.items()}
    swapped = any(given.get(name.casefold(), value) != value for name, value in described.labels.items())
    if set(values.values()) != set(there) or swapped:
        ours, theirs = (
            ", ".join(f"{name}: {value}" for name, value in one.items()) for one in (values, described.labels)
        )
        yield f"target.mask_values: {{{ours}}}; dataset.json has {{{theirs}}}"


class _Files:
    """The files of a set, by what its ``dataset.json`` calls them.

    Args:
        names: All files.
        folder: Where the set lies; empty, or with a slash at its end.
        ending: How the names of its files end.
    """

    def __init__(self, names: Iterable[str], folder: str, ending: str) -> None:
        self._folder, self._ending = folder, ending
        self._names = {name.removeprefix(folder) for name in names if name.startswith(folder)}
        self._channels: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self._names):
            if name.endswith(ending) and (found := _CHANNEL.fullmatch(name.removesuffix(ending))):
                self._channels[found[1]].append(name)

    def cases(self) -> list[Case]:
        """Return a case for each image or mask of training, for a file that lists none."""
        stems = {stem for stem in self._channels if stem.startswith("imagesTr/")}
        stems |= {
            name.removesuffix(self._ending)
            for name in self._names
            if name.startswith("imagesTr/")
            and name.endswith(self._ending)
            and not _CHANNEL.fullmatch(name.removesuffix(self._ending))
        }
        labels = {
            name.removesuffix(self._ending).replace("labelsTr/", "imagesTr/", 1)
            for name in self._names
            if name.startswith("labelsTr/") and name.endswith(self._ending)
        }
        return [
            Case((f"{stem}{self._ending}",), f"{stem.replace('imagesTr/', 'labelsTr/', 1)}{self._ending}")
            for stem in sorted(stems | labels, key=natural_key)
        ]

    def item(self, case: Case, described: Description, patient: PatientPattern) -> Item | Problem:
        """Return the sample of a case, or what is missing of it."""
        images = self._images(case, len(described.channels))
        name = PurePosixPath(case.mask).name.removesuffix(self._ending)
        mask = self._folder + case.mask
        if isinstance(images, Problem):
            return images
        if case.mask not in self._names:
            return Problem("missing_mask", images[0], "an image without its mask")
        return Item(patient(name), name, images, mask, known=patient.finds(name))

    def _images(self, case: Case, count: int) -> tuple[str, ...] | Problem:
        """The file of an image, or one for each channel."""
        if all(name in self._names for name in case.images) and len(case.images) in (1, count):
            return tuple(self._folder + name for name in case.images)
        stem = case.images[0].removesuffix(self._ending)
        found = self._channels.get(stem, [])
        numbered = [f"{stem}_{number:04d}{self._ending}" for number in range(len(found))]
        if found == numbered and len(found) in (1, count) and len(case.images) == 1:
            return tuple(self._folder + name for name in found)
        known = self._folder + (case.mask if case.mask in self._names else case.images[0])
        if found:
            return Problem("missing_channel", known, f"{counted(len(found), 'file')} of {counted(count, 'channel')}")
        return Problem("missing_image", known, "there is no image of this case, or not all of its files")

    def left(self, items: Iterable[Item]) -> int:
        """Return how many images of the set are in no sample."""
        used = {name for item in items for name in (*item.images, *item.masks)}
        return sum(is_image(name) and self._folder + name not in used for name in self._names)


def _notes(described: Description, left: int) -> Iterator[str]:
    if left:
        yield f"{counted(left, 'image is', 'images are')} of no training case of dataset.json: left out"
    if described.count is not None and described.cases and described.count != len(described.cases):
        yield f"dataset.json says numTraining {described.count:,} and lists {len(described.cases):,}"
