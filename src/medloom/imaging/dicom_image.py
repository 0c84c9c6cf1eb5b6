"""A DICOM file that was found to be an image: what its header says of its frames, before any is decoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medloom.errors import DecodeError
from medloom.imaging.checks import check_header
from medloom.imaging.dicom_display import FrameGroups
from medloom.imaging.dicom_elements import DataSet
from medloom.imaging.dicom_file import DicomFile, open_file
from medloom.imaging.dicom_lut import Lut, read_modality_lut, read_palette
from medloom.imaging.dicom_module import PixelModule, check_length, read_pixel_module
from medloom.imaging.dicom_tags import TAGS
from medloom.imaging.types import Budget, Header

__all__ = ["OpenImage", "open_image"]

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class OpenImage:
    """A file that was found to be an image within the budget; no pixel is decoded yet."""

    file: DicomFile
    module: PixelModule
    palette: Lut | None
    modality: Lut | None
    frames: tuple[DataSet, ...]
    shared: DataSet | None

    def groups(self, number: int) -> FrameGroups:
        """Return where the attributes of a frame are, counted from 0."""
        return FrameGroups(self.file.data_set, self.shared, self.frames[number] if self.frames else None)

    def rescale(self, number: int) -> tuple[float, float]:
        """Return slope and intercept of a frame.

        Raises:
            DecodeError: ``non_finite``, or ``corrupt`` for a slope of 0 or one beside a modality lookup table.
        """
        if not self.module.grey:
            return 1.0, 0.0
        groups = self.groups(number)
        slope, intercept = (
            _one(groups.decimals("PixelValueTransformationSequence", keyword), keyword, default)
            for keyword, default in (("RescaleSlope", self.dose_scaling), ("RescaleIntercept", 0.0))
        )
        if slope == 0:
            raise DecodeError("corrupt", "the rescale slope is 0: every pixel would be the same", field="RescaleSlope")
        if self.modality and (slope, intercept) != (1.0, 0.0):
            raise DecodeError(
                "corrupt", "the file has a modality lookup table and a rescale slope; expected one of them",
                field="ModalityLUTSequence",
            )  # fmt: skip
        if not self.module.real and abs(slope) * 2.0**self.module.allocated + abs(intercept) > _LARGEST:
            raise DecodeError("non_finite", "the rescale slope makes pixels infinite", field="RescaleSlope")
        return slope, intercept

    @property
    def dose_scaling(self) -> float:
        """What a stored value of a dose grid is multiplied with; 1 in every other image."""
        data_set = self.file.data_set
        if data_set.text("Modality") != "RTDOSE":
            return 1.0
        return _one(data_set.decimals("DoseGridScaling"), "DoseGridScaling", 1.0)

    def mirror(self, number: int) -> float | None:
        """Return what a value of the file and the one that comes out add up to; None where grey is not inverted."""
        if self.module.photometric != "MONOCHROME1":
            return None
        slope, intercept = self.rescale(number)
        return slope * self.total + 2 * intercept

    @property
    def total(self) -> int:
        """A level of grey and its inverse added up, before a rescale."""
        if self.modality:
            return int(np.iinfo(self.modality.entries.dtype).max)
        return -1 if self.module.signed else 2**self.module.stored - 1

    def header(self, number: int) -> Header:
        """Return the geometry and type that decoding a frame will give."""
        table, dtype = self.palette or self.modality, self.module.dtype
        if self.rescale(number) != (1.0, 0.0):
            dtype = "float64" if dtype == "float64" else "float32"
        if table:
            dtype = table.entries.dtype.name
        channels = 1 if self.module.grey else 3
        return Header("dicom", self.module.rows, self.module.columns, channels, dtype, self.module.frames)


def open_image(data: bytes, budget: Budget) -> OpenImage:
    """Find the elements of a file, and check its frames against the budget before any is decoded.

    Raises:
        DecodeError: If it is cut, damaged, over the budget, or not read.
    """

    def check_pixels(before: DataSet, keyword: str) -> int:
        module = _checked_module(before, keyword, len(data), budget)
        return -(-module.frame_bits * module.frames // 8)

    file = open_file(data, check_pixels)
    data_set = file.data_set
    if "MOSAIC" in data_set.text("ImageType").upper().split("\\"):
        raise DecodeError(
            "unsupported", "the image is a Siemens mosaic: the slices of a volume are tiles of one picture",
            field="ImageType", hint="Take it apart with dcm2niix, which makes a NIfTI volume of it.",
        )  # fmt: skip
    module = _checked_module(data_set, file.pixels, len(data), budget)
    shared = data_set.items("SharedFunctionalGroupsSequence")
    frames = data_set.items("PerFrameFunctionalGroupsSequence")
    if frames and len(frames) != module.frames:
        raise DecodeError(
            "corrupt", f"{len(frames)} frames are described; the header says {module.frames}", field="NumberOfFrames"
        )
    palette = read_palette(data_set) if module.photometric == "PALETTE COLOR" else None
    modality = read_modality_lut(data_set, signed=module.signed) if module.grey else None
    if modality and module.real:
        raise DecodeError(
            "corrupt", "the file has a lookup table for pixels of floating-point numbers", field="ModalityLUTSequence"
        )
    opened = OpenImage(file, module, palette, modality, frames, shared[0] if shared else None)
    check_header(opened.header(0), len(data), budget)
    if file.syntax.kind == "raw" or module.real:
        stored = data_set.elements[TAGS[module.keyword]]
        check_length(module, max(stored.end - stored.start, 0))
    return opened


def _checked_module(data_set: DataSet, keyword: str, encoded_bytes: int, budget: Budget) -> PixelModule:
    module = read_pixel_module(data_set, keyword)
    stored = Header("dicom", module.rows, module.columns, module.samples, module.dtype, module.frames)
    check_header(stored, encoded_bytes, budget)
    return module


def _one(found: tuple[float, ...], keyword: str, default: float) -> float:
    if len(found) > 1:
        raise DecodeError("corrupt", f"{keyword} has {len(found)} values; expected 1", field=keyword)
    return found[0] if found else default
