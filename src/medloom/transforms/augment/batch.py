"""Random changes to a whole batch, on the device: sampled from a generator first, then applied.

Shapes: N images, C channels, H height, W width.

Image and mask go through one geometric map, so they cannot drift apart. It works on stored pixels, where
outside the image means zero; so do the steps in ``levels``, to which it is then of no account how a recipe
normalises. ``scale``, ``shift`` and noise are in units of the normalised image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from medloom.recipe.sections.augment import AugmentConfig, ClassesAugmentConfig
from medloom.transforms.augment.geometry import AffineGrids, Elastic, cut, turned
from medloom.transforms.augment.levels import LevelStep, change_levels, steps_of
from medloom.transforms.augment.mixing import Mixing
from medloom.transforms.augment.parameters import AugmentParameters, draw_hits, symmetric
from medloom.transforms.preprocess import middle

__all__ = ["Augment", "normalise"]

_COLOURS = 3
_TINY = 1e-12


@dataclass(frozen=True)
class Augment:
    """Flips, turns, rotation, crop, deformation, changes of grey levels, noise. Without arguments it changes nothing.

    What is drawn for a step does not depend on the steps behind it, and a step that is off draws nothing.

    Args:
        flip_p: Probability of a mirror image, left and right.
        flip_vertical: Probability of a mirror image, top and bottom.
        turn_p: Probability of a turn by 90, 180 or 270 degrees; of an image that is not square by 180.
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
        elastic: Deformation.
        levels: Changes of grey levels, in their order.
        mixing: Two images in one, for labels; only drawn here, for the labels are changed with them.
        in_colour: Whether three channels are red, green and blue: then what is grey stays grey.

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
    flip_vertical: float = 0.0
    turn_p: float = 0.0
    elastic: Elastic = field(default_factory=Elastic)
    levels: tuple[LevelStep, ...] = ()
    mixing: Mixing = field(default_factory=Mixing)
    in_colour: bool = False

    @classmethod
    def of(cls, section: AugmentConfig, crop: tuple[int, int] | None = None, *, in_colour: bool = False) -> Self:
        """Take what a recipe's ``augment`` says; ``crop`` and ``in_colour`` as for the class."""
        plain = ("flip", "turn", "rotate", "crop", "scale", "shift", "noise")
        return cls(
            **{f"{step}_{key}": value for step in plain for key, value in getattr(section, step).model_dump().items()},
            crop=crop,
            elastic=Elastic(**section.elastic.model_dump()),
            levels=steps_of(section, in_colour=in_colour),
            mixing=Mixing.of(section) if isinstance(section, ClassesAugmentConfig) else Mixing(),
            in_colour=in_colour,
        )

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
        scale_hit = draw_hits(count, self.scale_p, generator).float()[:, None]
        shift_hit = draw_hits(count, self.shift_p, generator).float()[:, None]
        noise_hit = draw_hits(count, self.noise_p, generator).float()
        theta = self._sample_theta(count, size, generator)
        theta = theta if self.crop is None else cut(theta, size, self.crop, generator)
        gain = 1.0 + scale_hit * self.scale_amount * symmetric((count, channels), generator)
        shift = shift_hit * self.shift_amount * symmetric((count, channels), generator)
        noise_std = noise_hit * self.noise_std * torch.rand(count, generator=generator)
        noise_seed = int(torch.randint(2**62, (1,), generator=generator))
        if self.flip_vertical > 0:
            mirror = 1.0 - 2.0 * draw_hits(count, self.flip_vertical, generator).float()
            theta = theta * torch.stack([torch.ones(count), mirror, torch.ones(count)], dim=1)[:, None]
        seen = self.crop or size
        if self.turn_p > 0:
            theta = turned(theta, seen, self.turn_p, generator)
        return AugmentParameters(
            theta=theta,
            gain=gain,
            shift=shift,
            noise_std=noise_std,
            noise_seed=noise_seed,
            elastic=self.elastic.draw(count, seen, generator),
            levels=tuple(step.draw(count, channels, generator) for step in self.levels),
            mixing=self.mixing.draw(count, seen, generator),
        )

    def apply(
        self, images: Tensor, masks: Tensor, offset: Tensor, scale: Tensor, params: AugmentParameters
    ) -> tuple[Tensor, Tensor]:
        """Apply drawn parameters and normalise, in float32 whatever the network computes in.

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
        with torch.autocast(images.device.type, enabled=False):
            return self._change(images, offset, scale, params, masks, moved), moved

    def apply_image(self, images: Tensor, offset: Tensor, scale: Tensor, params: AugmentParameters) -> Tensor:
        """Apply drawn parameters to images without masks; see ``apply``."""
        with torch.autocast(images.device.type, enabled=False):
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
        """Warp, change grey levels, normalise, scale, shift, noise; the masks, if there are some, go into ``moved``."""
        device, size = images.device, self._size(images)
        theta = params.theta.to(device)
        grey = _are_grey(images) if self.in_colour and images.shape[1] == _COLOURS else None
        factor, shift = _linear(params, offset, scale, grey)
        changed, grids = torch.empty((*images.shape[:2], *size), device=device), AffineGrids(theta, *size)
        for piece in _pieces(images):
            grid = grids[piece]
            if params.elastic is not None:
                self.elastic.move(grid, theta[piece], params.elastic[piece])
            warped = F.grid_sample(images[piece].float(), grid, "bilinear", "zeros", align_corners=False)
            drawn = [one and one[piece] for one in params.levels]
            warped = change_levels(self.levels, warped, drawn)
            torch.addcmul(shift[piece], warped, factor[piece], out=changed[piece])
            if masks is not None and moved is not None:
                nearest = F.grid_sample(masks[piece, None].float(), grid, "nearest", "zeros", align_corners=False)
                moved[piece] = nearest[:, 0]
        return _add_noise(changed, scale, params, grey)

    def _sample_theta(self, count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Flip, rotation and crop of each image as one affine map."""
        flip = 1.0 - 2.0 * draw_hits(count, self.flip_p, generator).float()
        angle = draw_hits(count, self.rotate_p, generator).float() * math.radians(self.rotate_degrees)
        angle = angle * symmetric((count,), generator)
        shrink = draw_hits(count, self.crop_p, generator).float() * (1.0 - self.crop_min_scale)
        side = 1.0 - shrink * torch.rand(count, generator=generator)
        centre = (1.0 - side)[:, None] * symmetric((count, 2), generator)
        aspect = size[0] / size[1]  # coordinates are -1..1 on both axes whatever the shape
        cos, sin = torch.cos(angle) * side, torch.sin(angle) * side
        rows = [cos * flip, -sin * aspect, centre[:, 0], sin / aspect * flip, cos, centre[:, 1]]
        return torch.stack(rows, dim=1).reshape(count, 2, 3)


def _are_grey(images: Tensor) -> Tensor:
    """Whether the channels of each image are the same, ``(N,)``."""
    bits = images.view(torch.int16) if images.dtype == torch.uint16 else images  # torch cannot compare uint16
    return (bits[:, 1:] == bits[:, :1]).flatten(1).all(1)


def _linear(params: AugmentParameters, offset: Tensor, scale: Tensor, grey: Tensor | None) -> tuple[Tensor, Tensor]:
    """Factor and summand ``(N, C, 1, 1)`` that normalise stored pixels, and multiply and shift the result.

    The channels of a picture in colour change each by itself, which tints it. A grey one would be tinted too: there
    all channels change as the first does, as grey levels of the store, whose normalisation may differ by channel.
    """
    gain, added = params.gain.to(offset.device), params.shift.to(offset.device)
    factor, shift = scale * gain, added - offset * scale * gain
    if grey is not None:
        first, level = gain[:, :1], offset[:, :1]
        moved = level * (1.0 - first) + added[:, :1] / scale[:, :1].clamp_min(_TINY)
        factor = torch.where(grey[:, None], scale * first, factor)
        shift = torch.where(grey[:, None], (moved - offset) * scale, shift)
    return factor[:, :, None, None], shift[:, :, None, None]


def _add_noise(images: Tensor, scale: Tensor, params: AugmentParameters, grey: Tensor | None) -> Tensor:
    """Noise only for the images that drew some: most draw none. That of a grey picture is grey."""
    chosen = params.noise_std.nonzero()[:, 0].to(images.device)
    if len(chosen) == 0:
        return images
    generator = torch.Generator(images.device).manual_seed(params.noise_seed)
    places = params.noise_places
    count = len(chosen) if places is None else params.noise_count
    noise = torch.randn((count, *images.shape[1:]), generator=generator, device=images.device)
    noise = noise if places is None else noise[places.to(images.device)]
    if grey is not None:
        unit = (scale / scale[:, :1].clamp_min(_TINY))[chosen][:, :, None, None]
        noise = torch.where(grey[chosen][:, None, None, None], noise[:, :1] * unit, noise)
    std = params.noise_std.to(images.device)[chosen]
    return images.index_add_(0, chosen, noise * std[:, None, None, None])


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
