"""The patterns by which images and masks are found, from images and masks that belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from medloom.data.survey.files import File
from medloom.data.survey.names import common_prefix, is_part, looks_like_people
from medloom.data.survey.pairing import MaskKind, Pair
from medloom.data.survey.people import template
from medloom.wording import counted

__all__ = ["Patterns", "patterns_of"]

_PATIENT, _SPLIT, _FOLDER = "{patient}", "{split}", "{folder}"


@dataclass(frozen=True)
class Patterns:
    """What ``data.image`` and ``data.mask`` are to be.

    Args:
        image: Pattern of the images.
        mask: Pattern of the masks.
        patient: What speaks for the patient in them; empty where there is none.
    """

    image: str
    mask: str
    patient: str = ""


def patterns_of(
    kind: MaskKind, pairs: Sequence[Pair], images: Sequence[File], *, parts: bool = False
) -> Patterns | str:
    """Return the patterns of one kind of masks, or why there are none.

    Args:
        kind: What the masks are called.
        pairs: Masks with their images.
        images: All images, also those without a mask.
        parts: Whether an image may have several masks of this kind, told apart by what ends their names.
    """
    suffixes = Counter((pair.image.suffix, pair.mask.suffix) for pair in pairs).most_common(1)[0][0]
    below = _fields([pair.mask.folders[pair.depth + 1 :] for pair in pairs], [])
    if below is None:
        return "the folders between those of images or masks and the files differ in more than one place"
    above = _fields([pair.mask.folders[: pair.depth] for pair in pairs], below)
    above = _needed(above or [], _loose(pairs, images))
    if not any(kind.bare(pair.mask.stem) for pair in pairs):
        return _one_each(pairs, above, suffixes)
    sample, said = "{sample}", ""
    if above[-1:] == [_PATIENT] and not below and not kind.folder:
        sample = _named_by_patient(kind, pairs, images)
    if _PATIENT in (*above, *below):
        said = f"{counted(_people(pairs, above, below), 'folder')} named as those of patients are"
    else:
        sample, said = _sample([kind.bare(pair.mask.stem) for pair in pairs])
    part = "{part}" if parts else ""
    image = "/".join(
        [*above, *_named(pairs[0].beside), *below, f"{pairs[0].beginning}{sample}{pairs[0].ending}{suffixes[0]}"]
    )
    mask = "/".join([*above, *_named(kind.folder), *below, f"{kind.before}{sample}{kind.after}{part}{suffixes[1]}"])
    return Patterns(image, mask, said)


def _one_each(pairs: Sequence[Pair], above: Sequence[str], suffixes: tuple[str, str]) -> Patterns | str:
    """Patterns where a folder has one image and one mask, called alike in every folder."""
    if not pairs[0].depth:
        return "images and masks are called alike and lie in no folder"
    folders = "/".join(above) if above else "{sample}"
    said = f"{counted(len(pairs), 'folder')} with one image and one mask each"
    names = (f"{pairs[0].image.stem}{suffixes[0]}", f"{pairs[0].mask.stem}{suffixes[1]}")
    return Patterns(f"{folders}/{names[0]}", f"{folders}/{names[1]}", said if _PATIENT in above else "")


def _named_by_patient(kind: MaskKind, pairs: Sequence[Pair], images: Sequence[File]) -> str:
    """The sample's pattern where names begin with the patient's folder and other images there have no mask.

    So ``patient001_frame01`` is found and ``patient001_4d`` beside it is not.
    """
    paired, folders = {pair.image.path for pair in pairs}, {pair.image.folders for pair in pairs}
    others = [file.stem for file in images if file.folders in folders and file.path not in paired]
    stems = [(pair.mask.folders[-1], kind.bare(pair.mask.stem)) for pair in pairs]
    if not others or not all(stem.startswith(folder) for folder, stem in stems):
        return "{sample}"
    rest = common_prefix([stem.removeprefix(folder) for folder, stem in stems])
    return f"{_PATIENT}{rest}{{sample}}" if rest and "{" not in rest else "{sample}"


def _named(folder: str) -> list[str]:
    return [folder] if folder else []


def _fields(folders: Sequence[Sequence[str]], taken: Sequence[str]) -> list[str] | None:
    """What stands for each folder, counted from the inside; None if two that say nothing differ.

    Args:
        folders: Of each pair.
        taken: Fields that are used already.
    """
    depth = min(map(len, folders))
    found: list[str] = []
    for place in range(1, depth + 1):
        names = {names[-place] for names in folders}
        field = _field(names, [*found, *taken])
        if field in (*found, *taken) and field == _FOLDER:
            return found[::-1] if not taken and len(found) else None
        found.append(field)
    return found[::-1]


def _field(names: set[str], taken: Sequence[str]) -> str:
    if len(names) == 1:
        return next(iter(names))
    if all(map(is_part, names)) and _SPLIT not in taken:
        return _SPLIT
    return _PATIENT if looks_like_people(names) and _PATIENT not in taken else _FOLDER


def _loose(pairs: Sequence[Pair], images: Sequence[File]) -> list[File]:
    """Images without a mask in folders that are called like those of the images with one."""
    paired = {pair.image.path for pair in pairs}
    beside = pairs[0].beside
    return [file for file in images if file.path not in paired and (beside in file.folders or not beside)]


def _needed(above: Sequence[str], loose: Sequence[File]) -> list[str]:
    """From the outermost folder on that says something; what stands above says nothing.

    It says whose an image is or in which part, or its name tells the images with masks from those without one.

    Args:
        above: What stands for each folder above images and masks.
        loose: Images without a mask that the pattern would find, too.
    """
    said = [place for place, field in enumerate(above) if field in (_PATIENT, _SPLIT)]
    if loose:
        taken = {folder for file in loose for folder in file.folders}
        apart = [place for place, field in enumerate(above) if "{" not in field and field not in taken]
        said += apart[-1:]
    return list(above[min(said) :]) if said else []


def _people(pairs: Sequence[Pair], above: Sequence[str], below: Sequence[str]) -> int:
    """How many different folders there are in the place of the patient."""
    if _PATIENT in below:
        place = list(below).index(_PATIENT)
        return len({pair.mask.folders[pair.depth + 1 + place] for pair in pairs})
    place = len(above) - list(above).index(_PATIENT)
    return len({pair.mask.folders[pair.depth - place] for pair in pairs})


def _sample(stems: Sequence[str]) -> tuple[str, str]:
    """The part of the name that is the sample, with the patient in it where the numbers say so."""
    found = template(stems)
    if found is None:
        return "{sample}", ""
    before, between = found
    return (
        f"{before}{{patient}}{between}{{sample}}",
        "the first number in the names repeats, as that of a patient with several images does",
    )
