"""DICOM images as segmentations are made of them: of a study, with a place in the patient, alone or as a series."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from support.dicoms import write_dicom
from support.segmentations import item

__all__ = ["AXIAL", "ENHANCED", "PLACE", "RADIOGRAPH", "STUDY", "make_enhanced", "make_image", "make_series", "zipped"]

STUDY: dict[str, Any] = {
    "StudyInstanceUID": "1.2.3.4.5",
    "PatientBirthDate": "19700101",
    "PatientSex": "F",
    "StudyDate": "20200102",
    "StudyTime": "101112",
    "AccessionNumber": "A1",
    "StudyID": "S1",
    "ReferringPhysicianName": "Ref^Erring",
    "Modality": "MR",
}
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
PLACE: dict[str, Any] = {
    "FrameOfReferenceUID": "1.2.9",
    "ImageOrientationPatient": list(AXIAL),
    "ImagePositionPatient": [-10.0, 20.0, 30.0],
    "PixelSpacing": [0.5, 0.75],
    "SliceThickness": 2.5,
}
RADIOGRAPH: dict[str, Any] = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1",
    "Modality": "CR",
    "PatientOrientation": ["L", "F"],
    "PhotometricInterpretation": "MONOCHROME1",
}
ENHANCED = "1.2.840.10008.5.1.4.1.1.4.1"


def make_image(folder: Path, pixels: NDArray[Any], *, place: dict[str, Any] = PLACE, **header: Any) -> bytes:
    """Return an image of one frame; ``place`` may be empty."""
    path = folder / "image.dcm"
    write_dicom(path, pixels, "P-1", **{**STUDY, **place, **header})
    return path.read_bytes()


def make_series(
    folder: Path, voxels: NDArray[Any], *, cosines: Sequence[float] = AXIAL, order: Sequence[int] | None = None
) -> list[bytes]:
    """Return the files of a series; slice ``k`` of ``voxels`` (D, H, W) lies ``2.5 * k`` mm along the normal."""
    normal = np.cross(cosines[:3], cosines[3:])
    files = []
    for number in order or range(len(voxels)):
        position = np.array([-10.0, 20.0, 30.0]) + 2.5 * number * normal
        place = {
            **PLACE,
            "ImageOrientationPatient": list(map(float, cosines)),
            "ImagePositionPatient": [round(float(one), 6) for one in position],
        }
        files.append(make_image(folder, voxels[number], place=place, number=number + 1, InstanceNumber=len(files) + 1))
    return files


def zipped(files: Sequence[bytes]) -> bytes:
    """Return files in a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, data in enumerate(files):
            archive.writestr(f"{number}.dcm", data)
    return buffer.getvalue()


def make_enhanced(folder: Path, frames: NDArray[Any], heights: Sequence[int]) -> bytes:
    """Return one file of several frames (N, H, W); frame ``n`` lies at ``heights[n]``, in steps of 3 mm."""
    data: Dataset = dcmread(io.BytesIO(make_image(folder, frames[0])))
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(data, keyword)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = ENHANCED
    data.NumberOfFrames, data.PixelData = len(frames), frames.tobytes()
    data["PixelData"].VR = "OW"
    measures = item(PixelSpacing=[0.5, 0.75], SliceThickness=3.0)
    orientation = item(ImageOrientationPatient=list(AXIAL))
    data.SharedFunctionalGroupsSequence = [
        item(PlaneOrientationSequence=[orientation], PixelMeasuresSequence=[measures])
    ]
    data.PerFrameFunctionalGroupsSequence = [
        item(PlanePositionSequence=[item(ImagePositionPatient=[0.0, 0.0, 3.0 * height])]) for height in heights
    ]
    buffer = io.BytesIO()
    data.save_as(buffer)
    return buffer.getvalue()
