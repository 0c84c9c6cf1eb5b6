"""DICOM files of one grey frame, written by pydicom."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian


def write_dicom(path: Path, pixels: np.ndarray, patient: str, *, series: str = "1.2.3", number: int = 0, **header):
    """Write pixels (H, W) of uint8 or uint16; further arguments are attributes by keyword."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bits = 8 * pixels.dtype.itemsize
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"{series}.{number}"
    data.SeriesInstanceUID, data.PatientName, data.PatientID = series, "Doe^Jane", patient
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = *pixels.shape, 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.PixelRepresentation = bits, bits, 0
    for keyword, value in header.items():
        setattr(data, keyword, value)
    data.HighBit = data.BitsStored - 1
    data.PixelData = pixels.tobytes()
    data["PixelData"].VR = "OB" if bits == 8 else "OW"
    data.save_as(path, enforce_file_format=True)
