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
    names: dict[str, int] = {}
    for segments in found:
        for number, segment in sorted(segments.items()):
            names.setdefault(segment.meaning or segment.plain, number)
    classes = _valued({name: number for name, number in names.items() if name.casefold() != "background"})
    said = f"{counted(len(found), 'segmentation')} of {counted(len(looked), 'folder')} that were looked into"
    yield Reading(
        "DICOM images with DICOM segmentations of them",
        Strength.STATED,
        (
            Finding("target.kind", "masks", said),
            Finding(
                "target.mask_values",
                {"background": 0, **classes},
                f"property types of the segments: {counted(len(classes), 'different one')}",
                instead="the labels of single segments, and fewer of them: segments that are not named are background",
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


def _valued(names: dict[str, int]) -> dict[str, int]:
    """The number of each segment as the value of its class, or values from 1 on where two would be the same."""
    different = len(set(names.values())) == len(names) and min(names.values(), default=1) > 0
    return names if different else {name: place for place, name in enumerate(names, start=1)}
