"""How much of each class a mask holds, and the mask in the values that its reader knows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medloom.inference.answers.base import DIGITS, Kinded, Point
from medloom.targets import Target

__all__ = ["ClassFigures", "MaskAnswer", "class_probabilities", "count_classes", "figures", "in_values", "measure"]

Floats32 = NDArray[np.float32]
Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class ClassFigures:
    """How much of one foreground class there is.

    Args:
        index: Its number among the classes; the background is 0.
        value: What its pixels are in written masks; None where the bundle does not say.
        probability: Largest probability of the class in any pixel, before small regions are erased.
        area_px: Its pixels in the mask, or its voxels in the mask of a volume.
        area_mm2: Their area; None for a volume, and where the size of a pixel is not known.
        volume_ml: Their volume in millilitres; None for an image, and where the size of a voxel is not known.
    """

    index: int
    value: int | None
    probability: float
    area_px: int
    area_mm2: float | None = None
    volume_ml: float | None = None

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types, without what is not of such an image, or not known to the bundle."""
        return {
            "index": self.index,
            **({} if self.value is None else {"value": self.value}),
            "probability": round(self.probability, DIGITS),
            "area_px": self.area_px,
        }


class MaskAnswer(Kinded):
    """What the mask of an image and that of a volume have in common.

    ``unit`` is what its mask is made of, ``volume`` whether it is that of a volume.
    """

    unit: ClassVar[str]
    volume: ClassVar[bool]
    target: Target
    mask: Mask
    point: Point

    @property
    def planes(self) -> Mask:
        """The class of each pixel, ``(D, H, W)``; D is 1 for an image."""
        return self.mask.reshape(-1, *self.mask.shape[-2:])

    @property
    def by_class(self) -> dict[str, ClassFigures]:
        """The figures of each foreground class, by its name."""
        raise NotImplementedError

    @property
    def value_mask(self) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """The mask as it is written: with the recipe's ``mask_values``; class indices in older bundles."""
        return in_values(self.mask, self.target)

    @property
    def written_mask(self) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """The mask as it is written to a file."""
        return self.value_mask


def count_classes(mask: Mask, target: Target) -> NDArray[np.int64]:
    """Return the number of pixels of each class, the background included."""
    return np.array([np.count_nonzero(mask == index) for index in range(len(target.names))], np.int64)


def class_probabilities(probabilities_khw: Floats32) -> NDArray[np.float64]:
    """Return the largest probability of each foreground class: ``(K - 1,)``, or ``(1,)`` where K = 1."""
    foreground = probabilities_khw[0 if len(probabilities_khw) == 1 else 1 :]
    largest: NDArray[np.float64] = foreground.max(axis=(1, 2)).astype(np.float64)
    return largest


def figures(
    target: Target,
    counts: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    *,
    pixel_mm2: float | None = None,
    voxel_ml: float | None = None,
) -> dict[str, ClassFigures]:
    """Return the figures of each foreground class by its name.

    Args:
        target: Whose names are the classes.
        counts: Pixels of each class, the background included; see ``count_classes``.
        probabilities: Largest probability of each foreground class; see ``class_probabilities``.
        pixel_mm2: Area of a pixel of an image, if it is known.
        voxel_ml: Volume of a voxel of a volume, if it is known.
    """
    return {
        name: ClassFigures(
            index,
            target.values[index] if target.values else None,
            float(probabilities[index - 1]),
            int(counts[index]),
            measure(int(counts[index]), pixel_mm2),
            measure(int(counts[index]), voxel_ml, digits=6),
        )
        for index, name in enumerate(target.foreground, start=1)
    }


def measure(count: int, size: float | None, digits: int | None = None) -> float | None:
    """Return the size of so many pixels; None also where it is so large that JSON has no number for it."""
    whole = math.inf if size is None else count * size
    if not math.isfinite(whole):
        return None
    return whole if digits is None else round(whole, digits)


def in_values(mask: Mask, target: Target) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return a mask of class indices in the values that the masks of the training data have.

    Args:
        mask: Class index of each pixel, any shape.
        target: Whose values are taken; class indices stay where it has none.

    Returns:
        The same shape; uint8, or uint16 where a value is above 255.

    Example:
        >>> target = Target("masks", ("background", "posterior", "anterior"), (0, 2, 1))
        >>> in_values(np.array([[0, 1, 2]], np.uint8), target).tolist()
        [[0, 2, 1]]
    """
    if not target.values:
        return mask
    if max(target.values) <= np.iinfo(np.uint8).max:
        return np.array(target.values, np.uint8)[mask]
    return np.array(target.values, np.uint16)[mask]
