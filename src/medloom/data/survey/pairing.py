"""Which files are masks of which images, found by their folders and names alone.

A folder is one of masks if its name says so and a folder beside it, or files straight in the folder above, do not. A
file is a mask by its own name if others in its folder are not. Masks that are called alike are of one kind.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from medloom.data.survey.files import File, Folders
from medloom.data.survey.names import common_prefix, common_suffix, mask_affix, says_image, says_mask

__all__ = ["MaskKind", "Pair", "Pairing", "pairing"]

_NEARLY_ALL = 0.9

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class MaskKind:
    """How masks of one kind are called.

    Args:
        folder: Name of the folder that says so; empty where masks lie beside their images.
        before: What begins a mask's name beside the image's.
        after: What ends it.
    """

    folder: str
    before: str
    after: str

    def bare(self, stem: str) -> str:
        """Return a mask's name without what makes it one."""
        return stem[len(self.before) : len(stem) - len(self.after)]


@dataclass(frozen=True)
class Pair:
    """A mask and its image.

    Args:
        image: The image.
        mask: The mask.
        depth: How many folders stand above the one for masks; for masks beside their images, all of them.
        beside: Name of the image's folder at that depth; empty where the image lies straight in the folder above.
        beginning: What begins the image's name and not that of the mask.
        ending: What ends the image's name and not that of the mask.
    """

    image: File
    mask: File
    depth: int
    beside: str
    beginning: str = ""
    ending: str = ""


@dataclass
class Pairing:
    """All that was found.

    Args:
        images: Files that are no masks.
        kinds: Masks with their depth, by kind.
    """

    images: list[File]
    kinds: dict[MaskKind, list[tuple[File, int]]] = field(default_factory=dict)

    @cached_property
    def _by_place(self) -> dict[tuple[Folders, str], list[File]]:
        return _grouped(((file.folders, file.stem), file) for file in self.images)

    @cached_property
    def _by_sibling(self) -> dict[tuple[Folders, Folders, str], list[tuple[File, str]]]:
        return _grouped(
            ((file.folders[:depth], file.folders[depth + 1 :], file.stem), (file, file.folders[depth]))
            for file in self.images
            for depth in range(len(file.folders))
        )

    def pairs(self, kind: MaskKind) -> list[Pair]:
        """Return the masks of a kind with their images; those of the best folder where several hold one."""
        return next(iter(self.candidates(kind)), [])

    def candidates(self, kind: MaskKind) -> list[list[Pair]]:
        """Return the masks of a kind with their images, for each folder of images that most of them are in."""
        found = list(self._pairs(kind, "", ""))
        if len(found) < len(self.kinds[kind]) / 2:
            stems = [file.stem for file in self.images]
            ends = ("", common_suffix(stems)), (common_prefix(stems), "")
            found = max(found, *(list(self._pairs(kind, *end)) for end in ends if any(end)), [], key=len)
        if not found:
            return []
        counts = Counter(pair.beside for pair in found)
        ranked = sorted(counts, key=lambda name: (-counts[name], not says_image(name), len(name)))
        likely = [name for name in ranked if counts[name] >= counts[ranked[0]] / 2]
        return [[pair for pair in found if pair.beside == name] for name in likely]

    def images_of(self, kind: MaskKind, mask: File, depth: int, stem: str) -> Iterator[tuple[File, str]]:
        """Yield the images of a name where those of a mask lie, each with the folder beside that of the masks.

        Args:
            kind: What the masks are called.
            mask: The mask.
            depth: How many folders stand above the one for masks.
            stem: What the image is called.
        """
        above, below = mask.folders[:depth], mask.folders[depth + 1 :]
        if kind.folder:
            yield from self._by_sibling.get((above, below, stem), ())
        for image in self._by_place.get((above + below, stem), ()):
            yield image, ""

    def _pairs(self, kind: MaskKind, beginning: str, ending: str) -> Iterator[Pair]:
        if not kind.folder and not any(kind.bare(mask.stem) for mask, _ in self.kinds[kind]):
            yield from self._alone(kind)
            return
        for mask, depth in self.kinds[kind]:
            stem = beginning + kind.bare(mask.stem) + ending
            for image, beside in self.images_of(kind, mask, depth, stem):
                yield Pair(image, mask, depth, beside, beginning, ending)

    def _alone(self, kind: MaskKind) -> Iterator[Pair]:
        """Masks that are called ``segmentation`` and no more, with the one image that nearly every such folder has."""
        beside = _grouped((file.folders, file) for file in self.images)
        masks = self.kinds[kind]
        stems = Counter(file.stem for mask, _ in masks for file in beside.get(mask.folders, ()))
        common = [stem for stem, count in stems.items() if count >= _NEARLY_ALL * len(masks)]
        if len(common) == 1:
            for mask, depth in masks:
                for image in beside.get(mask.folders, ()):
                    if image.stem == common[0]:
                        yield Pair(image, mask, depth, "")


def pairing(files: Sequence[File]) -> Pairing:
    """Find out which images are masks, and of which kind.

    Args:
        files: The images.

    Example:
        >>> found = pairing([File.of("images/1.png"), File.of("masks/1.png")])
        >>> [(kind.folder, len(found.pairs(kind))) for kind in found.kinds]
        [('masks', 1)]
    """
    folders = _mask_folders(files)
    plain = {file.folders for file in files if not says_mask(file.stem)}
    result = Pairing([])
    for file in files:
        kind, depth = _kind(file, folders, plain)
        if kind is None:
            result.images.append(file)
        else:
            result.kinds.setdefault(kind, []).append((file, depth))
    return result


def _kind(file: File, masks: set[Folders], plain: set[Folders]) -> tuple[MaskKind | None, int]:
    for depth in reversed(range(len(file.folders))):
        if file.folders[: depth + 1] in masks:
            return MaskKind(file.folders[depth], *mask_affix(file.stem)), depth
    if file.folders in plain and says_mask(file.stem):
        return MaskKind("", *mask_affix(file.stem)), len(file.folders)
    return None, 0


def _mask_folders(files: Sequence[File]) -> set[Folders]:
    direct = {file.folders for file in files}
    every = {folders[:depth] for folders in direct for depth in range(1, len(folders) + 1)}
    others: dict[Folders, bool] = defaultdict(bool)
    for folders in every:
        others[folders[:-1]] |= not says_mask(folders[-1])
    return {folders for folders in every if says_mask(folders[-1]) and (others[folders[:-1]] or folders[:-1] in direct)}


def _grouped(items: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    found: dict[K, list[V]] = defaultdict(list)
    for key, value in items:
        found[key].append(value)
    return found
