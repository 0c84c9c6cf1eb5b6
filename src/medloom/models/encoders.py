"""Encoders of networks for masks, by name: any network of timm, and those that segmentation_models_pytorch adds.

A name of timm means timm's network, as it does for labels; the others keep the names that
segmentation_models_pytorch gives them, such as ``mit_b0``.
"""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
import re

import timm
import torch
from segmentation_models_pytorch.encoders import encoders as _THEIRS
from torch import Tensor, nn

from medloom.errors import RecipeError
from medloom.models.backbones import blocks, build_backbone, merge_norms
from medloom.models.imagenet import smp_imagenet
from medloom.models.pretrained import load_weights
from medloom.models.weights import fit_weights, read_weights
from medloom.wording import nearest

__all__ = ["begin_with", "library_name", "own_encoders"]

Size = tuple[int, ...]

_DEPRECATED = "timm-"


def own_encoders() -> list[str]:
    """Return the encoders that segmentation_models_pytorch adds to those of timm."""
    return [name for name in _THEIRS if not name.startswith(_DEPRECATED)]


def library_name(name: str) -> str:
    """Return what segmentation_models_pytorch calls an encoder.

    Args:
        name: A name of timm, with or without its tag, or one of that library's own.

    Raises:
        RecipeError: If there is no such encoder, naming the nearest.

    Example:
        >>> library_name("resnet18"), library_name("mit_b0")
        ('tu-resnet18', 'mit_b0')
    """
    architecture, dot, _ = name.partition(".")
    if timm.is_model(architecture) and (not dot or name in timm.list_models(f"{architecture}.*", pretrained=True)):
        return f"tu-{name}"
    own = own_encoders()
    if name in own:
        return name
    known = [*own, *timm.list_models(), *timm.list_models(f"{architecture}.*", pretrained=True)]
    raise RecipeError(
        f"model.encoder: there is no encoder {name!r}{nearest(name, known)}; expected a name of timm, such as "
        "resnet34, tf_efficientnet_lite0 or convnext_tiny, or one of segmentation_models_pytorch, such as mit_b0"
    )


def begin_with(encoder: nn.Module, name: str, in_channels: int, size: Size, weights: str) -> None:
    """Let a fresh encoder begin with weights; a network of timm's gets those that it would get for labels.

    Args:
        encoder: Changed in place.
        name: What the recipe calls it.
        in_channels: C of the images.
        size: Height and width of the images in pixels.
        weights: ``imagenet``, or what ``pretrained.load_weights`` takes.

    Raises:
        RecipeError: If the weights cannot be had or do not fit.
    """
    if timm.is_model(name.partition(".")[0]):
        _take_over(encoder, build_backbone(name, in_channels, size, weights=weights), name)
    else:
        state = read_weights(str(smp_imagenet(name))) if weights == "imagenet" else load_weights(weights, name)
        fit_weights(encoder, state, name=name, in_channels=in_channels)


def _take_over(encoder: nn.Module, whole: nn.Module, name: str) -> None:
    """Copy the weights of a whole network of timm into the same network without its end.

    Where timm gives a network's inner maps it takes it apart, and then writes ``stages_0`` for ``stages.0`` and puts
    ``model`` before the names, so they are compared without dots and that word.
    """
    theirs = {key.replace(".", "_"): value for key, value in whole.state_dict().items()}
    state: dict[str, Tensor] = {}
    for key, mine in encoder.state_dict().items():
        found = theirs.get(_plain(key))
        if found is None or found.shape != mine.shape:
            raise RecipeError(f"model.weights: {key} of the encoder {name!r} is not among its weights; take another")
        state[key] = found
    with torch.no_grad():
        encoder.load_state_dict(state)


def _plain(key: str) -> str:
    """What a tensor is called in the whole network, without dots."""
    parts = key.split(".")
    while parts[0] in ("model", "body"):
        parts = parts[1:]
    return "_".join(parts)


def encoder_blocks(encoder: nn.Module, name: str) -> list[list[nn.Parameter]]:
    """Return the parameters of an encoder, block by block from the image on; each is in one block.

    The blocks of a network of timm are those that it has for labels. Other encoders count theirs by the numbers at the
    end of their parts' names, or have a long row of parts, each of which is a block.

    Args:
        encoder: Of a network for masks.
        name: What the recipe calls it.
    """
    if timm.is_model(name.partition(".")[0]) and library_name(name).startswith("tu-") and hasattr(encoder, "model"):
        parts = _as_in_the_whole(encoder, name)
    else:
        children = [(key, part) for key, part in encoder.named_children() if list(part.parameters())]
        numbers = [re.search(r"(\d+)$", key) for key, _ in children]
        if all(numbers):
            parts = _by_number([int(found[0]) for found in numbers if found], [part for _, part in children])
        else:
            parts = [list(part.parameters()) for _, child in children for part in _row(child)]
    return merge_norms(parts)


def _as_in_the_whole(encoder: nn.Module, name: str) -> list[list[nn.Parameter]]:
    whole = timm.create_model(name, num_classes=0)
    names = {id(parameter): key.replace(".", "_") for key, parameter in whole.named_parameters()}
    mine = {_plain(key): parameter for key, parameter in encoder.named_parameters()}
    parts = [[mine.pop(key) for one in part if (key := names[id(one)]) in mine] for part in blocks(whole)]
    parts = [part for part in parts if part]
    parts[-1].extend(mine.values())  # norms after each map that the whole network does not have
    return parts


def _by_number(numbers: list[int], children: list[nn.Module]) -> list[list[nn.Parameter]]:
    parts: dict[int, list[nn.Parameter]] = {}
    for number, child in zip(numbers, children, strict=True):
        parts.setdefault(number, []).extend(child.parameters())
    return [parts[number] for number in sorted(parts)]


def _row(child: nn.Module) -> list[nn.Module]:
    return list(child.children()) if isinstance(child, nn.Sequential | nn.ModuleList) else [child]
