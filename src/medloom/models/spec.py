"""What a bundle says of a network, so that it can be built again before its weights are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from medloom.targets import Target

__all__ = ["Spec"]


class Spec(Protocol):
    """What it takes to build a network again."""

    @property
    def name(self) -> str:
        """Name of the network, or of the backbone."""

    @property
    def in_channels(self) -> int:
        """C of the images."""

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width of the images in pixels."""

    @property
    def target(self) -> Target:
        """What is predicted."""

    @property
    def args(self) -> Mapping[str, Any]:
        """Arguments that replace the network's defaults."""

    @property
    def options(self) -> Mapping[str, Any]:
        """The other keys of the recipe's ``model`` that decide the network's shape."""
