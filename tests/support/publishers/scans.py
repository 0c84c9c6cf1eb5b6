"""DICOM series with segmentations (DICOM SEG) of them, as archives such as TCIA publish them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from support.dicoms import write_dicom
from support.publishers.facts import SIZE, Facts, Publisher, blob, grey
from support.segmentations import item, write_seg

__all__ = ["DICOM_SEG"]

MEANINGS = ("Liver", "Neoplasm")
SLICES = 5


def segment(number: int, meaning: str):
    code = item(CodeValue=f"T-{number}", CodingSchemeDesignator="SRT", CodeMeaning=meaning)
    return item(SegmentNumber=number, SegmentLabel=meaning.lower(), SegmentedPropertyTypeCodeSequence=[code])


def write_series(folder: Path, patient: str, uid: str, seed: int, **header) -> list[str]:
    """A series in files whose names run against their places; returns the UIDs by place."""
    for number in range(SLICES):
        write_dicom(
            folder / f"1-{SLICES - number:02d}.dcm",
            grey(seed + number).astype(np.uint16) * 8,
            patient,
            series=uid,
            number=number,
            ImagePositionPatient=[10, -20, 30 + 2.5 * number],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[0.5, 0.75],
            SliceThickness=2.5,
            FrameOfReferenceUID=f"{uid}.77",
            StudyInstanceUID=f"{uid}.88",
            Modality="CT",
            **header,
        )
    return [f"{uid}.{number}" for number in range(SLICES)]


def write_scans(root: Path) -> Facts:
    """<patient>/<study>/<series>/1-01.dcm; a SEG in a folder of its own; a second series without one.

    Half of the segmentations number their segments the other way round.
    """
    truth: dict[str, int] = {}
    for patient in range(1, 9):
        name, uid = f"LIVER-{patient:03d}", f"1.2.7.{patient}"
        folder = root / name / "01-01-2001-CT"
        uids = write_series(folder / "3.000000-portal", name, uid, 10 * patient)
        if patient % 4 == 0:
            write_series(folder / "2.000000-native", name, f"{uid}.5", 10 * patient + 5)
        labels = np.zeros((SLICES, SIZE, SIZE), np.uint8)
        for place in range(1, SLICES - 1):
            labels[place] = blob(10 * patient + place)
        labels[2, 20:24, 20:24] = 2
        references = [item(ReferencedSOPInstanceUID=one) for one in uids]
        order = MEANINGS if patient <= 4 else MEANINGS[::-1]
        data = write_seg(
            labels if patient <= 4 else np.array([0, 2, 1], np.uint8)[labels],
            SeriesInstanceUID=f"{uid}.9",
            SOPInstanceUID=f"{uid}.9.1",
            FrameOfReferenceUID=f"{uid}.77",
            PatientID=name,
            SegmentSequence=[segment(number, meaning) for number, meaning in enumerate(order, start=1)],
            ReferencedSeriesSequence=[item(SeriesInstanceUID=uid, ReferencedInstanceSequence=references)],
        )
        where = folder / "300.000000-Segmentation" / "1-1.dcm"
        where.parent.mkdir(parents=True)
        where.write_bytes(data)
        for place in range(SLICES):
            path = (folder / "3.000000-portal" / f"1-{SLICES - place:02d}.dcm").relative_to(root)
            truth[path.as_posix()] = int(labels[place].sum())
    return Facts("masks", ("background", *MEANINGS), 1, 40, 8, values=(0, 1, 2), truth=truth)


DICOM_SEG = Publisher(
    "dicom-seg",
    write_scans,
    {
        "target": {"kind": "masks", "mask_values": {"background": 0, "Liver": 1, "Neoplasm": 2}},
        "data": {"layout": "dicom-seg"},
    },
)
