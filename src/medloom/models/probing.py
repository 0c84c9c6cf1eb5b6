"""Finding out what a network does with images of a size before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from medloom.errors import RecipeError

__all__ = ["check_size", "freeze_idle", "probe", "shown"]

Size = tuple[int, ...]

_STEPS = (2, 4, 8, 14, 16, 32, 64)
"""Sizes in pixels of which an image may have to be a multiple; 14 is the patch of some transformers."""


def probe(network: nn.Module, name: str, in_channels: int, size: tuple[int, ...]) -> object:
    """Return what a network gives for one blank image; its mode and its weights stay as they are.

    Args:
        network: Takes images ``(N, C, H, W)``.
        name: The network's name, for the message.
        in_channels: C of the images.
        size: Height and width of the images in pixels.

    Raises:
        RecipeError: If the network cannot take images of this size.
    """
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            answer: object = network(torch.zeros(1, in_channels, *size))
    except (RuntimeError, ValueError, AssertionError) as error:
        text = f"preprocess.size, or preprocess.crop: the network {name!r} cannot take {shown(size)}: {error}"
        raise RecipeError(text) from error
    finally:
        network.train(was_training)
    return answer


def check_size(network: nn.Module, build: Callable[[Size], nn.Module], name: str, in_channels: int, size: Size) -> None:
    """Find out now whether a network for masks takes this size, not in the first step of the training.

    Args:
        network: Gives logits in the size of its images.
        build: Makes the same network for images of another size.
        name: The network's name, for the message.
        in_channels: C of the images.
        size: Height and width of the images in pixels.

    Raises:
        RecipeError: If it does not; with a size that fits, where there is one close by.
    """
    if _keeps(network, name, in_channels, size):
        return
    for step in _STEPS:
        rounded, larger = _up(size, step), _up((size[0] + step, size[1] + step), step)
        if all(_builds(build, other, name, in_channels) for other in (rounded, larger)):
            raise RecipeError(
                f"preprocess.size, or preprocess.crop: the network {name!r} cannot take {shown(size)}; "
                f"{shown(rounded)} fits, and so do other multiples of {step}"
            )
    probe(network, name, in_channels, size)  # says what the network has against it
    raise RecipeError(f"preprocess.size: the network {name!r} turns {shown(size)} into another size; take a square")


def _up(size: Size, step: int) -> Size:
    height, width = size
    return -(-height // step) * step, -(-width // step) * step


def _builds(build: Callable[[Size], nn.Module], size: Size, name: str, in_channels: int) -> bool:
    """Whether a network for another size can be built and keeps it."""
    try:
        return _keeps(build(size), name, in_channels, size)
    except RecipeError:
        return False


def _keeps(network: nn.Module, name: str, in_channels: int, size: Size) -> bool:
    """Whether the network gives an answer in the size of its image."""
    try:
        logits = cast("Tensor", probe(network, name, in_channels, size))
    except RecipeError:
        return False
    return tuple(logits.shape[2:]) == tuple(size)


def freeze_idle(network: nn.Module, in_channels: int, size: Size) -> None:
    """Freeze the parameters that no answer depends on: several processes would wait for their gradients for ever.

    Args:
        network: Gives logits; its mode stays as it is.
        in_channels: C of the images.
        size: Height and width of the images in pixels.
    """
    was_training, parameters = network.training, list(network.parameters())
    network.eval()
    with torch.enable_grad():
        logits: Tensor = network(torch.zeros(1, in_channels, *size))
        gradients = torch.autograd.grad(logits.sum(), parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)
    network.train(was_training)


def shown(size: tuple[int, ...]) -> str:
    """Return a size for a message.

    Example:
        >>> shown((64, 96))
        '64x96'
    """
    return "x".join(map(str, size))
