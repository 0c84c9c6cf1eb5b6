"""What the names of files and folders say: their words, their shape, and what stands around the part that differs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

from medloom.data.layouts.base import PART_OF
from medloom.imaging import FORMATS_BY_SUFFIX

__all__ = [
    "common_prefix",
    "common_suffix",
    "extension",
    "is_part",
    "is_store",
    "listed",
    "looks_like_people",
    "mask_affix",
    "says_image",
    "says_mask",
    "slug",
    "spread",
    "with_split",
    "words",
]

T = TypeVar("T")

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")

_MASK_WORDS = frozenset(
    {"annot", "annotation", "annotations", "contour", "contours", "groundtruth", "groundtruths", "gt", "label"}
    | {"labelmap", "labels", "manual", "mask", "masks", "roi", "rois", "seg", "segm", "segmentation", "segmentations"}
    | {"segs", "truth", "vessel", "vessels"}
)
_MAY_SAY_MASK = re.compile("annot|contour|gt|label|manual|mask|roi|seg|truth|vessel", re.IGNORECASE)
"""Found in every word for masks, and much faster than taking a name apart."""

_IMAGE_WORDS = frozenset(
    {"image", "images", "img", "imgs", "input", "inputs", "original", "originals", "photo", "scans"}
)

_CLASS_WORDS = frozenset(
    {
        "birads",
        "cat",
        "category",
        "class",
        "gleason",
        "grade",
        "isup",
        "kl",
        "label",
        "level",
        "pirads",
        "score",
        "severity",
    }
    | {"stage", "tirads", "type"}
)
"""Words before the number of a class."""

_STORE_WORDS = frozenset(
    {
        "batch",
        "center",
        "centre",
        "chunk",
        "cohort",
        "dataset",
        "disc",
        "disk",
        "fold",
        "group",
        "hospital",
        "images",
        "part",
    }
    | {"scanner", "set", "shard", "site", "split", "subset", "vendor", "volume"}
)
"""Words before the number of a folder that holds whatever fits into it, or comes from somewhere."""


def words(text: str) -> list[str]:
    """Return the words and numbers of a name, in lower case.

    Example:
        >>> words("ISIC2018_Task1_Training_GroundTruth"), words("labelsTr")
        (['isic', '2018', 'task', '1', 'training', 'ground', 'truth'], ['labels', 'tr'])
    """
    return [word.lower() for word in _WORD.findall(text)]


def says_mask(text: str) -> bool:
    """Whether a name holds a word for masks."""
    return _MAY_SAY_MASK.search(text) is not None and not _MASK_WORDS.isdisjoint(words(text))


def says_image(text: str) -> bool:
    """Whether a name holds a word for images and none for masks."""
    return not _IMAGE_WORDS.isdisjoint(words(text)) and not says_mask(text)


def is_part(folder: str) -> bool:
    """Whether a folder is called as the parts of a published split are."""
    return folder.lower() in PART_OF


def with_split(folder: str) -> str:
    """Return a folder's name with ``{split}`` in the place of the only word that is the name of a part.

    Example:
        >>> with_split("ISIC2018_Task1_Training_GroundTruth"), with_split("masks")
        ('ISIC2018_Task1_{split}_GroundTruth', 'masks')
    """
    found = [match for match in _WORD.finditer(folder) if is_part(match[0])]
    if len(found) != 1:
        return folder
    return f"{folder[: found[0].start()]}{{split}}{folder[found[0].end() :]}"


def is_store(folders: Collection[str]) -> bool:
    """Whether folders are called as those that hold whatever fits into them, such as ``fold_1`` and ``fold_2``."""
    return all(not _STORE_WORDS.isdisjoint(words(folder)) for folder in folders)


def looks_like_people(folders: Collection[str]) -> bool:
    """Whether folders of these names are rather one for each patient than one for each class or part.

    At least three, not called as parts, and with numbers in nearly all of them or more than classes would be; the
    numbers of classes, such as ``grade_3``, and of sites or folds are none.

    Example:
        >>> looks_like_people(["p1", "p2", "p7"]), looks_like_people(["benign", "malignant", "normal"])
        (True, False)
        >>> looks_like_people(["class_0", "class_1", "class_2"])
        False
    """
    different = set(folders)
    if len(different) < 3 or any(map(is_part, different)) or is_store(different):
        return False
    if all(not _CLASS_WORDS.isdisjoint(words(folder)) for folder in different):
        return False
    numbered = sum(any(mark.isdigit() for mark in folder) for folder in different)
    grades = {folder for folder in different if folder.isdecimal() and len(folder) == 1}
    return (numbered >= 0.8 * len(different) and grades != different) or len(different) > 20


def mask_affix(stem: str) -> tuple[str, str]:
    """Return what begins and what ends a mask's name beside the image's: from its word for masks to the nearer end.

    Example:
        >>> mask_affix("benign (1)_mask_1"), mask_affix("mask_7"), mask_affix("21_manual1")
        (('', '_mask_1'), ('mask_', ''), ('', '_manual1'))
    """
    found = [match for match in _WORD.finditer(stem) if match[0].lower() in _MASK_WORDS]
    if not found:
        return "", ""
    first = found[0]
    if first.start() == 0:
        end = found[-1].end()
        while end < len(stem) and not stem[end].isalnum():
            end += 1
        return stem[:end], ""
    start = first.start()
    if found[0][0].lower() == "truth" and stem[:start].lower().endswith("ground"):
        start -= len("ground")
    while start > 0 and not stem[start - 1].isalnum() and stem[start - 1] != ")":
        start -= 1
    return "", stem[start:]


def common_suffix(stems: Sequence[str]) -> str:
    """Return what all names end with, from a mark between words on; empty where a name would be nothing else.

    Example:
        >>> common_suffix(["21_training", "22_training"]), common_suffix(["a1", "b1"])
        ('_training', '')
    """
    if len(stems) < 2:
        return ""
    turned = [stem[::-1] for stem in stems]
    low, high = min(turned), max(turned)
    length = next((place for place, mark in enumerate(low) if place >= len(high) or high[place] != mark), len(low))
    shared = low[:length][::-1]
    at = re.search(r"[^A-Za-z0-9]", shared)
    return shared[at.start() :] if at else ""


def common_prefix(stems: Sequence[str]) -> str:
    """Return what all names begin with, up to the first number; empty where a name would be nothing else.

    Example:
        >>> common_prefix(["img0001", "img0002"]), common_prefix(["a1", "b1"])
        ('img', '')
    """
    if len(stems) < 2:
        return ""
    low, high = min(stems), max(stems)
    length = next((place for place, mark in enumerate(low) if place >= len(high) or high[place] != mark), len(low))
    found = re.match(r"\D*", low[:length])
    shared = found[0] if found else ""
    return shared if len(shared) < min(map(len, stems)) else ""


def extension(name: str) -> str:
    """Return the suffix of an image file as it is written, such as ``.nii.gz``; empty where there is none."""
    before, dot, last = name.rpartition(".")
    if dot and last.lower() == "gz":
        return name[len(before.rpartition(".")[0]) :] if before.lower().endswith(".nii") else ""
    return f".{last}" if dot and before and f".{last.lower()}" in FORMATS_BY_SUFFIX else ""


def slug(text: str) -> str:
    """Return a name as recipes have them.

    Example:
        >>> slug("Kvasir-SEG (1).zip"), slug("???")
        ('kvasir-seg-1', 'images')
    """
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower().removesuffix(".zip")).strip("-")
    return plain[:63].rstrip("-") or "images"


def spread(items: Sequence[T], most: int) -> list[T]:
    """Return at most so many items, evenly spaced.

    Example:
        >>> spread("abcdefgh", 3)
        ['a', 'd', 'h']
    """
    if len(items) <= most:
        return list(items)
    if most == 1:
        return [items[0]]
    return [items[place * (len(items) - 1) // (most - 1)] for place in range(most)]


def listed(texts: Iterable[str], most: int = 8) -> str:
    """Return words one after the other; of many the first ones."""
    every = list(texts)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")
