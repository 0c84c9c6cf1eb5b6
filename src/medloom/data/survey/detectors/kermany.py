"""Chest X-Ray Images (Pneumonia) (Kermany et al. 2018): class folders in published parts, patients in the names.

``chest_xray/train/PNEUMONIA/person1_bacteria_2.jpeg``, ``chest_xray/train/NORMAL/IM-0115-0001.jpeg``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from medloom.data.survey.detectors.classes import class_reading
from medloom.data.survey.findings import Finding, Reading, Strength
from medloom.data.survey.names import spread
from medloom.data.survey.seen import Seen
from medloom.wording import counted

__all__ = ["detect"]

_NAME = re.compile(r"person\d+_(?:bacteria|virus)_\d+|(?:NORMAL2-)?IM-\d+-\d+(?:-\d+)?")
_PATIENT = r"(person\d+|(?:NORMAL2-)?IM-\d+)"
_FIRST = 50
_CLASSES = {"NORMAL", "PNEUMONIA"}


def detect(seen: Seen) -> Iterator[Reading]:
    """Yield the reading if nearly all images are named as this set names them, in its two folders."""
    files = seen.files
    if not any(_NAME.fullmatch(file.stem) for file in spread(files, _FIRST)):
        return
    named = [file for file in files if file.folders and file.folders[-1] in _CLASSES and _NAME.fullmatch(file.stem)]
    if len(named) < 0.9 * len(files) or {file.folders[-1] for file in named} != _CLASSES:
        return
    said = f"{counted(len(named), 'file is', 'files are')} named as those of Chest X-Ray Images (Pneumonia)"
    patient = Finding("data.labels.patient_pattern", _PATIENT, f"{said}: person<N>, IM-<N> and NORMAL2-IM-<N>")
    reading = class_reading(files, [patient])
    yield replace(reading, name=f"Chest X-Ray Images (Pneumonia): {reading.name}", strength=Strength.STATED)
