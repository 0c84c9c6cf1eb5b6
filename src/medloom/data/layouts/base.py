"""What a layout is: the rule that turns a list of file names into samples."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from medloom.errors import DataError, DecodeError
from medloom.imaging import FORMATS_BY_SUFFIX, sniff
from medloom.targets import Target

__all__ = [
    "PART_OF",
    "Item",
    "Layout",
    "Listing",
    "Problem",
    "Read",
    "is_image",
    "is_one",
    "list_images",
    "natural_key",
]

Read = Callable[[str], bytes]
"""Gives the bytes of a name, such as ``source.read``."""

_PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
PART_OF = {word: part for part, words in _PARTS.items() for word in words}
"""The published part that a folder's name in lower case stands for."""

_DIGITS = re.compile(r"(\d{1,4000})")  # int takes no more than 4300
_SUFFIXES = tuple(FORMATS_BY_SUFFIX)
_DICOM_INDEX = "DICOMDIR"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with one file.

    Args:
        kind: ``missing_mask``, ``missing_image``, ``missing_channel``, ``ambiguous``, ``unreadable``, ``pages``,
            ``size``, ``channels``, ``values`` or ``split``, and for labels ``label``, ``duplicate``, ``missing_row``,
            ``metadata`` or ``row``; what the accounting counts by.
        file: The file as the user knows it, or a line of the label file.
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
        mask: Path of the mask; empty where there is none.
        more_masks: Paths of further masks of the image, whose foreground is joined to it.
        labels: For images without a mask: the class's index, or a number for each target; NaN where
            it is unknown.
        meta: Metadata and group columns as text, blanks kept.
        published: ``train``, ``validation`` or ``test`` where the files come in a split.
        page: Page, slice or frame of the files, counted from 0; None where each file is taken for one image.
        known: Whether ``patient`` says whose image it is; otherwise the sample stands for itself.
    """

    patient: str
    sample: str
    images: tuple[str, ...]
    mask: str
    labels: tuple[float, ...] | None = None
    meta: Mapping[str, str] = field(default_factory=dict)
    published: str = ""
    page: int | None = None
    known: bool = True
    more_masks: tuple[str, ...] = ()

    @property
    def masks(self) -> tuple[str, ...]:
        """Paths of all masks; none where there is none."""
        return (self.mask, *self.more_masks) if self.mask else ()


@dataclass(frozen=True)
class Listing:
    """What a layout found.

    Args:
        items: The whole samples, patients in order of their real id, samples in natural order.
        problems: One list for each sample that is not whole.
        notes: Things a user should know that set nothing aside.
        target: What the labels say is predicted; None where the recipe says it, as for masks.
        patients: What says whose an image is, such as ``the folders``; empty where the recipe names nothing, and the
            files themselves are asked.
        patients_hint: Which key of the recipe would say it.
    """

    items: tuple[Item, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = field(default=())
    target: Target | None = None
    patients: str = ""
    patients_hint: str = ""


class Layout(Protocol):
    """Turns file names into samples; opens no image."""

    def find(self, names: Sequence[str], read: Read) -> Listing:
        """Return the samples among ``names`` and everything that does not fit.

        Args:
            names: Relative POSIX paths.
            read: Gives the bytes of a name, for a file of labels.
        """

    def expects(self) -> str:
        """Return what files it looks for, for a message."""

    def rules(self) -> dict[str, Any]:
        """Return what decides which pixels belong to a sample, as plain JSON types.

        A part of the pixel store's key; labels are none, so that relabelling decodes nothing again.
        """


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key by which ``slice_2`` comes before ``slice_10``.

    Example:
        >>> sorted(["s10", "s2", "s1"], key=natural_key)
        ['s1', 's2', 's10']
    """
    parts = _DIGITS.split(text)
    # Not isdigit, which also takes "²" and "①", of which int makes no number.
    return tuple([(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part])


def is_image(name: str) -> bool:
    """Whether a file's suffix is one of an image format that can be read."""
    return name.lower().endswith(_SUFFIXES)


def list_images(names: Iterable[str], read: Read) -> list[str]:
    """Return the files that are images: by their suffix, or where they have none, as scanners write DICOM, by content.

    Args:
        names: Relative POSIX paths.
        read: Gives the bytes of a file without a suffix.

    Example:
        >>> list_images(["a.png", "IM0001", "1.2.840.7", "README"], lambda name: b"text")
        ['a.png']
    """
    return [name for name in names if is_one(name, read)]


def is_one(name: str, read: Read) -> bool:
    """Whether a file is an image, as ``list_images`` finds them.

    Args:
        name: Its name.
        read: Gives its bytes, or the first thousands of them.
    """
    return is_image(name) or (_lacks_suffix(name) and _holds_image(name, read))


def _lacks_suffix(name: str) -> bool:
    """Whether a name ends without a dot, or with the last number of a UID."""
    file = name.rpartition("/")[2]
    return file.upper() != _DICOM_INDEX and ("." not in file or file.rpartition(".")[2].isdecimal())


def _holds_image(name: str, read: Read) -> bool:
    try:
        return bool(sniff(read(name)))
    except DecodeError:
        return False
    except (DataError, OSError):
        return True  # what cannot be read is said where it is decoded
