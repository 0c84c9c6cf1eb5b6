"""Two images of a batch in one, and their labels in the same shares.

Shapes: N images, C channels, H height, W width, T numbers in a label. An image's partner is the one before it in its
process's part of the batch, whose order is random already; the first's is the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from medloom.recipe.sections.augment import ClassesAugmentConfig
from medloom.transforms.augment.parameters import Drawn, draw_hits

__all__ = ["Mixing", "mix_images", "mix_rows"]


@dataclass(frozen=True)
class Mixing:
    """Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019).

    Args:
        mixup_p: Probability that an image is blended with its partner.
        mixup_alpha: Both parameters of the beta distribution of the share that it keeps.
        cutmix_p: Probability that a rectangle of the partner is put into an image that is not blended.
        cutmix_alpha: Both parameters of the beta distribution of the share that it keeps.
    """

    mixup_p: float = 0.0
    mixup_alpha: float = 0.2
    cutmix_p: float = 0.0
    cutmix_alpha: float = 1.0

    @classmethod
    def of(cls, section: ClassesAugmentConfig) -> Self:
        """Take what a recipe says."""
        mixup, cutmix = section.mixup, section.cutmix
        return cls(mixup.p, mixup.alpha, cutmix.p, cutmix.alpha)

    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> Drawn | None:
        """Draw; None where both are off.

        Args:
            count: N.
            size: Height and width of the images.
            generator: The only source of randomness.

        Returns:
            Values ``(N, 6)``: the share of the image itself; 1 where the partner is blended with all of it; then the
            rectangle's first row, the row behind its last, and the same of the columns.
        """
        if self.mixup_p == 0 and self.cutmix_p == 0:
            return None
        blended, pasted = draw_hits(count, self.mixup_p, generator), draw_hits(count, self.cutmix_p, generator)
        pasted &= ~blended
        numbers = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        shares, kept = (numbers.beta(alpha, alpha, count) for alpha in (self.mixup_alpha, self.cutmix_alpha))
        boxes = torch.from_numpy(_boxes(kept, numbers.random((2, count)), size))
        area = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2]) / (size[0] * size[1])
        share = torch.where(blended, torch.from_numpy(shares), 1.0 - area)
        whole = torch.tensor([0.0, size[0], 0.0, size[1]], dtype=torch.float64)
        places = torch.where(blended[:, None], whole, boxes)
        return Drawn(blended | pasted, torch.cat([share[:, None], blended[:, None], places], dim=1).float())


def _boxes(kept: np.ndarray, centres: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Rectangles ``(N, 4)`` of whole pixels, as large as what is not kept unless the image's edge cuts them."""
    edges = []
    for centre, side in zip(centres, size, strict=True):
        half = 0.5 * side * np.sqrt(1.0 - kept)
        edges += [np.clip(np.round(centre * side + sign * half), 0, side) for sign in (-1, 1)]
    boxes: np.ndarray = np.stack(edges, axis=1)
    return boxes


def mix_images(images: Tensor, drawn: Drawn) -> Tensor:
    """Return images of which some are blended with their partner or hold a part of it.

    Args:
        images: ``(N, C, H, W)``, normalised.
        drawn: From ``Mixing.draw``.
    """
    here = drawn.rows
    if len(here) == 0:
        return images
    values, rows = drawn.values[here].to(images.device), here.to(images.device)
    own, partner = images[rows], images[(rows - 1) % len(images)]
    share, blended = (values[:, column, None, None, None] for column in (0, 1))
    top, bottom, left, right = (values[:, column, None, None, None] for column in (2, 3, 4, 5))
    y = torch.arange(images.shape[2], device=images.device)[:, None]
    x = torch.arange(images.shape[3], device=images.device)
    inside = (y >= top) & (y < bottom) & (x >= left) & (x < right)
    weight = inside * torch.where(blended > 0, 1.0 - share, 1.0)
    return images.index_copy(0, rows, torch.lerp(own, partner, weight))


def mix_rows(rows: Tensor, drawn: Drawn) -> Tensor:
    """Return labels or metadata mixed in the shares of the images; unknown where it is unknown in one of the two.

    Args:
        rows: ``(N, T)`` float32, NaN where unknown.
        drawn: From ``Mixing.draw``.
    """
    share = drawn.values[:, :1].to(rows.device)
    mixed = share * rows + (1.0 - share) * rows.roll(1, 0)
    return torch.where(drawn.hit.to(rows.device)[:, None] & (share < 1.0), mixed, rows)
