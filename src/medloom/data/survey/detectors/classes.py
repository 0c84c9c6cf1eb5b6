"""A folder for each class, with or without ``train``, ``val`` and ``test`` above: the layout ``folder-classes``.

Publishers that are read this way: Kermany's chest X-rays and OCT, COVID-19 radiographs, and plain class folders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from medloom.data.survey.files import File
from medloom.data.survey.findings import Finding, Reading, Strength
from medloom.data.survey.names import is_part, is_store, listed, looks_like_people, says_image, says_mask, words
from medloom.data.survey.people import numbering
from medloom.data.survey.seen import Seen
from medloom.wording import counted

__all__ = ["NEGATIVE", "class_reading", "detect", "negative_first"]

_MOST_CLASSES = 20
_FEWEST_IMAGES = 2
_MOSTLY, _FEW = 0.5, 0.1

NEGATIVE = frozenset(
    {"benign", "control", "controls", "healthy", "negative", "no", "non", "none", "normal", "0", "false"}
)
"""Words of the class that means that nothing was found."""


def detect(seen: Seen) -> Iterator[Reading]:
    """Yield the reading if nearly all images lie in one of a few folders that are no parts and no patients."""
    files = [file for file in seen.files if file.folders]
    inside = [file for file in files if not is_part(file.folders[-1])]
    counts = Counter(file.folders[-1] for file in inside)
    if len(inside) < _MOSTLY * len(files) or not _may_be_classes(counts):
        return
    masks = sum(len(found) for found in seen.pairing.kinds.values())
    reading = class_reading(inside, list(_patient_findings(inside)))
    outside = len(seen.files) - len(files)
    refused = _below_people(inside) or _nested(inside, counts, outside)
    refused = refused or _why_not(counts, len(files) - len(inside), masks)
    yield replace(reading, refused=refused)


def _below_people(files: Sequence[File]) -> str:
    """Why the innermost folders may be series or visits of patients instead of classes."""
    deepest = max(len(file.folders) for file in files)
    for place in range(2, deepest + 1):
        names = {file.folders[-place] for file in files if len(file.folders) >= place}
        if looks_like_people(names):
            people = counted(len(names), "folder")
            return (
                f"they lie below {people} named as those of patients are, and may be series or visits. If they are "
                "classes, write the recipe by hand, with data.labels.patient_pattern and a slash in it for the patient"
            )
    return ""


def _nested(files: Sequence[File], counts: Counter[str], outside: int) -> str:
    """Why not all images are in a folder of a class: some are further down, as thumbnails are, or in none."""
    inner = sum(len(file.folders) > 1 and file.folders[-2] in counts for file in files)
    if inner:
        return f"{counted(inner, 'image lies', 'images lie')} in a folder inside of another one that holds images"
    if outside > _FEW * len(files):
        return f"{counted(outside, 'image lies', 'images lie')} in no folder, and so without a class"
    return ""


def _why_not(counts: Counter[str], straight: int, masks: int) -> str:
    """Why folders that may be classes cannot be read as such; empty if they can."""
    if masks:
        return f"{counted(masks, 'mask lies', 'masks lie')} among the images of the classes"
    if straight:
        lie = counted(straight, "image lies", "images lie")
        return f"{lie} straight in a folder such as test, without a class; move what has no class elsewhere"
    if len(counts) > _MOST_CLASSES:
        return (
            f"there are {len(counts)} folders; if they are classes, write the recipe by hand with data.layout: "
            "folder-classes and target.kind: multi-class"
        )
    return ""


def class_reading(files: Sequence[File], patient: Sequence[Finding]) -> Reading:
    """Return the reading of images whose folder is their class.

    Args:
        files: The images.
        patient: What says whose they are.
    """
    inside = [file for file in files if file.folders]
    return Reading(
        "a folder for each class",
        Strength.NAMED,
        (*_class_findings(Counter(file.folders[-1] for file in inside)), *patient),
    )


def _may_be_classes(counts: Counter[str]) -> bool:
    if len(counts) < 2 or min(counts.values()) < _FEWEST_IMAGES:
        return False
    if is_store(counts) or (len(counts) <= _MOST_CLASSES and looks_like_people(counts)):
        return False
    if len(counts) > _MOST_CLASSES and any(mark.isdigit() for name in counts for mark in name):
        return False
    if all(map(says_mask, counts)):  # label_0, label_1
        return True
    return not any(says_mask(name) or says_image(name) for name in counts)


def _class_findings(counts: Counter[str]) -> Iterator[Finding]:
    said = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
    yield Finding("target.kind", "auto", f"{counted(len(counts), 'folder')} of images")
    if len(counts) == 2:
        names, clear = negative_first(sorted(counts))
        check = "" if clear else f"{names[1]} counts as the positive class; if it is {names[0]}, exchange the two"
        yield Finding("target.classes", names, said, check=check)
    yield Finding(
        "data.layout",
        "folder-classes",
        f"every image lies in one of {counted(len(counts), 'folder')}: {listed(sorted(counts))}",
        check="are these folders the classes?",
    )


def negative_first(names: Sequence[str]) -> tuple[list[str], bool]:
    """Put the class first that means that nothing was found; say whether one of two does.

    Example:
        >>> negative_first(["COVID", "Normal"])
        (['Normal', 'COVID'], True)
    """
    negative = [name for name in names if not NEGATIVE.isdisjoint(words(name))]
    if len(negative) != 1:
        return list(names), False
    return [*negative, *(name for name in names if name not in negative)], True


def _patient_findings(files: Sequence[File]) -> Iterator[Finding]:
    found = numbering([file.stem for file in files])
    if found is not None:
        yield Finding(
            "data.labels.patient_pattern",
            found.pattern,
            f"a number in {found.images:,} of {counted(len(files), 'file name')} repeats as that of a patient with "
            f"several images does: {counted(found.patients, 'patient')}",
            check="is it the patient? The publisher's description says so; too coarse a group is harmless",
        )
