"""Pictures with masks as Pascal VOC lays them out, and labelme and CVAT after it.

``JPEGImages/x.jpg`` and ``SegmentationClass/x.png``, a palette whose indices are the classes, or of CVAT a picture in
the colours of ``labelmap.txt``. ``SegmentationObject`` tells objects apart and not classes; labelme also writes arrays
and drawings. Names of classes are in ``class_names.txt`` (labelme) and ``labelmap.txt`` (CVAT).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from medloom.data.survey.detectors.pairs import pattern_reading
from medloom.data.survey.findings import Finding, Reading, Strength
from medloom.data.survey.seen import Seen
from medloom.wording import counted

__all__ = ["detect"]

_FOLDER, _IMAGES = "SegmentationClass", "JPEGImages"
_COLOUR = re.compile(r"([^:#]+):(\d{1,3}),(\d{1,3}),(\d{1,3}):")
_VOID = "ignore"

_VOC = [
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]
"""Classes of Pascal VOC in the order of their indices."""


def detect(seen: Seen) -> Iterator[Reading]:
    """Yield the reading if there are masks in ``SegmentationClass``."""
    for kind in [one for one in seen.pairing.kinds if one.folder == _FOLDER]:
        found = seen.pairing.candidates(kind)
        own = [pairs for pairs in found if pairs[0].beside == _IMAGES]
        for pairs in own or found:
            yield _reading(seen, pattern_reading(seen.pairing, kind, pairs))


def _reading(seen: Seen, reading: Reading) -> Reading:
    beside = "SegmentationObject, which tells objects apart, and arrays or drawings of the same masks"
    findings = [replace(one, instead=beside) if one.key == "data.mask" else one for one in reading.findings]
    return replace(
        reading,
        name="images with a mask each, as Pascal VOC, labelme and CVAT write them",
        strength=Strength.STATED,
        findings=(*findings, *_classes(seen)),
    )


def _classes(seen: Seen) -> Iterator[Finding]:
    for name in seen.names:
        file = name.rpartition("/")[2]
        if file == "class_names.txt" and (lines := _lines(seen, name)):
            yield _values(lines, f"class_names.txt names {counted(len(lines), 'class', 'classes')}")
            return
        if file == "labelmap.txt" and (colours := _colours(_lines(seen, name))):
            yield from _coloured(colours)
            return
    if any(name.startswith("VOC") or "/VOC" in name for name in seen.names):
        yield _values(_VOC, "the 20 classes of Pascal VOC, whose folders are called so")
        yield Finding("target.ignore", 255, "Pascal VOC draws the borders of objects with 255")


def _lines(seen: Seen, name: str) -> list[str]:
    text = seen.text(name) or ""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("__ignore__")]


def _values(names: list[str], said: str) -> Finding:
    return Finding("target.mask_values", {name: place for place, name in enumerate(names)}, f"{said}, in order from 0")


def _colours(lines: list[str]) -> dict[str, list[int]]:
    found = (match for line in lines if (match := _COLOUR.match(line)))
    return {match[1]: [int(match[2]), int(match[3]), int(match[4])] for match in found}


def _coloured(colours: dict[str, list[int]]) -> Iterator[Finding]:
    """Classes by their colours, the one that is black or called so first."""
    names = sorted(
        (name for name in colours if name != _VOID), key=lambda name: (any(colours[name]), name != "background")
    )
    ordered = [*names[:1], *(name for name in colours if name in names[1:])]
    said = f"labelmap.txt names {counted(len(colours), 'colour')}"
    yield _values(ordered, said)
    yield Finding("target.mask_colours", colours, said)
