"""Finding out what a network does with images of a size before anything is trained."""

from __future__ import annotations

import torch
from torch import nn

from medloom.errors import RecipeError

__all__ = ["probe", "shown"]


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


def shown(size: tuple[int, ...]) -> str:
    """Return a size for a message.

    Example:
        >>> shown((64, 96))
        '64x96'
    """
    return "x".join(map(str, size))
