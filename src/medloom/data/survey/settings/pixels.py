"""What a few images have in common."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

from medloom.data.survey.looks import ImageLook

__all__ = ["Pixels", "Scale"]

Scale = Literal["eight-bit", "ct", "mr", "dicom", "other"]
"""What the numbers of the pixels mean."""

_AIR, _BONE = -500, 200
"""Values at both ends of Hounsfield units, which hardly anything else reaches."""


@dataclass(frozen=True)
class Pixels:
    """The images that were looked into.

    Args:
        looks: Those that decode.
        refused: How many do not.
    """

    looks: tuple[ImageLook, ...]
    refused: int = 0

    @classmethod
    def of(cls, looks: Sequence[ImageLook]) -> Self:
        """Leave out what does not decode."""
        good = tuple(look for look in looks if not look.refused)
        return cls(good, len(looks) - len(good))

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.looks)

    @property
    def channels(self) -> int:
        """Channels of most of them."""
        return statistics.mode(look.channels for look in self.looks)

    @property
    def pictures(self) -> bool:
        """Whether all are grey or colour pictures, with or without alpha."""
        return all(look.channels in (1, 2, 3, 4) for look in self.looks)

    @property
    def coloured(self) -> int:
        """How many are in colour."""
        return sum(not look.grey for look in self.looks)

    @property
    def pages(self) -> int:
        """Pages of a file in the middle."""
        return int(statistics.median_high(look.pages for look in self.looks))

    @property
    def most_pages(self) -> int:
        """Pages of the file with the most."""
        return max(look.pages for look in self.looks)

    @property
    def side(self) -> int:
        """The shorter side of an image in the middle, in pixels."""
        return int(statistics.median(min(look.height, look.width) for look in self.looks))

    @property
    def elongation(self) -> float:
        """The longer side over the shorter one of the image that is most so."""
        return max(max(look.height, look.width) / max(1, min(look.height, look.width)) for look in self.looks)

    @property
    def scale(self) -> Scale:
        """What the numbers mean; ``other`` where nothing says so."""
        modalities = {look.modality for look in self.looks}
        if all(look.dtype == "uint8" for look in self.looks):
            return "eight-bit"
        low, high = min(look.minimum for look in self.looks), max(look.maximum for look in self.looks)
        if modalities == {"CT"} or ("" in modalities and low <= _AIR and high >= _BONE):
            return "ct"
        if modalities == {"MR"} or all(look.format == "nifti" for look in self.looks):
            return "mr"
        return "dicom" if all(look.format == "dicom" for look in self.looks) else "other"

    @property
    def size_text(self) -> str:
        """Their sizes in words."""
        sizes = sorted({(look.height, look.width) for look in self.looks})
        looked = f"{self.count} looked into"
        if len(sizes) == 1:
            return f"{looked}, all {sizes[0][0]}×{sizes[0][1]}"
        heights, widths = [size[0] for size in sizes], [size[1] for size in sizes]
        return f"{looked}, {min(heights)} to {max(heights)} high and {min(widths)} to {max(widths)} wide"

    @property
    def range_text(self) -> str:
        """Type and values in words."""
        types = ", ".join(sorted({look.dtype for look in self.looks}))
        low, high = min(look.minimum for look in self.looks), max(look.maximum for look in self.looks)
        modalities = sorted({look.modality for look in self.looks if look.modality})
        said = f", modality {' and '.join(modalities)}" if modalities else ""
        return f"{types} from {low:g} to {high:g}{said}"
