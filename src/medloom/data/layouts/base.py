"""What a layout is: the rule that turns a list of file names into samples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["IMAGE_SUFFIXES", "Item", "Layout", "Listing", "Problem", "is_image", "natural_key"]

IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".npy")

_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with one file.

    Args:
        kind: ``missing_mask``, ``missing_image``, ``missing_channel``, ``ambiguous``, ``unreadable``, ``size``,
            ``channels``, ``values`` or ``split``; what the accounting counts by.
        file: The file as the user knows it.
        detail: What came and what was expected. Names no file but those of the sample.
    """

    kind: str
    file: str
    detail: str

    def __str__(self) -> str:
        return f"{self.file}: {self.detail}"


@dataclass(frozen=True)
class Item:
    """One sample as found, before anything was opened.

    Args:
        patient: The patient's real id.
        sample: The sample's real name, unique within the patient.
        images: Path of the image, or one path for each channel; empty where zeros stand in.
        mask: Path of the mask.
    """

    patient: str
    sample: str
    images: tuple[str, ...]
    mask: str


@dataclass(frozen=True)
class Listing:
    """What a layout found.

    Args:
        items: The whole samples, patients in order of their real id, samples in natural order.
        problems: One list for each sample that is not whole.
        notes: Things a user should know that set nothing aside.
    """

    items: tuple[Item, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = field(default=())


class Layout(Protocol):
    """Turns file names into samples; opens no file."""

    def find(self, names: Sequence[str]) -> Listing:
        """Return the samples among ``names`` and everything that does not fit."""

    def rules(self) -> dict[str, Any]:
        """Return what decides the outcome, as plain JSON types; a part of the pixel store's key."""


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key by which ``slice_2`` comes before ``slice_10``.

    Example:
        >>> sorted(["s10", "s2", "s1"], key=natural_key)
        ['s1', 's2', 's10']
    """
    parts = _DIGITS.split(text)
    return tuple((0, int(part), part) if part.isdigit() else (1, 0, part) for part in parts if part)


def is_image(name: str) -> bool:
    """Whether a file's suffix is one of an image format that can be read."""
    return name.lower().endswith(IMAGE_SUFFIXES)
