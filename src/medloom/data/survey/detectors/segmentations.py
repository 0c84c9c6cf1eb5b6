"""DICOM series with segmentations of them (DICOM SEG), as archives such as TCIA publish them: the layout ``dicom-seg``.

Series lie in folders of their own, so one file of each folder says what is in it.
"""

from __future__ import annotations

from collections.abc import Iterator

from medloom.data.checks import FILE_ERRORS
from medloom.data.survey.files import Folders
from medloom.data.survey.findings import Finding, Reading, Strength
from medloom.data.survey.names import spread
from medloom.data.survey.seen import Seen
from medloom.imaging.dicom_references import Instance, read_instance
from medloom.wording import counted

__all__ = ["detect"]

_MOST_FOLDERS = 400
_DICOM = (".dcm", ".dicom", "")


def detect(seen: Seen) -> Iterator[Reading]:
    """Yield the reading if a file that stands for its folder is a segmentation."""
    first: dict[Folders, str] = {}
    for file in seen.files:
        if file.suffix.lower() in _DICOM:
            first.setdefault(file.folders, file.path)
    looked = [_instance(seen, path) for path in spread(list(first.values()), _MOST_FOLDERS)]
    found = [instance.segments for instance in looked if instance is not None and instance.segments is not None]
    if not found:
        return
    names: dict[int, str] = {}
    for segments in found:
        for number, segment in segments.items():
            names.setdefault(number, segment.meaning or f"segment-{number}")
    classes = {_distinct(names, number): number for number in sorted(names)}
    said = f"{counted(len(found), 'segmentation')} of {counted(len(looked), 'folder')} that were looked into"
    yield Reading(
        "DICOM images with DICOM segmentations of them",
        Strength.STATED,
        (
            Finding("target.kind", "masks", said),
            Finding(
                "target.mask_values",
                {"background": 0, **classes},
                f"numbers and property types of {counted(len(classes), 'segment')}",
                check="whether there are other segments in other files",
            ),
            Finding("data.layout", "dicom-seg", f"{said}: each says which images it is of"),
        ),
        whole=True,
    )


def _instance(seen: Seen, path: str) -> Instance | None:
    try:
        return read_instance(seen.source.read(path))
    except FILE_ERRORS:
        return None


def _distinct(names: dict[int, str], number: int) -> str:
    """The name of a segment, with its number where another one is called the same."""
    same = list(names.values()).count(names[number]) > 1 or names[number] == "background"
    return f"{names[number]} {number}" if same else names[number]
