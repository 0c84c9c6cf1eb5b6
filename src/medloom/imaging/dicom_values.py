"""One frame of a DICOM image, in the values that the file says they mean.

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

import numpy as np

from medloom.errors import DecodeError
from medloom.imaging.dicom_display import FrameGroups, table_of, window_of
from medloom.imaging.dicom_frames import read_frame
from medloom.imaging.dicom_image import OpenImage
from medloom.imaging.dicom_lut import Lut, apply_lut
from medloom.imaging.dicom_module import PixelModule
from medloom.imaging.dicom_padding import find_padding, is_lossy, without_padding
from medloom.imaging.places import directions_of
from medloom.imaging.types import DisplayTable, Image, Pixels

__all__ = ["decode_frame"]

_ROWS_AT_A_TIME = 256
_OVERSHOOT = 8  # lossy compression moves pixels beyond their range by less than this part of it; more is damage


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
        directions=directions, value_range=_value_range(opened, number),
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


def _value_range(opened: OpenImage, number: int) -> tuple[float, float] | None:
    """Return the values that the stored bits stand for; None where the type of the pixels could hold no others."""
    module = opened.module
    if not module.grey or module.real or opened.modality:
        return None
    (slope, intercept), ends = opened.rescale(number), _limits(module)
    if (slope, intercept) == (1.0, 0.0) and not module.signed and module.stored == module.allocated:
        return None
    low, high = sorted(end * slope + intercept for end in ends)
    return low, high


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
