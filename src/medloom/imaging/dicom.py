"""DICOM images: one frame of a file, in the values that the file says they mean.

What comes out: stored bits that are unused are gone and signs are extended. MONOCHROME1, where large is dark, is
inverted within the stored bits, so that it equals the MONOCHROME2 image of the same scene. A rescale slope and
intercept are applied (float32, or float64 to pixels of float64; an identity keeps the stored type), or a modality
lookup table (then MONOCHROME1 is inverted within the bits of its entries). Pixels that are padding become the smallest
value of those that are not, so that they neither stretch the range nor fall out of it. Palettes are expanded and YBR
becomes RGB. A dose grid is scaled to its unit. No window is applied; what the file suggests is in `Image.window` and
`Image.table`, for `medloom.imaging.apply_window`.

Source: DICOM PS3.3, sections C.7.6.3 (Image Pixel), C.7.6.24 and C.7.6.25 (floating-point pixels), C.7.6.16 (functional
groups), C.7.5.1.1.2 (padding), C.11.1 (Modality LUT) and 10.7.1.3 (spacing).
"""

from __future__ import annotations

from dataclasses import dataclass

import imagecodecs
import numpy as np

from medloom.errors import DecodeError
from medloom.imaging.checks import check_header, choose_page
from medloom.imaging.dicom_display import FrameGroups, table_of, window_of
from medloom.imaging.dicom_elements import TAGS, DataSet
from medloom.imaging.dicom_file import MAGICS, DicomFile, open_file, transfer_syntaxes
from medloom.imaging.dicom_frames import PixelModule, check_length, read_frame, read_pixel_module
from medloom.imaging.dicom_lut import Lut, apply_lut, read_modality_lut, read_palette
from medloom.imaging.dicom_padding import find_padding, is_lossy, without_padding
from medloom.imaging.geometry import Grid
from medloom.imaging.places import directions_of, grids_of
from medloom.imaging.types import Budget, DisplayTable, Format, Header, Image, Pixels

__all__ = [
    "FORMAT", "OpenImage", "codec", "decode", "decode_frame", "inspect",
    "open_image",
]  # fmt: skip

_LARGEST = float(np.finfo(np.float32).max)
_ROWS_AT_A_TIME = 256
_OVERSHOOT = 8  # lossy compression moves pixels beyond their range by less than this part of it; more is damage


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


def codec() -> str:
    """Name and version of what decodes it."""
    return f"imagecodecs {imagecodecs.__version__} ({len(transfer_syntaxes())} transfer syntaxes)"


def inspect(data: bytes, budget: Budget, /) -> Header:
    """Step over every element, and check the first frame against the budget."""
    return open_image(data, budget).header(0)


def decode(data: bytes, page: int | None, budget: Budget, /) -> Image:
    """Return one frame."""
    opened = open_image(data, budget)
    return decode_frame(opened, choose_page(page, opened.module.frames))


def is_volume(data: bytes, budget: Budget, /) -> bool:
    """Return whether it has several frames, and they are the slices of a volume."""
    from medloom.imaging.series import are_slices  # stands on this module

    return are_slices(open_image(data, budget))


def grids(data: bytes, budget: Budget, /) -> tuple[Grid, ...]:
    """Return where each frame lies; empty where one does not say."""
    return grids_of(open_image(data, budget))


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


def decode_frame(opened: OpenImage, number: int) -> Image:
    """Return the frame with a number, counted from 0, of a file that was opened."""
    module = opened.module
    stored, colours = read_frame(opened.file, module, number)
    notes = list(opened.file.notes)
    if module.grey:
        pixels = _values(stored, opened, number, notes)
    elif opened.palette:
        pixels = _expanded(stored, opened.palette)
        notes.append("palette expanded")
    elif colours in ("YBR_FULL", "YBR_FULL_422"):
        pixels = _rgb_from_ybr(stored)
    elif colours == "RGB":
        pixels = stored
    else:
        raise DecodeError("unsupported", f"{colours} is read in JPEG 2000 only", field="PhotometricInterpretation")
    if module.photometric.startswith("YBR"):
        notes.append("YBR converted to RGB")
    spacing_mm = _spacing_mm(opened.groups(number), notes)
    window, table = _shown(opened, number, notes) if module.grey else (None, None)
    pixels = np.require(pixels, requirements=["C", "W"])
    header = opened.header(number)
    if pixels.shape != header.shape or pixels.dtype != header.dtype:
        raise DecodeError("corrupt", f"the image decodes to {pixels.dtype} {pixels.shape}, not what its header says")
    affine, directions = directions_of(opened, number, notes)
    return Image(
        pixels, "dicom", spacing_mm, tuple(notes), window=window, table=table, affine=affine,
        directions=directions,
    )  # fmt: skip


def _values(stored: Pixels, opened: OpenImage, number: int, notes: list[str]) -> Pixels:
    """Turn stored levels of grey into the values that they stand for."""
    if opened.file.syntax.lossy:
        stored = _within_bits(stored, opened.module, notes)
    data_set = opened.file.data_set
    lossy = is_lossy(data_set, syntax=opened.file.syntax.lossy)
    padding = find_padding(stored, data_set, opened.module, lossy=lossy)
    slope, intercept = opened.rescale(number)
    if opened.modality:
        stored = apply_lut(stored, opened.modality)
        notes.append("modality lookup table applied")
    if opened.module.photometric == "MONOCHROME1":
        stored = _inverted(stored, opened)
        notes.append("MONOCHROME1 inverted")
    pixels = stored
    if (slope, intercept) != (1.0, 0.0):
        pixels = _rescaled(stored, slope, intercept)
        notes.append(
            "dose scaled by the file's grid scaling"
            if opened.dose_scaling == slope != 1
            else "rescaled by slope and intercept"
        )
    if padding is not None:
        notes.append(without_padding(pixels, padding))
    return pixels


def _within_bits(stored: Pixels, module: PixelModule, notes: list[str]) -> Pixels:
    """Clip pixels that lossy compression moved a little beyond the stored bits; what is far beyond stays as it is."""
    low, high = _limits(module)
    beyond = max(low - int(stored.min()), int(stored.max()) - high)
    if beyond <= 0 or beyond * _OVERSHOOT > high - low:
        return stored
    notes.append(f"pixels that lossy compression moved beyond {module.stored} bits clipped")
    return stored.clip(low, high)


def _limits(module: PixelModule) -> tuple[int, int]:
    """Return the smallest and largest number of the stored bits."""
    largest: int = 2 ** (module.stored - module.signed) - 1
    return -largest - 1 if module.signed else 0, largest


def _inverted(stored: Pixels, opened: OpenImage) -> Pixels:
    module = opened.module
    low, high = _limits(module)
    if not opened.modality and not low <= int(stored.min()) <= int(stored.max()) <= high:
        raise DecodeError("corrupt", f"a pixel needs more than {module.stored} bits", field="BitsStored")
    inverted: Pixels = stored.dtype.type(opened.total) - stored
    return inverted


def _rescaled(stored: Pixels, slope: float, intercept: float) -> Pixels:
    """Compute in float64 and round once; by rows, so that the wide numbers take little memory."""
    pixels = np.empty(stored.shape, np.float64 if stored.dtype == np.float64 else np.float32)
    for top in range(0, len(stored), _ROWS_AT_A_TIME):
        rows = slice(top, top + _ROWS_AT_A_TIME)
        with np.errstate(over="ignore", invalid="ignore"):  # of floating-point pixels; infinity is dealt with as such
            pixels[rows] = stored[rows] * np.float64(slope) + np.float64(intercept)
    return pixels


def _expanded(stored: Pixels, palette: Lut) -> Pixels:
    lowest, highest = int(stored.min()) - palette.first, int(stored.max()) - palette.first
    if lowest < 0 or highest >= len(palette.entries):
        raise DecodeError(
            "corrupt", f"a pixel has no colour: the palette has {len(palette.entries)}",
            field="RedPaletteColorLookupTableDescriptor",
        )  # fmt: skip
    colours: Pixels = palette.entries[stored[..., 0] - stored.dtype.type(palette.first)]
    return colours


def _rgb_from_ybr(stored: Pixels) -> Pixels:
    """Convert YBR_FULL by the equations of PS3.3, section C.7.6.3.1.2."""
    pixels = np.empty_like(stored)
    for top in range(0, len(stored), _ROWS_AT_A_TIME):
        rows = slice(top, top + _ROWS_AT_A_TIME)
        luma, blue, red = (stored[rows, :, number].astype(np.float32) for number in range(3))
        blue, red = blue - 128, red - 128
        colours = (luma + 1.402 * red, luma - 0.344136286 * blue - 0.714136286 * red, luma + 1.772 * blue)
        pixels[rows] = np.stack(colours, axis=-1).round().clip(0, 255)
    return pixels


def _one(found: tuple[float, ...], keyword: str, default: float) -> float:
    if len(found) > 1:
        raise DecodeError("corrupt", f"{keyword} has {len(found)} values; expected 1", field=keyword)
    return found[0] if found else default


def _spacing_mm(groups: FrameGroups, notes: list[str]) -> tuple[float, float] | None:
    """Return the spacing in the patient; failing that, the one at the detector or on the film, with a note."""
    found = groups.decimals("PixelMeasuresSequence", "PixelSpacing")
    if len(found) == 2 and not any(found):
        notes.append("a pixel spacing of 0 is taken for unknown")
        found = ()
    if not found:
        for keyword, text in (
            ("ImagerPixelSpacing", "spacing was measured at the detector, not in the patient"),
            ("NominalScannedPixelSpacing", "spacing was measured on the film, not in the patient"),
        ):
            found = groups.data_set.decimals(keyword)
            if found:
                notes.append(text)
                break
    if not found:
        return None
    if len(found) != 2 or min(found) <= 0:
        raise DecodeError("corrupt", "the pixel spacing is not two numbers above 0", field="PixelSpacing")
    return found[0], found[1]


def _shown(opened: OpenImage, number: int, notes: list[str]) -> tuple[tuple[float, float] | None, DisplayTable | None]:
    """Return the window and the table that the file suggests, in the values that come out."""
    groups, mirror = opened.groups(number), opened.mirror(number)
    signed = opened.module.signed or opened.rescale(number)[1] < 0
    return window_of(groups, mirror, notes), table_of(groups, mirror, notes, signed=signed)


FORMAT = Format(
    name="dicom",
    magics=MAGICS,
    suffixes=(".dcm", ".dicom"),
    content_types=("application/dicom",),
    codec=codec,
    inspect=inspect,
    decode=decode,
    is_volume=is_volume,
    grids=grids,
)
