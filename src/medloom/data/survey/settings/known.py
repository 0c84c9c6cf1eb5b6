"""All that the settings follow from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medloom.data.survey.device import Device
from medloom.data.survey.seen import Seen
from medloom.data.survey.settings.pixels import Pixels
from medloom.data.survey.trial import Trial
from medloom.data.survey.weights import Weights

__all__ = ["Known"]


@dataclass(frozen=True)
class Known:
    """What is known when the layout is.

    Args:
        trial: The reading that was taken, with what its layout found.
        seen: The files.
        device: What there is to train on.
        pixels: What was seen in the images.
        settings: Values by dotted key that the user gave.
        weights: What networks may begin with, without a network to fetch it by.
    """

    trial: Trial
    seen: Seen
    device: Device
    pixels: Pixels
    settings: Mapping[str, Any]
    weights: tuple[Weights, ...] = ()

    @property
    def truth_is_mask(self) -> bool:
        """Whether the truth is a class for each pixel."""
        return self.trial.target.truth_is_mask

    @property
    def samples(self) -> int:
        """How many images, or slices where every page is one."""
        return self.trial.samples * self.pixels.pages
