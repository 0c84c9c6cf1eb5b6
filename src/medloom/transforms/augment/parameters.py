"""What was drawn for a batch, on the CPU. Shapes: N images, C channels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

__all__ = ["AugmentParameters", "Drawn", "draw_hits", "symmetric"]


@dataclass(frozen=True)
class Drawn:
    """What one step drew.

    Args:
        hit: ``(N,)`` bool, which images are changed.
        values: ``(N, ...)`` float32, by how much, also of images that are not.
    """

    hit: Tensor
    values: Tensor

    def __getitem__(self, part: slice | Tensor) -> Drawn:
        return Drawn(self.hit[part], self.values[part])

    @property
    def rows(self) -> Tensor:
        """Positions of the images that are changed; found on the CPU, so no device is waited for."""
        return self.hit.nonzero()[:, 0]


@dataclass(frozen=True)
class AugmentParameters:
    """What was drawn for one batch.

    Args:
        theta: ``(N, 2, 3)`` float32, map from output to input coordinates in -1..1.
        gain: ``(N, C)`` float32, factor on normalised intensities.
        shift: ``(N, C)`` float32, added to normalised intensities.
        noise_std: ``(N,)`` float32, standard deviation of the noise; 0 for none.
        noise_seed: Seed of the noise itself, which is drawn on the device.
        elastic: Displacements ``(N, 2, rows, columns)`` of a coarse grid, x first, in output coordinates.
        levels: Of each step on grey levels, in their order; None for one that is off.
        mixing: ``(N, 6)``: shares and rectangles, see ``medloom.transforms.augment.mixing``.
        noise_places: Of the images here with noise, which they are among ``noise_count`` with noise of a whole batch,
            of which these are a part; None where these are all.
        noise_count: See there.
    """

    theta: Tensor
    gain: Tensor
    shift: Tensor
    noise_std: Tensor
    noise_seed: int
    elastic: Drawn | None = None
    levels: tuple[Drawn | None, ...] = ()
    mixing: Drawn | None = None
    noise_places: Tensor | None = None
    noise_count: int = 0

    def part(self, picks: Tensor) -> Self:
        """Keep what was drawn for some images, which then get the noise that they would get among all of them.

        Args:
            picks: Their positions ``(M,)``.
        """
        noisy = self.noise_std != 0
        places = (noisy.cumsum(0) - 1)[picks][noisy[picks]]
        return dataclasses.replace(
            self,
            theta=self.theta[picks],
            gain=self.gain[picks],
            shift=self.shift[picks],
            noise_std=self.noise_std[picks],
            elastic=self.elastic and self.elastic[picks],
            levels=tuple(drawn and drawn[picks] for drawn in self.levels),
            mixing=self.mixing and self.mixing[picks],
            noise_places=places,
            noise_count=int(noisy.sum()),
        )


def draw_hits(count: int, probability: float, generator: torch.Generator) -> Tensor:
    """Return ``(count,)`` bool, true with a probability."""
    return torch.rand(count, generator=generator) < probability


def symmetric(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return numbers uniform in -1..1."""
    return 2.0 * torch.rand(shape, generator=generator) - 1.0
