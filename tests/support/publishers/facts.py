"""A phantom of a publisher's set: who writes it, what is true of it, and the recipe that reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["SIZE", "Facts", "Publisher", "blob", "grey", "save"]

SIZE = 32


@dataclass(frozen=True)
class Facts:
    """What a recipe for the set must give.

    Args:
        kind: What is predicted.
        names: Names of classes or targets in order; the background or the negative class first.
        channels: How many channels.
        samples: Samples that can be used.
        patients: Patients; 0 where nothing says whose the images are.
        values: Of masks: value of each class in the files.
        parts: Samples in each published part; empty where there is no split that comes with the set.
        truth: By sample path: the label as a tuple, NaN where it is unknown, or the sum of the class indices of a mask.
    """

    kind: str
    names: tuple[str, ...]
    channels: int
    samples: int
    patients: int
    values: tuple[int, ...] = ()
    parts: Mapping[str, int] = field(default_factory=dict)
    truth: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Publisher:
    """A set in the files and folders of whoever publishes it.

    Args:
        name: Short name.
        write: Writes the phantom below a folder and says what is true of it.
        recipe: Sections of a recipe that someone wrote by hand.
    """

    name: str
    write: Callable[[Path], Facts]
    recipe: Mapping[str, Any]


def grey(seed: int, size: int = SIZE, channels: int = 0) -> NDArray[np.uint8]:
    """A noisy image (H, W), or (H, W, C)."""
    shape = (size, size, channels) if channels else (size, size)
    return np.random.default_rng(seed).integers(20, 230, shape, dtype=np.uint8)


def blob(seed: int, size: int = SIZE, value: int = 1) -> NDArray[np.uint8]:
    """A rectangle of a value on zeros (H, W), of a place and size that the seed decides."""
    top, left, height, width = np.random.default_rng(seed).integers(3, size // 3, 4)
    mask = np.zeros((size, size), np.uint8)
    mask[top : top + height, left : left + width] = value
    return mask


def save(path: Path, pixels: NDArray[np.uint8], **options: Any) -> None:
    """Write an image in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
