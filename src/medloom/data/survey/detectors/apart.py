"""Several mask files of one image: one for each class, or for each side of one thing. The layout ``image-mask``.

IDRiD (Porwal et al. 2018) has a folder for each kind of lesion, ``3. Hard Exudates/IDRiD_01_EX.tif``; the Montgomery
County chest set (Jaeger et al. 2014) ``ManualMask/leftMask/MCUCXR_0001_0.png`` and ``rightMask`` beside it. Sides are
joined. Classes become one recipe where no pixel is of two of them, and are asked about where one is.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from medloom.data.survey.detectors.pairs import NO_CLASS
from medloom.data.survey.files import File
from medloom.data.survey.findings import Finding, Reading, Strength
from medloom.data.survey.names import listed, says_mask, words
from medloom.data.survey.pairing import MaskKind, Pair, Pairing
from medloom.data.survey.patterns import patterns_of
from medloom.data.survey.seen import Seen
from medloom.wording import counted

__all__ = ["detect"]

_IDRID = re.compile(
    r"(?:.*/)?2\. All Segmentation Groundtruths/[ab]\. (?:Training|Testing) Set/(?P<folder>\d\. [^/]+)/"
    r"(?P<image>IDRiD_\d+)_(?P<name>[A-Z]{2})\.tif"
)
_IDRID_IMAGE = "1. Original Images/{folder}. {split} Set/{sample}.jpg"
_IDRID_MASK = "2. All Segmentation Groundtruths/{folder}. {split} Set/"
_MONTGOMERY = re.compile(r"MCUCXR_\d{4}_[01]")

_BESIDE = (
    "masks of several classes lie beside the images, and a pixel is of several of them or their values drift; put the "
    "masks of each class into a folder of its own, so that one can be chosen"
)
_LAST_WORD = re.compile(r"(?P<head>.+)(?P<mark>[_\- ])(?P<tail>[^_\- ]+)")
_SIDES = {"left", "right"}
_MASKS = Finding("target.kind", "masks", "")
_NEARLY_ALL, _HALF = 0.9, 0.5
_MOST_CLASSES = 20


@dataclass(frozen=True)
class _Shape:
    """Where the name of the class stands.

    Args:
        beside: The folder of the images.
        dropped: Which of the folders below that of the masks images do not have, 0 or -1; None if they have all.
        mark: What stands before the class in the name of a mask; empty where it is not in the name.
    """

    beside: str
    dropped: int | None
    mark: str


@dataclass(frozen=True)
class _Part:
    """One of several masks of an image.

    Args:
        pair: The image, and the mask as it were called without the class.
        path: The mask.
        name: The class.
        folder: The folder that images do not have; empty if there is none.
    """

    pair: Pair
    path: str
    name: str
    folder: str


def detect(seen: Seen) -> Iterator[Reading]:
    """Yield the readings of masks of which an image has several, each under a name of its own."""
    idrid = [match for name in seen.images if (match := _IDRID.fullmatch(name))]
    if idrid:
        yield from _idrid(seen, idrid)
        return
    for kind, masks in seen.pairing.kinds.items():
        if len(seen.pairing.pairs(kind)) < _HALF * len(masks):
            shape, parts = _most(seen.pairing, kind, masks)
            if shape is not None and _several(parts) and len(parts) >= _NEARLY_ALL * len(masks):
                yield from _readings(seen, kind, shape, parts)


def _idrid(seen: Seen, found: Sequence[re.Match[str]]) -> Iterator[Reading]:
    groups: dict[str, list[str]] = defaultdict(list)
    for match in found:
        groups[match["image"]].append(match[0])
    folders = {match["name"]: match["folder"] for match in found}
    each = {name: f"{_IDRID_MASK}{folder}/{{sample}}_{name}.tif" for name, folder in sorted(folders.items())}
    whole = f"{_IDRID_MASK}{{part}}/{{sample}}_{{class}}.tif"
    classes = _Classes("IDRiD: a mask for each kind of lesion", Strength.STATED, _IDRID_IMAGE, whole, each, groups)
    yield from _of_classes(seen, classes)


def _most(found: Pairing, kind: MaskKind, masks: Sequence[tuple[File, int]]) -> tuple[_Shape | None, list[_Part]]:
    """The shape that most masks have, and these masks."""
    shapes: dict[_Shape, list[_Part]] = defaultdict(list)
    for mask, depth in masks:
        for shape, part in _parts(found, kind, mask, depth):
            shapes[shape].append(part)
    likely = max(shapes, key=lambda one: len(shapes[one]), default=None)
    return (None, []) if likely is None else (likely, shapes[likely])


def _parts(found: Pairing, kind: MaskKind, mask: File, depth: int) -> Iterator[tuple[_Shape, _Part]]:
    """Each way in which a mask may belong to an image when its class is taken away."""
    stem, below = kind.bare(mask.stem), mask.folders[depth + 1 :]
    last = _LAST_WORD.fullmatch(stem)
    names = [(stem, "", ""), *([(last["head"], last["mark"], last["tail"])] if last else [])]
    drops: list[int | None] = [None, *([0] if below else []), *([-1] if len(below) > 1 else [])]
    for head, mark, tail in names:
        for drop in drops:
            if not tail and drop is None:
                continue
            folder = "" if drop is None else below[drop]
            rest = (
                below if drop is None else tuple(one for place, one in enumerate(below) if place != drop % len(below))
            )
            bare = File("", (*mask.folders[: depth + 1], *rest), f"{kind.before}{head}{kind.after}", mask.suffix)
            for image, beside in found.images_of(kind, bare, depth, head):
                pair = Pair(image, bare, depth, beside)
                yield _Shape(beside, drop, mark), _Part(pair, mask.path, tail or folder, folder)


def _several(parts: Sequence[_Part]) -> bool:
    """Whether these are classes: a few names, not numbers alone, and most images have several of them."""
    names = Counter(part.name for part in parts)
    images = Counter(part.pair.image.path for part in parts)
    several = sum(count > 1 for count in images.values())
    told = 2 <= len(names) <= _MOST_CLASSES and not all(name.isdecimal() for name in names)
    return told and min(names.values()) > 1 and several >= _HALF * len(images)


def _readings(seen: Seen, kind: MaskKind, shape: _Shape, parts: Sequence[_Part]) -> Iterator[Reading]:
    pairs = list({part.pair.image.path: part.pair for part in parts}.values())
    patterns = patterns_of(kind, pairs, seen.pairing.images)
    if isinstance(patterns, str):
        yield Reading("a mask for each class", Strength.SHOWN, (_MASKS,), refused=patterns)
        return
    names = sorted({part.name for part in parts})
    rest = _without_sides(names)
    if rest is not None:
        mask = _with(patterns.mask, kind, shape, pairs[0].mask.suffix, "{part}", "{part}")
        yield _of_sides(seen, patterns.image, mask, parts, rest)
        return
    folders = {part.name: part.folder for part in parts}
    folder = "{part}" if shape.mark else "{class}"
    whole = _with(patterns.mask, kind, shape, pairs[0].mask.suffix, folder, "{class}")
    each = {name: _with(patterns.mask, kind, shape, pairs[0].mask.suffix, folders[name], name) for name in names}
    groups: dict[str, list[str]] = defaultdict(list)
    for part in parts:
        groups[part.pair.image.path].append(part.path)
    said = f"a mask for each class ({listed(names)})"
    yield from _of_classes(seen, _Classes(said, Strength.SHOWN, patterns.image, whole, each, groups, bool(kind.folder)))


def _with(mask: str, kind: MaskKind, shape: _Shape, suffix: str, folder: str, name: str) -> str:
    """The pattern of the masks with what stands for the class in it."""
    if shape.dropped is not None:
        folders = mask.split("/")
        folders.insert(folders.index(kind.folder) + 1 if shape.dropped == 0 else len(folders) - 1, folder)
        mask = "/".join(folders)
    end = f"{kind.after}{suffix}"
    return f"{mask[: len(mask) - len(end)]}{shape.mark}{name}{end}" if shape.mark else mask


def _without_sides(names: Sequence[str]) -> list[str] | None:
    """What two names say beside left and right; None if they are no two sides of one thing."""
    told = [words(name) for name in names]
    rests = [[word for word in said if word not in _SIDES] for said in told]
    sides = [set(said) & _SIDES for said in told]
    if len(names) == 2 and rests[0] == rests[1] and sorted(map(sorted, sides)) == [["left"], ["right"]]:
        return [word for word in rests[0] if word.isalpha() and not says_mask(word) and word not in NO_CLASS]
    return None


def _of_sides(seen: Seen, image: str, mask: str, parts: Sequence[_Part], rest: Sequence[str]) -> Reading:
    """The reading of left and right, joined."""
    images = Counter(part.pair.image.path for part in parts)
    alone = sum(count == 1 for count in images.values())
    whole = f"{len(images):,} of {counted(len(seen.pairing.images), 'image has', 'images have')} a mask for each side"
    less = f"{counted(alone, 'image has', 'images have')} a mask of one side only" if alone else ""
    montgomery = all(_MONTGOMERY.fullmatch(part.pair.image.stem) for part in parts)
    said = "Montgomery County chest set: left and right lung" if montgomery else "images with a mask for each side"
    joined = f"{whole}, left and right, whose foreground is joined"
    return Reading(
        said,
        Strength.STATED if montgomery else Strength.SHOWN,
        (
            Finding("target.kind", "masks", joined),
            Finding("data.layout", "image-mask", joined, check=less),
            Finding("data.image", image, "{sample} tells images apart"),
            Finding(
                "data.mask",
                mask,
                joined,
                instead="a side for each class, with {class} in the place of {part} and their names in "
                "target.mask_values",
            ),
        ),
        lesion="lung" if montgomery else rest[0] if len(rest) == 1 else "",
    )


@dataclass(frozen=True)
class _Classes:
    """Masks of which each is of one class.

    Args:
        name: What the reading is called.
        strength: What it rests on.
        image: Pattern of the images.
        whole: Pattern of all masks, with ``{class}``.
        each: Pattern of the masks of each class.
        groups: The masks of each image.
        folder: Whether masks lie apart from the images, so that those of another class are never taken for images.
    """

    name: str
    strength: Strength
    image: str
    whole: str
    each: Mapping[str, str]
    groups: Mapping[str, Sequence[str]]
    folder: bool = True


def _of_classes(seen: Seen, found: _Classes) -> Iterator[Reading]:
    """One reading of all classes where no pixel is of two, and of each class where the user says so or one is."""
    overlapping, looked = seen.overlap(list(found.groups.values()))
    drifting = any(look.drifts for look in seen.mask_looks([name for names in found.groups.values() for name in names]))
    together = bool(looked) and not overlapping and not drifting
    if together:
        yield _whole(found, looked)
    elif not found.folder:
        yield Reading(found.name, found.strength, (_MASKS,), refused=_BESIDE)
        return
    why = f"in {overlapping} of {counted(looked, 'image')} looked into a pixel is of several classes"
    for name, mask in found.each.items():
        said = f"the masks of {name} alone" + ("" if together or not overlapping else f", because {why}")
        yield Reading(
            f"{found.name}: {name} alone",
            found.strength,
            (
                Finding("target.kind", "masks", said),
                Finding("data.layout", "image-mask", said),
                Finding("data.image", found.image, "{sample} tells images apart"),
                Finding("data.mask", mask, said),
            ),
            lesion=name,
            asked="data.mask" if together else "",
        )


def _whole(found: _Classes, looked: int) -> Reading:
    names = list(found.each)
    said = f"{counted(len(names), 'class', 'classes')}, each with files of its own: {listed(names)}"
    apart = (
        f"in {counted(looked, 'image')} looked into no pixel is of two of them; `prepare` refuses those where one is"
    )
    return Reading(
        found.name,
        found.strength,
        (
            Finding("target.kind", "masks", said),
            Finding(
                "target.mask_values",
                {"background": 0, **{name: place for place, name in enumerate(names, start=1)}},
                f"{said}; {apart}",
                check="are these the classes? A class without a file counts as not there",
            ),
            Finding("data.layout", "image-mask", said),
            Finding("data.image", found.image, "{sample} tells images apart"),
            Finding("data.mask", found.whole, said, instead=f"one class alone, such as {found.each[names[0]]}"),
        ),
    )
