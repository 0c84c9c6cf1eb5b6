"""An image on its way to the network: what comes in, what decodes it, and what the network sees of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medloom.imaging import DEFAULT_BUDGET, Budget, Image, Volume
from medloom.imaging.canonical import AS_STORED, Turn
from medloom.imaging.dicom_sources import Sources
from medloom.inference.metadata import MetadataGaps
from medloom.transforms.preprocess import Preprocess

__all__ = ["Decoder", "Input", "Prepared", "SourceReader", "VolumeDecoder"]

Floats32 = NDArray[np.float32]
Input = str | Path | bytes | Image | NDArray[Any]


class Decoder(Protocol):
    """What turns bytes into an image: `medloom.imaging.decode`, or it behind a fence."""

    def __call__(
        self,
        data: bytes,
        /,
        *,
        content_type: str | None = None,
        page: int | None = None,
        budget: Budget = DEFAULT_BUDGET,
        at_least: tuple[int, int] | None = None,
    ) -> Image:
        """Return the image, or raise a `DecodeError`."""


class VolumeDecoder(Protocol):
    """What turns bytes into a volume: `medloom.data.whole.read_whole`, or it behind a fence."""

    def __call__(
        self,
        data: bytes,
        /,
        *,
        content_type: str | None = None,
        series: str | None = None,
        budget: Budget = DEFAULT_BUDGET,
    ) -> Volume | None:
        """Return the volume, None for an image, or raise a `DecodeError`."""


class SourceReader(Protocol):
    """What reads whose DICOM images bytes are: `medloom.data.whole.read_sources`, or it behind a fence."""

    def __call__(
        self,
        data: bytes,
        /,
        *,
        content_type: str | None = None,
        series: str | None = None,
        page: int | None = None,
        whole: bool = False,
        budget: Budget = DEFAULT_BUDGET,
    ) -> Sources | None:
        """Return what they hand on to what is made from them, None for no DICOM, or raise a `DecodeError`."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image and its metadata as the network sees them, and what is needed to bring the answer back.

    Args:
        network_input: ``(C, h, w)`` float32; with context C are the channels of all slices that are seen.
        image: The image as decoded.
        turn: How it was turned for the network.
        table_nf: ``(1, F)`` float32 encoded metadata; None if the model takes none.
        gaps: What the metadata left open; None if the model takes none.
        warnings: How the image or its metadata are unlike those of the training, a sentence each.
        look: ``(30,)`` how the image as decoded looks, from ``describe_image``; None where nothing asks for it.
        slices: How many slices the network sees in it, whose channels follow one another; this one is in the middle.
    """

    network_input: Floats32
    image: Image
    turn: Turn = AS_STORED
    table_nf: Floats32 | None = None
    gaps: MetadataGaps | None = None
    warnings: tuple[str, ...] = ()
    slices: int = 1
    look: NDArray[np.float64] | None = None

    @property
    def own_input(self) -> Floats32:
        """``(C, h, w)`` of the slice itself, without those beside it."""
        channels = len(self.network_input) // self.slices
        first = self.slices // 2 * channels
        return self.network_input[first : first + channels]

    @property
    def pixels(self) -> NDArray[Any]:
        """``(H, W, C)`` as decoded."""
        return self.image.pixels

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """Height and width of a pixel, or None."""
        return self.image.spacing_mm

    @property
    def seen_spacing_mm(self) -> tuple[float, float] | None:
        """Height and width of a pixel as the network sees the image, or None."""
        spacing = self.image.spacing_mm
        return spacing[::-1] if spacing is not None and self.turn.transposed else spacing

    def restored(self, maps_khw: Floats32, preprocess: Preprocess) -> Floats32:
        """Bring what the network said about each pixel to the pixels of the image as it came.

        Args:
            maps_khw: ``(K, h, w)`` float32 in 0..1, on the network's grid.
            preprocess: What the image was prepared with.

        Returns:
            ``(K, H, W)`` float32 in 0..1.
        """
        height, width = self.turn.apply(self.pixels).shape[:2]
        restored = preprocess.restore(maps_khw, height, width, self.seen_spacing_mm)
        if self.turn == AS_STORED:
            return restored
        return np.ascontiguousarray(np.moveaxis(self.turn.undo(np.moveaxis(restored, 0, -1)), -1, 0))
