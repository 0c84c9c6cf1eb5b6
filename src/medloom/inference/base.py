"""What every predictor does before and around the network: decode, check, preprocess, run, look at the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medloom.errors import InputError, MedloomError
from medloom.imaging import DEFAULT_BUDGET, Budget, Image, decode
from medloom.inference.runtimes import Runtime
from medloom.transforms.preprocess import Preprocess

__all__ = ["Decoder", "Input", "PredictorBase", "Prepared", "finite"]

Floats = NDArray[np.float32]
Input = bytes | Image | NDArray[Any]


class Decoder(Protocol):
    """What turns bytes into an image: `medloom.imaging.decode`, or it behind a fence."""

    def __call__(
        self,
        data: bytes,
        /,
        *,
        content_type: str | None = None,
        page: int | None = None,
        budget: Budget = DEFAULT_BUDGET,
        at_least: tuple[int, int] | None = None,
    ) -> Image:
        """Return the image, or raise a `DecodeError`."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image as the network sees it, and what is needed to bring the answer back.

    Args:
        network_input: ``(C, h, w)`` float32.
        pixels: ``(H, W, C)`` as decoded.
        spacing_mm: Height and width of a pixel, or None.
    """

    network_input: Floats
    pixels: NDArray[Any]
    spacing_mm: tuple[float, float] | None


@dataclass(frozen=True)
class PredictorBase:
    """A runtime with what stands before it.

    Args:
        runtime: What runs the network.
        preprocess: The deterministic steps before and after it.
        classes: Names of the classes in order.
        channels: Names of the channels that an image must have, in order.
        budget: Limits for the bytes of one image.
        decoder: What decodes bytes; a server takes that of `medloom.imaging.fence`.
    """

    runtime: Runtime
    preprocess: Preprocess
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    budget: Budget = field(default=DEFAULT_BUDGET, kw_only=True)
    decoder: Decoder = field(default=decode, kw_only=True)

    @property
    def at_least(self) -> tuple[int, int] | None:
        """What ``medloom.imaging.decode`` may reduce an image to; None where the answer is as large as the image."""
        return None

    def prepare(
        self, image: Input, *, content_type: str | None = None, page: int | None = None, converted: bool = False
    ) -> Prepared:
        """Decode, check the channels and preprocess.

        Args:
            image: Bytes of an image file, a decoded image, or pixels ``(H, W, C)`` or ``(H, W)``.
            content_type: What the bytes are said to be; checked against what they are.
            page: Page of a file that has several.
            converted: Whether ``Preprocess.to_input`` was applied already.

        Raises:
            DecodeError: If the bytes are not an acceptable image.
            InputError: If the image is sound but not what this model takes.
        """
        if isinstance(image, bytes):
            image = self.decoder(
                image, content_type=content_type, page=page, budget=self.budget, at_least=self.at_least
            )
        given = image if isinstance(image, Image) else Image(np.atleast_3d(image), "array")
        if given.pixels.ndim == 3 and not converted:
            given = self.preprocess.to_input(given)
        pixels = given.pixels
        if pixels.ndim != 3 or pixels.shape[2] != len(self.channels):
            wanted = f"{len(self.channels)}: {', '.join(self.channels)}"
            raise InputError(f"the image has {_channels_of(pixels)}; this model takes {wanted}")
        return Prepared(self.preprocess(given), pixels, given.spacing_mm)


def finite(answer: Floats) -> Floats:
    """Return the network's answer.

    Raises:
        MedloomError: If a number in it is not finite.
    """
    if not np.isfinite(answer).all():
        raise MedloomError("the network gave a probability that is not finite; the model is damaged")
    return answer


def _channels_of(pixels: NDArray[Any]) -> str:
    if pixels.ndim != 3:
        return f"{pixels.ndim} dimensions"
    return f"{pixels.shape[2]} channel" + ("s" if pixels.shape[2] != 1 else "")
