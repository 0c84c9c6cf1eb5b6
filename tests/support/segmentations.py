"""DICOM segmentations written with pydicom: one bit a voxel, several segments, empty frames left out."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import pack_bits
from pydicom.uid import ExplicitVRLittleEndian

__all__ = ["AFFINE", "item", "make_labels", "write_seg"]

AFFINE = np.array([[-0.75, 0, 0, -10], [0, -0.5, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]], np.float64)
BINARY, LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"


def item(**attributes: Any) -> Dataset:
    found = Dataset()
    for name, value in attributes.items():
        setattr(found, name, value)
    return found


def write_seg(
    labels: NDArray[Any],
    *,
    keep_empty: bool = False,
    order: Callable[[int], Iterable[int]] | None = None,
    kind: str = "BINARY",
    stated: bool = True,
    **attributes: Any,
) -> bytes:
    """Write labels (D, H, W) as a segmentation at ``AFFINE``, with the positions of its frames."""
    frames, groups = [], []
    segments = sorted(set(np.unique(labels).tolist()) - {0}) if kind != "LABELMAP" else [0]
    for segment in segments:
        for number, plane in enumerate(labels):
            pixels = plane if kind == "LABELMAP" else plane == segment
            if not pixels.any() and not keep_empty:
                continue
            frames.append(pixels.astype(np.uint8))
            position = [item(ImagePositionPatient=[10, -20, 30 + 2.5 * number])]
            group = item(PlanePositionSequence=position)
            if kind != "LABELMAP":
                group.SegmentIdentificationSequence = [item(ReferencedSegmentNumber=segment)]
            groups.append(group)
    places = list(range(len(frames)) if order is None else order(len(frames)))
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    sop_class = LABEL_MAP if kind == "LABELMAP" else BINARY
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = sop_class
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3.4"
    data.SeriesInstanceUID, data.Modality, data.PatientName = "1.2.3", "SEG", "Doe^Jane"
    data.SegmentationType = kind
    data.SegmentSequence = [item(SegmentNumber=segment, SegmentLabel="Doe^Jane") for segment in segments if segment]
    data.Rows, data.Columns = labels.shape[1:]
    data.NumberOfFrames, data.SamplesPerPixel, data.PhotometricInterpretation = len(frames), 1, "MONOCHROME2"
    bits = 1 if kind == "BINARY" else 8
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits, bits - 1, 0
    measures = item(
        PixelSpacing=[0.5, 0.75], **({"SliceThickness": 2.5, "SpacingBetweenSlices": 2.5} if stated else {})
    )
    data.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            PixelMeasuresSequence=[measures],
        )
    ]
    data.PerFrameFunctionalGroupsSequence = [groups[place] for place in places]
    pixels = np.stack([frames[place] for place in places])
    stored = pack_bits(pixels.ravel()) if bits == 1 else pixels.tobytes()
    data.PixelData = stored + bytes(len(stored) % 2)
    data["PixelData"].VR = "OB"
    for name, value in attributes.items():
        setattr(data, name, value)
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def make_labels(
    seed: int = 0, shape: tuple[int, int, int] = (7, 9, 11), segments: tuple[int, ...] = (1, 2, 5)
) -> NDArray[np.uint8]:
    """Segments that touch neither the first nor the last slice, with an empty slice between."""
    labels = np.random.default_rng(seed).choice((0, *segments), shape, p=(0.7, *[0.1] * len(segments))).astype(np.uint8)
    labels[[0, 3, -1]] = 0
    return labels
