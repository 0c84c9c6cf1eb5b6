"""What a DICOM file says of its pixels: size, samples, bits and colours, checked before memory is allocated.

Source: DICOM PS3.3, section C.7.6.3.
"""

from __future__ import annotations

from dataclasses import dataclass

from medloom.errors import DecodeError
from medloom.imaging.dicom_elements import DataSet

__all__ = ["YBR", "PixelModule", "check_length", "read_pixel_module"]

YBR = ("YBR_FULL", "YBR_FULL_422")
"""Colours that are stored as brightness and two differences, at full or at half the width."""

_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_COLOURS = ("RGB", *YBR, "YBR_ICT", "YBR_RCT")


@dataclass(frozen=True)
class PixelModule:
    """The attributes that say how samples are stored, found to be consistent."""

    rows: int
    columns: int
    samples: int
    photometric: str
    planar: bool
    allocated: int
    stored: int
    high: int
    signed: bool
    frames: int
    keyword: str = "PixelData"

    @property
    def real(self) -> bool:
        """Whether samples are floating-point numbers."""
        return self.keyword != "PixelData"

    @property
    def dtype(self) -> str:
        """NumPy name of the type that holds a sample."""
        if self.real:
            return f"float{self.allocated}"
        return f"{'' if self.signed else 'u'}int{max(self.allocated, 8)}"

    @property
    def grey(self) -> bool:
        """Whether a sample is a level of grey, and not a colour or an index of one."""
        return self.photometric in ("MONOCHROME1", "MONOCHROME2")

    @property
    def halved(self) -> bool:
        """Whether two pixels share their colour, as YBR_FULL_422 is stored when it is not compressed."""
        return self.photometric == "YBR_FULL_422"

    @property
    def frame_bits(self) -> int:
        """Length of one frame that is not compressed."""
        return self.rows * self.columns * (2 if self.halved else self.samples) * self.allocated


def read_pixel_module(data_set: DataSet, keyword: str = "PixelData") -> PixelModule:
    """Read how samples are stored, or say what about it is not read.

    Args:
        data_set: What holds the pixels.
        keyword: Which element holds them.

    Raises:
        DecodeError: ``corrupt`` or ``unsupported``.
    """
    allocated = data_set.integer("BitsAllocated")
    if keyword != "PixelData":
        return _real_module(data_set, keyword, allocated)
    stored = data_set.integer("BitsStored", allocated)
    representation = data_set.integer("PixelRepresentation", 0)
    module = PixelModule(
        rows=data_set.integer("Rows"),
        columns=data_set.integer("Columns"),
        samples=data_set.integer("SamplesPerPixel", 1),
        photometric=data_set.text("PhotometricInterpretation"),
        planar=data_set.integer("PlanarConfiguration", 0) == 1,
        allocated=allocated,
        stored=stored,
        high=data_set.integer("HighBit", max(stored, 1) - 1),
        signed=representation == 1 and allocated > 1,
        frames=data_set.count("NumberOfFrames"),
    )
    _check_module(module, representation)
    return module


def _real_module(data_set: DataSet, keyword: str, allocated: int) -> PixelModule:
    """Read the module of floating-point pixels: one sample a pixel, and all of its bits are stored."""
    samples, photometric = data_set.integer("SamplesPerPixel", 1), data_set.text("PhotometricInterpretation")
    if allocated != (32 if keyword == "FloatPixelData" else 64):
        raise DecodeError("corrupt", f"{keyword} has {allocated} bits a sample", field="BitsAllocated")
    if (samples, photometric) != (1, "MONOCHROME2"):
        raise DecodeError(
            "unsupported", "floating-point pixels are read as one sample of MONOCHROME2 only",
            field="PhotometricInterpretation",
        )  # fmt: skip
    rows, columns, frames = data_set.integer("Rows"), data_set.integer("Columns"), data_set.count("NumberOfFrames")
    return PixelModule(
        rows, columns, samples, photometric, planar=False, allocated=allocated, stored=allocated, high=allocated - 1,
        signed=False, frames=frames, keyword=keyword,
    )  # fmt: skip


def _check_module(module: PixelModule, representation: int) -> None:
    if module.allocated not in (1, 8, 16, 32):
        raise DecodeError(
            "unsupported", f"samples of {module.allocated} bits are not read; expected 1, 8, 16 or 32",
            field="BitsAllocated",
        )  # fmt: skip
    if not 1 <= module.stored <= module.high + 1 <= module.allocated or representation > 1:
        raise DecodeError(
            "corrupt", f"{module.stored} bits up to bit {module.high} do not fit into {module.allocated}",
            field="BitsStored",
        )  # fmt: skip
    if module.photometric not in (_GREY if module.samples == 1 else _COLOURS if module.samples == 3 else ()):
        raise DecodeError(
            "unsupported", f"{module.samples} samples a pixel are not read with this photometric interpretation",
            field="PhotometricInterpretation", hint="Export it as MONOCHROME2 or RGB.",
        )  # fmt: skip
    if module.photometric in YBR and (module.allocated, module.signed) != (8, False):
        raise DecodeError("unsupported", "YBR is read with 8 bits only", field="BitsAllocated")
    if module.photometric == "PALETTE COLOR" and (module.allocated not in (8, 16) or module.signed):
        raise DecodeError("unsupported", "a palette is read with 8 or 16 bits without sign only", field="BitsAllocated")


def check_length(module: PixelModule, length: int) -> None:
    """Compare the length of pixels that are not compressed with what the header says; one byte may pad it.

    Raises:
        DecodeError: ``corrupt`` for a byte less or more.
    """
    expected = -(-module.frame_bits * module.frames // 8)
    if length not in (expected, expected + expected % 2):
        raise DecodeError(
            "corrupt", f"there are {length} bytes of pixels; the header says {expected}", field=module.keyword,
            hint="Rows, Columns, NumberOfFrames or BitsAllocated may be wrong. Export it again.",
        )  # fmt: skip
