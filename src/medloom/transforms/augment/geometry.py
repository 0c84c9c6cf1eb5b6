"""Where each pixel of a changed image comes from.

Shapes: N images, H height, W width. Coordinates are -1..1 on both axes, x first, at the outer edges of the pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from medloom.transforms.augment.parameters import Drawn, draw_hits, symmetric

__all__ = ["AffineGrids", "Elastic", "affine_grid", "cut", "turned"]

_MARGIN = 4
"""Points of the coarse grid outside the image on each axis, so that its edge is interpolated like its middle."""


@dataclass(frozen=True)
class Elastic:
    """A smooth random displacement, as MONAI's ``Rand2DElastic``: bicubic between the points of a coarse grid.

    Args:
        p: Probability for each image.
        amount: Largest displacement as a share of the side; each image draws its own below it.
        spacing: Distance between the points as a share of the side.
    """

    p: float = 0.0
    amount: float = 0.02
    spacing: float = 0.2

    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> Drawn | None:
        """Draw displacements of the points, ``(N, 2, rows, columns)``; None where the step is off.

        Args:
            count: N.
            size: Height and width of what comes out.
            generator: The only source of randomness.
        """
        if self.p == 0:
            return None
        hit = draw_hits(count, self.p, generator)
        points = [-(-side // self.step(side)) + _MARGIN for side in size]
        strength = 2.0 * self.amount * torch.rand((count, 1, 1, 1), generator=generator)  # a side is 2 long
        return Drawn(hit, strength * symmetric((count, 2, *points), generator))

    def step(self, side: int) -> int:
        """Return the distance between the points in pixels."""
        return max(round(self.spacing * side), 1)

    def move(self, grid: Tensor, theta: Tensor, drawn: Drawn) -> None:
        """Add the displacements to a grid that an affine map made, in place; they go through the map as well.

        Args:
            grid: ``(N, H, W, 2)``.
            theta: ``(N, 2, 3)``, the map.
            drawn: From ``draw``.
        """
        rows = drawn.rows.to(grid.device)
        if len(rows) == 0:
            return
        offsets = drawn.values[drawn.rows].to(grid.device)
        moved = (theta[rows, :, :2] @ offsets.flatten(2)).reshape(offsets.shape)
        down, across = (
            _interpolation(side, points, self.step(side)).to(grid.device)
            for side, points in zip(grid.shape[1:3], offsets.shape[2:], strict=True)
        )
        grid.index_add_(0, rows, (down @ moved @ across.T).permute(0, 2, 3, 1))


@cache
def _interpolation(side: int, points: int, step: int) -> Tensor:
    """Weights ``(side, points)`` of bicubic interpolation between points that are ``step`` pixels apart."""
    whole = F.interpolate(torch.eye(points)[None, None], size=(points * step, points), mode="bicubic")[0, 0]
    first = (points * step - side) // 2
    return whole[first : first + side].contiguous()


def turned(theta: Tensor, size: tuple[int, int], probability: float, generator: torch.Generator) -> Tensor:
    """Turn by a quarter, a half or three quarters before an affine map; what is not square only by a half.

    Args:
        theta: ``(N, 2, 3)``.
        size: Height and width.
        probability: For each image.
        generator: The only source of randomness.
    """
    hit = draw_hits(len(theta), probability, generator)
    quarters = torch.randint(1, 4, (len(theta),), generator=generator) if size[0] == size[1] else torch.tensor(2)
    angle = (quarters * hit) * (math.pi / 2)
    cos, sin = angle.cos().round(), angle.sin().round()
    across, down = theta[:, :, 0], theta[:, :, 1]
    # Not as a product of matrices, which a network's autocast would take in bf16.
    cos, sin = cos[:, None], sin[:, None]
    return torch.stack([across * cos + down * sin, down * cos - across * sin, theta[:, :, 2]], dim=2)


def cut(theta: Tensor, size: tuple[int, int], crop: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Put a window of the crop's size anywhere into the image, at whole pixels, before the map."""
    whole, part = torch.tensor([size[1], size[0]]), torch.tensor([crop[1], crop[0]])
    shares = part / whole
    first = torch.floor(torch.rand((len(theta), 2), generator=generator) * (whole - part + 1))
    centre = (2.0 * first + part) / whole - 1.0
    moved = theta[:, :, 2:] + theta[:, :, :2] @ centre[:, :, None]
    return torch.cat([theta[:, :, :2] * shares, moved], dim=2)


def affine_grid(theta: Tensor, height: int, width: int) -> Tensor:
    """Return where each output pixel comes from, ``(N, H, W, 2)``.

    As ``torch.nn.functional.affine_grid`` without aligned corners, in a fortieth of its time on a CPU: an affine map
    is a sum of what the column and what the row contribute, and here each row is one run of memory.
    """
    return AffineGrids(theta, height, width)[:]


class AffineGrids:
    """The grids of ``affine_grid`` for a part of a batch at a time; what is small is computed once for all of it.

    Args:
        theta: ``(N, 2, 3)``.
        height: Of the grids.
        width: Of the grids.
    """

    def __init__(self, theta: Tensor, height: int, width: int) -> None:
        columns = (torch.arange(width, device=theta.device) * 2 + 1) / width - 1
        rows = (torch.arange(height, device=theta.device) * 2 + 1) / height - 1
        along_row = theta[:, None, :, 0] * columns[:, None] + theta[:, None, :, 2]
        per_row = theta[:, None, :, 1].expand_as(along_row)
        self._size = (height, width)
        self._rows = rows[:, None]
        self._along_row = along_row.reshape(-1, 1, 2 * width)
        self._per_row = per_row.reshape(-1, 1, 2 * width)

    def __getitem__(self, part: slice) -> Tensor:
        """Return the grids ``(M, H, W, 2)`` of a part."""
        flat = torch.addcmul(self._along_row[part], self._rows, self._per_row[part])
        return flat.reshape(-1, *self._size, 2)
