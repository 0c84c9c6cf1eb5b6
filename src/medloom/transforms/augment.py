"""Random changes to a whole batch, on the device: sampled from a generator first, then applied.

Shapes: N images, C channels, H height, W width.

Image and mask go through one geometric map, so they cannot drift apart. It works on stored pixels, where
outside the image means zero; intensities change after normalisation, where one number fits all data sets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from medloom.recipe.sections.images import AugmentConfig
from medloom.transforms.preprocess import middle

__all__ = ["Augment", "AugmentParameters", "normalise"]


@dataclass(frozen=True)
class AugmentParameters:
    """What was drawn for one batch.

    Args:
        theta: ``(N, 2, 3)`` float32, map from output to input coordinates in -1..1.
        gain: ``(N, C)`` float32, factor on normalised intensities.
        shift: ``(N, C)`` float32, added to normalised intensities.
        noise_std: ``(N,)`` float32, standard deviation of the noise; 0 for none.
        noise_seed: Seed of the noise itself, which is drawn on the device.
    """

    theta: Tensor
    gain: Tensor
    shift: Tensor
    noise_std: Tensor
    noise_seed: int


@dataclass(frozen=True)
class Augment:
    """Flip, rotation, crop, intensity scale and shift, noise. Without arguments it changes nothing.

    Args:
        flip_p: Probability of a mirror image.
        rotate_p: Probability of a rotation.
        rotate_degrees: Its largest angle either way.
        crop_p: Probability that a part is cut out and scaled back to full size.
        crop_min_scale: Smallest side of that part as a share of the image's side.
        scale_p: Probability that normalised intensities are multiplied.
        scale_amount: By 1 ± so much at most, each channel by itself.
        shift_p: Probability that something is added to normalised intensities.
        shift_amount: ± so much at most, each channel by itself.
        noise_p: Probability of Gaussian noise.
        noise_std: Its largest standard deviation.
        crop: Height and width of the window that is cut out anywhere of each image; None for the whole image.

    Example:
        >>> augment = Augment(flip_p=0.5, rotate_p=0.5, rotate_degrees=15)
        >>> params = augment.sample(2, 3, (64, 64), torch.Generator().manual_seed(0))
        >>> params.theta.shape
        torch.Size([2, 2, 3])
    """

    flip_p: float = 0.0
    rotate_p: float = 0.0
    rotate_degrees: float = 15.0
    crop_p: float = 0.0
    crop_min_scale: float = 0.8
    scale_p: float = 0.0
    scale_amount: float = 0.2
    shift_p: float = 0.0
    shift_amount: float = 0.2
    noise_p: float = 0.0
    noise_std: float = 0.1
    crop: tuple[int, int] | None = None

    @classmethod
    def of(cls, section: AugmentConfig, crop: tuple[int, int] | None = None) -> Self:
        """Take what a recipe's ``augment`` says; ``crop`` as for the class."""
        steps = section.model_dump()
        return cls(**{f"{step}_{key}": value for step, keys in steps.items() for key, value in keys.items()}, crop=crop)

    def sample(self, count: int, channels: int, size: tuple[int, int], generator: torch.Generator) -> AugmentParameters:
        """Draw the parameters of a batch, on the CPU.

        Args:
            count: N.
            channels: C.
            size: Height and width; a rotation of an oblong image needs them.
            generator: The only source of randomness.

        Returns:
            The parameters, which ``apply`` uses without drawing anything else.
        """
        scale_hit = self._hits(count, self.scale_p, generator)[:, None]
        shift_hit = self._hits(count, self.shift_p, generator)[:, None]
        noise_hit = self._hits(count, self.noise_p, generator)
        theta = self._sample_theta(count, size, generator)
        return AugmentParameters(
            theta=theta if self.crop is None else _cut(theta, size, self.crop, generator),
            gain=1.0 + scale_hit * self.scale_amount * _symmetric((count, channels), generator),
            shift=shift_hit * self.shift_amount * _symmetric((count, channels), generator),
            noise_std=noise_hit * self.noise_std * torch.rand(count, generator=generator),
            noise_seed=int(torch.randint(2**62, (1,), generator=generator)),
        )

    def apply(
        self, images: Tensor, masks: Tensor, offset: Tensor, scale: Tensor, params: AugmentParameters
    ) -> tuple[Tensor, Tensor]:
        """Apply drawn parameters and normalise.

        Args:
            images: ``(N, C, H, W)`` stored pixels of any dtype.
            masks: ``(N, H, W)`` uint8 class indices.
            offset: ``(N, C)`` float32 of the store.
            scale: ``(N, C)`` float32 of the store.
            params: From ``sample``.

        Returns:
            Normalised images ``(N, C, H, W)`` float32, or of the crop's size, and masks ``(N, H, W)`` uint8.
        """
        moved = torch.empty((len(images), *self._size(images)), dtype=masks.dtype, device=masks.device)
        return self._change(images, offset, scale, params, masks, moved), moved

    def apply_image(self, images: Tensor, offset: Tensor, scale: Tensor, params: AugmentParameters) -> Tensor:
        """Apply drawn parameters to images without masks; see ``apply``."""
        return self._change(images, offset, scale, params)

    def _size(self, images: Tensor) -> tuple[int, int]:
        return self.crop or (images.shape[2], images.shape[3])

    def _change(
        self,
        images: Tensor,
        offset: Tensor,
        scale: Tensor,
        params: AugmentParameters,
        masks: Tensor | None = None,
        moved: Tensor | None = None,
    ) -> Tensor:
        """Warp, normalise, scale, shift, noise; the masks, if there are some, go into ``moved``."""
        device, size = images.device, self._size(images)
        gain, theta = params.gain.to(device), params.theta.to(device)
        shift = (params.shift.to(device) - offset * scale * gain)[:, :, None, None]
        factor = (scale * gain)[:, :, None, None]
        changed = torch.empty((*images.shape[:2], *size), device=device)
        for piece in _pieces(images):
            grid = _affine_grid(theta[piece], *size)
            warped = F.grid_sample(images[piece].float(), grid, "bilinear", "zeros", align_corners=False)
            torch.addcmul(shift[piece], warped, factor[piece], out=changed[piece])
            if masks is not None and moved is not None:
                nearest = F.grid_sample(masks[piece, None].float(), grid, "nearest", "zeros", align_corners=False)
                moved[piece] = nearest[:, 0]
        return self._add_noise(changed, params)

    def _add_noise(self, images: Tensor, params: AugmentParameters) -> Tensor:
        """Noise only for the images that drew some: most draw none."""
        chosen = params.noise_std.nonzero()[:, 0].to(images.device)
        if len(chosen) == 0:
            return images
        generator = torch.Generator(images.device).manual_seed(params.noise_seed)
        noise = torch.randn((len(chosen), *images.shape[1:]), generator=generator, device=images.device)
        std = params.noise_std.to(images.device)[chosen]
        return images.index_add_(0, chosen, noise * std[:, None, None, None])

    def _sample_theta(self, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Flip, rotation and crop of each image as one affine map."""
        flip = 1.0 - 2.0 * self._hits(count, self.flip_p, generator)
        angle = self._hits(count, self.rotate_p, generator) * math.radians(self.rotate_degrees)
        angle = angle * _symmetric((count,), generator)
        shrink = self._hits(count, self.crop_p, generator) * (1.0 - self.crop_min_scale)
        side = 1.0 - shrink * torch.rand(count, generator=generator)
        centre = (1.0 - side)[:, None] * _symmetric((count, 2), generator)
        aspect = size[0] / size[1]  # coordinates are -1..1 on both axes whatever the shape
        cos, sin = torch.cos(angle) * side, torch.sin(angle) * side
        rows = [cos * flip, -sin * aspect, centre[:, 0], sin / aspect * flip, cos, centre[:, 1]]
        return torch.stack(rows, dim=1).reshape(count, 2, 3)

    @staticmethod
    def _hits(count: int, probability: float, generator: torch.Generator) -> Tensor:
        return (torch.rand(count, generator=generator) < probability).float()


def normalise(images: Tensor, offset: Tensor, scale: Tensor, crop: tuple[int, int] | None = None) -> Tensor:
    """Normalise stored pixels without augmentation.

    Args:
        images: ``(N, C, H, W)`` of any dtype.
        offset: ``(N, C)`` float32.
        scale: ``(N, C)`` float32.
        crop: Height and width of the middle part that is kept; None for all.

    Returns:
        ``(N, C, H, W)`` float32.
    """
    if crop is not None:
        images = images[:, :, middle(images.shape[2], crop[0]), middle(images.shape[3], crop[1])]
    return (images.float() - offset[:, :, None, None]) * scale[:, :, None, None]


def _pieces(images: Tensor) -> Iterator[slice]:
    """Parts of a batch that are worked on one after another.

    On a CPU an image for each thread, whose pixels and coordinates stay in its cache: the whole batch
    would go through the memory several times. On a GPU the whole batch.
    """
    step = torch.get_num_threads() if images.device.type == "cpu" else len(images)
    yield from (slice(first, first + step) for first in range(0, len(images), step))


def _cut(theta: Tensor, size: tuple[int, int], crop: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Put a window of the crop's size anywhere into the image, at whole pixels, before the map."""
    whole, part = torch.tensor([size[1], size[0]]), torch.tensor([crop[1], crop[0]])
    shares = part / whole
    first = torch.floor(torch.rand((len(theta), 2), generator=generator) * (whole - part + 1))
    centre = (2.0 * first + part) / whole - 1.0
    moved = theta[:, :, 2:] + theta[:, :, :2] @ centre[:, :, None]
    return torch.cat([theta[:, :, :2] * shares, moved], dim=2)


def _affine_grid(theta: Tensor, height: int, width: int) -> Tensor:
    """Return where each output pixel comes from, ``(N, H, W, 2)``.

    As ``torch.nn.functional.affine_grid`` without aligned corners, in a fortieth of its time on a CPU: an affine map
    is a sum of what the column and what the row contribute, and here each row is one run of memory.
    """
    columns = (torch.arange(width, device=theta.device) * 2 + 1) / width - 1
    rows = (torch.arange(height, device=theta.device) * 2 + 1) / height - 1
    along_row = theta[:, None, :, 0] * columns[:, None] + theta[:, None, :, 2]
    per_row = theta[:, None, :, 1].expand_as(along_row)
    flat = torch.addcmul(along_row.reshape(-1, 1, 2 * width), rows[:, None], per_row.reshape(-1, 1, 2 * width))
    return flat.reshape(-1, height, width, 2)


def _symmetric(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform in -1..1."""
    return 2.0 * torch.rand(shape, generator=generator) - 1.0
