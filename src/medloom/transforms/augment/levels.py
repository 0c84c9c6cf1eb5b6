"""Random changes of grey levels, on the stored pixels: before normalisation, so whatever that is they mean the same.

Shapes: K images that are changed, C channels, H height, W width. Every step knows whether the channels are one picture
in colour: then they change together, so that grey stays grey; else each is an image of its own, such as a sequence of
MRI. Zero is air, outside the patient and padding; only a step that multiplies needs to know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from medloom.recipe.sections.augment import AugmentConfig
from medloom.transforms.augment.parameters import Drawn, draw_hits, symmetric

__all__ = [
    "STEPS",
    "BiasField",
    "Blur",
    "Brightness",
    "Colour",
    "Contrast",
    "Cutout",
    "Gamma",
    "LevelStep",
    "LowResolution",
    "change_levels",
    "steps_of",
]

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_YIQ = np.array([_LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)])
_DEGREE = 3


@dataclass(frozen=True, kw_only=True)
class LevelStep:
    """A change of grey levels.

    Args:
        p: Probability for each image.
        in_colour: Whether the three channels are red, green and blue of one picture.
    """

    p: float = 0.0
    in_colour: bool = False

    def draw(self, count: int, channels: int, generator: torch.Generator) -> Drawn | None:
        """Draw who is changed and by how much; None where the step is off."""
        if self.p == 0:
            return None
        return Drawn(draw_hits(count, self.p, generator), self._values(count, channels, generator))

    def change(self, levels: Tensor, values: Tensor) -> Tensor:
        """Return changed grey levels.

        Args:
            levels: ``(K, C, H, W)`` float32.
            values: ``(K, ...)`` as drawn for these images, on the CPU.
        """
        raise NotImplementedError

    def _values(self, count: int, channels: int, generator: torch.Generator) -> Tensor:
        raise NotImplementedError

    def _each(self, values: Tensor, levels: Tensor) -> Tensor:
        """One value of each channel ``(K, C)``, or the first for all, in a shape to multiply images with."""
        return (values[:, :1] if self.in_colour else values)[:, :, None, None].to(levels.device)

    def _span(self, levels: Tensor) -> tuple[Tensor, Tensor]:
        """Darkest level and range of each channel, or of the whole picture."""
        low, high = levels.amin((2, 3), keepdim=True), levels.amax((2, 3), keepdim=True)
        if self.in_colour:
            low, high = low.amin(1, keepdim=True), high.amax(1, keepdim=True)
        return low, high - low


@dataclass(frozen=True, kw_only=True)
class BiasField(LevelStep):
    """Multiply by the exponential of a polynomial, as MONAI's ``RandBiasField``; all channels by the same.

    Args:
        amount: Largest coefficient of each product of Legendre polynomials of a total degree from 1 to 3.
    """

    amount: float = 0.3
    terms: ClassVar[tuple[tuple[int, int], ...]] = tuple(
        (down, across) for down in range(_DEGREE + 1) for across in range(_DEGREE + 1 - down) if down + across > 0
    )
    """Degree along the columns and along the rows of each coefficient."""

    def _values(self, count: int, channels: int, generator: torch.Generator) -> Tensor:
        return self.amount * symmetric((count, len(self.terms)), generator)

    def change(self, levels: Tensor, values: Tensor) -> Tensor:
        """Multiply."""
        matrix = levels.new_zeros((len(values), _DEGREE + 1, _DEGREE + 1))
        down, across = zip(*self.terms, strict=True)
        matrix[:, list(down), list(across)] = values.to(levels.device)
        rows, columns = (_legendre(side).to(levels.device) for side in levels.shape[2:])
        return levels * (rows @ matrix @ columns.T).exp()[:, None]


@cache
def _legendre(side: int) -> Tensor:
    """``(side, degrees)``, the polynomials at the pixels, of which the first is at -1 and the last at 1."""
    return torch.from_numpy(np.polynomial.legendre.legvander(np.linspace(-1, 1, side), _DEGREE).astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class Gamma(LevelStep):
    """Raise what lies between the darkest and the brightest level to a power, as MONAI's ``AdjustContrast``.

    Args:
        amount: The exponent is between 1 / (1 + amount) and 1 + amount, its logarithm uniform.
    """

    amount: float = 0.3

    def _values(self, count: int, channels: int, generator: torch.Generator) -> Tensor:
        return (symmetric((count, channels), generator) * math.log1p(self.amount)).exp()

    def change(self, levels: Tensor, values: Tensor) -> Tensor:
        """Bend."""
        low, spread = self._span(levels)
        unit = (levels - low).div_(spread.clamp_min(torch.finfo(levels.dtype).tiny))
        return unit.pow_(self._each(values, levels)).mul_(spread).add_(low)


@dataclass(frozen=True, kw_only=True)
class Contrast(LevelStep):
    """Multiply the distance from the mean, in colour from the mean luma as torchvision's ``adjust_contrast``.

    Args:
        amount: By 1 ± so much at most.
    """

    amount: float = 0.2

    def _values(self, count: int, channels: int, generator: torch.Generator) -> Tensor:
        return 1.0 + self.amount * symmetric((count, channels), generator)

    def change(self, levels: Tensor, values: Tensor) -> Tensor:
        """Stretch or squeeze."""
        mean = levels.mean((2, 3), keepdim=True)
        if self.in_colour:
            mean = (mean * mean.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)
        return torch.lerp(mean, levels, self._each(values, levels))


@dataclass(frozen=True, kw_only=True)
class Brightness(LevelStep):
    """Add a share of the range.

    Args:
        amount: ± so much of it at most.
    """

    amount: float = 0.1

    def _values(self, count: int, channels: int, generator: torch.Generator) -> Tensor:
        return self.amount * symmetric((count, channels), generator)

    def change(self, levels: Tensor, values: Tensor) -> Tensor:
        """Add."""
        return levels + self._span(levels)[1] * self._each(values, levels)


@dataclass(frozen=True, kw_only=True)
class Colour(LevelStep):
    """Turn the hue and scale the saturation about luma, in YIQ, where both are one linear map.

    Args:
        hue: Largest turn either way as a share of the circle.
        saturation: Multiplied by 1 ± so much at most.
    """

    hue: float = 0.03
    saturation: float = 0.3

    def draw(self, count: int, channels: int, generator: torch.Generator) -> Drawn | None:
        """Draw; nothing for images without colours."""
        return super().draw(count, channels, generator) if self.in_colour and channels == len(_LUMA) else None

    def _values(self, count: int, channels: int, generator: torch.Generator) -> Tensor:
        amounts = torch.tensor([2.0 * math.pi * self.hue, self.saturation])
        return torch.tensor([0.0, 1.0]) + amounts * symmetric((count, 2), generator)

    def change(self, levels: Tensor, values: Tensor) -> Tensor:
        """Map the colours."""
        angle, factor = values.to(levels.device, torch.float64).T
        cos, sin, zero = factor * angle.cos(), factor * angle.sin(), torch.zeros_like(angle)
        chroma = torch.stack([zero + 1, zero, zero, zero, cos, -sin, zero, sin, cos], dim=1).reshape(-1, 3, 3)
        there, back = (torch.from_numpy(one).to(levels.device) for one in (_YIQ, np.linalg.inv(_YIQ)))
        return ((back @ chroma @ there).to(levels.dtype) @ levels.flatten(2)).view_as(levels)


@dataclass(frozen=True, kw_only=True)
class Blur(LevelStep):
    """Blur with a Gaussian; outside the image lies what lies at its edge.

    Args:
        sigma: Its largest standard deviation in pixels.
    """

    sigma: float = 1.0

    def _values(self, count: int, channels: int, generator: torch.Generator) -> Tensor:
        return self.sigma * torch.rand((count, 1), generator=generator)

    def change(self, levels: Tensor, values: Tensor) -> Tensor:
        """Convolve along the rows, then along the columns, each image with its own kernel.

        By hand, tap by tap: a convolution with a group for each channel takes several times as long on a CPU.
        """
        radius = math.ceil(3 * self.sigma)
        taps = (-0.5 * (torch.arange(radius + 1) / values.clamp_min(1e-3)) ** 2).exp()
        weights = (taps / (2 * taps.sum(1, keepdim=True) - 1))[:, :, None, None, None].to(levels.device)
        for axis, edges in ((3, [radius, radius, 0, 0]), (2, [0, 0, radius, radius])):
            side, padded = levels.shape[axis], F.pad(levels, edges, mode="replicate")
            levels = levels * weights[:, 0]
            for tap in range(1, radius + 1):
                pair = padded.narrow(axis, radius - tap, side) + padded.narrow(axis, radius + tap, side)
                levels.addcmul_(pair, weights[:, tap])
        return levels


@dataclass(frozen=True, kw_only=True)
class LowResolution(LevelStep):
    """Keep the nearest of each few pixels and interpolate between them, as MONAI's ``RandSimulateLowResolution``.

    Args:
        zoom: Smallest share of the pixels of each side that are kept.
    """

    zoom: float = 0.5

    def _values(self, count: int, channels: int, generator: torch.Generator) -> Tensor:
        return self.zoom + (1.0 - self.zoom) * torch.rand((count, 1), generator=generator)

    def change(self, levels: Tensor, values: Tensor) -> Tensor:
        """Go to few pixels and back, each image by itself, for each goes to another size."""
        size = levels.shape[2:]
        few = [[max(round(side * zoom), 1) for side in size] for (zoom,) in values.tolist()]
        kept = [F.interpolate(one[None], small, mode="nearest-exact") for one, small in zip(levels, few, strict=True)]
        return torch.cat([F.interpolate(one, size, mode="bilinear", align_corners=False) for one in kept])


@dataclass(frozen=True, kw_only=True)
class Cutout(LevelStep):
    """Fill rectangles with each channel's mean, as MONAI's ``RandCoarseDropout`` with a fixed value.

    Args:
        size: Longest side as a share of the image's side.
        holes: Number of rectangles.
    """

    size: float = 0.3
    holes: int = 1

    def _values(self, count: int, channels: int, generator: torch.Generator) -> Tensor:
        """Centre and half of the sides, y first, as shares: ``(N, holes, 2, 2)``."""
        drawn = torch.rand((count, self.holes, 2, 2), generator=generator)
        return drawn * torch.tensor([1.0, 0.5 * self.size])

    def change(self, levels: Tensor, values: Tensor) -> Tensor:
        """Fill."""
        inside = []
        for axis, side in enumerate(levels.shape[2:]):
            places = (torch.arange(side, device=levels.device) + 0.5) / side
            own = values[:, :, axis].to(levels.device)
            centre, half = own[..., :1], own[..., 1:]
            inside.append((places - centre).abs() <= half)
        covered = (inside[0][..., None] & inside[1][:, :, None]).any(1, keepdim=True)
        return torch.where(covered, levels.mean((2, 3), keepdim=True), levels)


STEPS: dict[str, type[LevelStep]] = {
    "bias_field": BiasField,
    "gamma": Gamma,
    "contrast": Contrast,
    "brightness": Brightness,
    "colour": Colour,
    "blur": Blur,
    "low_resolution": LowResolution,
    "cutout": Cutout,
}
"""By their section of the recipe, in the order in which they happen between the patient and the file."""


def steps_of(section: AugmentConfig, *, in_colour: bool) -> tuple[LevelStep, ...]:
    """Return the steps of a recipe, in their order; ``in_colour`` as for ``LevelStep``."""
    return tuple(kind(**getattr(section, key).model_dump(), in_colour=in_colour) for key, kind in STEPS.items())


def change_levels(steps: Sequence[LevelStep], levels: Tensor, drawn: Sequence[Drawn | None]) -> Tensor:
    """Return a batch after all steps; each sees the images that it changes, and no others.

    Args:
        steps: In their order.
        levels: ``(N, C, H, W)`` float32, which may be written to.
        drawn: What each step drew.
    """
    for step, one in zip(steps, drawn, strict=True):
        if one is None or not bool(one.hit.any()):
            continue
        rows = one.rows.to(levels.device)
        levels.index_copy_(0, rows, step.change(levels.index_select(0, rows), one.values[one.rows]))
    return levels
