"""Random changes to a whole batch, on the device: sampled from a generator first, then applied."""

from __future__ import annotations

from medloom.transforms.augment.batch import Augment, normalise
from medloom.transforms.augment.parameters import AugmentParameters

__all__ = ["Augment", "AugmentParameters", "normalise"]
