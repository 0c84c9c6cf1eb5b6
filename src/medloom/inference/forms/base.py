"""What every form is made from, and what it says if it cannot be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from medloom.errors import DecodeError, UserError
from medloom.imaging import Image
from medloom.imaging.dicom_sources import Sources
from medloom.inference.answers import Prediction, VolumeAnswer
from medloom.targets import Target

__all__ = ["Algorithm", "FormError", "Made"]


class FormError(UserError):
    """An answer that has no such form; the message says why."""


@dataclass(frozen=True)
class Algorithm:
    """Which model gave an answer.

    Args:
        name: Of the bundle.
        identity: SHA-256 of what its answers depend on, in hexadecimal.
        software: Version of Medloom that computes.
        phantom: Whether it learned from phantoms, so that its answers mean nothing for people.
    """

    name: str
    identity: str
    software: str
    phantom: bool = False

    @property
    def version(self) -> str:
        """Twelve digits by which models of one name are told apart."""
        return self.identity[:12]


@dataclass(eq=False)
class Made:
    """An answer and what it was made from.

    Args:
        prediction: The answer.
        target: What is predicted.
        algorithm: Which model gave it.
        image: The image as decoded, for forms that show it; None for a volume.
        read_sources: Reads what the DICOM images hand on that the answer was made from; None where they were no DICOM.
        more: Further keys of the JSON.
        beside: Names of all forms that are given together, so that one may refer to another.
    """

    prediction: Prediction | VolumeAnswer
    target: Target
    algorithm: Algorithm
    image: Image | None = None
    read_sources: Callable[[], Sources | None] | None = None
    more: Mapping[str, object] = field(default_factory=dict)
    beside: frozenset[str] = frozenset()
    kept: dict[str, Any] = field(default_factory=dict, repr=False)
    """What one form has made and another one needs."""

    @cached_property
    def sources(self) -> Sources:
        """What the images hand on to a DICOM object that is made from them.

        Raises:
            FormError: If they were no DICOM, or lack what must be repeated.
        """
        try:
            found = None if self.read_sources is None else self.read_sources()
        except DecodeError as error:
            if error.code not in ("unsupported", "corrupt"):
                raise
            raise FormError(f"no DICOM object can be made from it: {error.message}") from error
        if found is None:
            raise FormError("a DICOM segmentation or report is made from DICOM images alone; the input is no DICOM")
        return found
