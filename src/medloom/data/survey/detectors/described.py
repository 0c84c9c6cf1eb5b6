"""Sets that a ``dataset.json`` describes: the Medical Segmentation Decathlon, and nnU-Net's raw data."""

from __future__ import annotations

from collections.abc import Iterator

from medloom.data.layouts.description import Description, read_description
from medloom.data.survey.files import File
from medloom.data.survey.findings import Finding, Reading, Strength
from medloom.data.survey.people import numbering
from medloom.data.survey.seen import Seen
from medloom.errors import DataError
from medloom.wording import counted

__all__ = ["detect"]

_FILE = "dataset.json"
_NAME = "a set that its dataset.json describes (Medical Segmentation Decathlon, nnU-Net)"
_MASKS = Finding("target.kind", "masks", "imagesTr and labelsTr beside dataset.json")


def detect(seen: Seen) -> Iterator[Reading]:
    """Yield the reading for a ``dataset.json`` beside ``imagesTr`` or ``labelsTr``."""
    found = [name for name in seen.names if name.rpartition("/")[2] == _FILE]
    if not found or not any("labelsTr" in file.folders for file in seen.files):
        return
    if len(found) > 1:
        reason = f"there are {len(found)} of them; name the folder of one set"
        yield Reading(_NAME, Strength.STATED, (_MASKS,), refused=reason)
        return
    try:
        described = read_description((seen.text(found[0]) or "").encode())
    except DataError as error:
        yield Reading(_NAME, Strength.STATED, (_MASKS,), refused=error.summary)
        return
    yield Reading(_NAME, Strength.STATED, tuple(_findings(seen, described)))


def _findings(seen: Seen, described: Description) -> Iterator[Finding]:
    said = f"dataset.json names {counted(len(described.channels), 'channel')}"
    yield _MASKS
    yield Finding("data.layout", "dataset-json", "dataset.json says which files belong together")
    yield Finding("data.channels", list(described.channels), said)
    yield Finding("target.mask_values", dict(described.labels), "as labels of dataset.json says")
    if described.ignored is not None:
        yield Finding("target.ignore", described.ignored, "dataset.json calls it ignore")
    cases = [File.of(file.path).stem for file in seen.files if "labelsTr" in file.folders]
    people = numbering(cases)
    if people is not None:
        yield Finding(
            "data.patient_pattern",
            people.pattern,
            f"a number in {people.images:,} names of cases repeats as that of a patient does: "
            f"{counted(people.patients, 'patient')}",
            check="is it the patient?",
        )
