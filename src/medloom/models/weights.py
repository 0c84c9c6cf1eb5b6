"""Weights of a backbone from a safetensors file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import Tensor, nn

from medloom.errors import RecipeError

__all__ = ["fit_weights", "read_weights"]

State = dict[str, Tensor]

_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".tar")
_OWN = "backbone."
"""Where a ``Classifier`` keeps its backbone, so that a trained one can be the beginning of another."""


def read_weights(path: str) -> State:
    """Read the tensors of a safetensors file.

    Args:
        path: Where it is, as the recipe says.

    Returns:
        Tensors by name.

    Raises:
        RecipeError: If there is no such file, it is a pickle, or not sound.
    """
    file = Path(path).expanduser()
    if file.suffix.lower() in _PICKLES:
        raise RecipeError(
            f"model.weights: {file.name} may be a pickle, which can run code when it is read; expected .safetensors. "
            "Where you trust it, read it with torch's weights_only=True and write it with safetensors.torch.save_file"
        )
    if file.suffix.lower() != ".safetensors":
        raise RecipeError(f"model.weights: expected none, imagenet or a .safetensors file; got {file.name!r}")
    if not file.is_file():
        where = "" if file.is_absolute() else ", looked for from the working directory"
        raise RecipeError(f"model.weights: there is no file {file.name}{where}")
    try:
        state: State = load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise RecipeError(f"model.weights: {file.name} is not a sound safetensors file: {error}") from error
    if not all(torch.isfinite(tensor).all() for tensor in state.values() if tensor.is_floating_point()):
        raise RecipeError(f"model.weights: {file.name} holds numbers that are not finite; take another file")
    return state


def fit_weights(backbone: nn.Module, state: State, *, name: str, in_channels: int) -> None:
    """Load weights into a backbone, from its own state, from timm's file with a classifier, or from a ``Classifier``.

    The classifier is left out. A first layer for three channels is adapted to ``in_channels`` as timm does, and timm's
    own conversion of older files and of other image sizes is tried where the file does not fit as it is.

    Args:
        backbone: Changed in place, or not at all.
        state: Tensors by name.
        name: The network's name, for messages.
        in_channels: C of the images.

    Raises:
        RecipeError: If the file does not fit, with how many names are missing, unexpected or of another shape.
    """
    inner = {key.removeprefix(_OWN): value for key, value in state.items() if key.startswith(_OWN)}
    state = _counters(backbone) | _adapted(_without_head(inner or state, backbone), backbone, in_channels)
    if _misfits(backbone, state):
        converted = _converted(state, backbone)
        state = converted if converted is not None and not _misfits(backbone, converted) else state
    problems = _misfits(backbone, state)
    if problems:
        raise RecipeError(
            f"model.weights: the file does not hold the weights of {name!r}: {'; '.join(problems)}. "
            "Take a file of the same network, or change model.name"
        )
    backbone.load_state_dict(state)


def _without_head(state: State, backbone: nn.Module) -> State:
    heads = _listed(backbone, "classifier") or ("classifier",)
    own = backbone.state_dict().keys()
    return {k: v for k, v in state.items() if k in own or not k.startswith(tuple(f"{head}." for head in heads))}


def _adapted(state: State, backbone: nn.Module, in_channels: int) -> State:
    """Adapt first layers for three channels, by timm's rule: sum for one channel, else repeat in turn and scale."""
    state = dict(state)
    own = backbone.state_dict()
    for layer in _listed(backbone, "first_conv") or ("features.0",):
        key = f"{layer}.weight"
        weight = state.get(key)
        if weight is None or key not in own or weight.shape == own[key].shape or weight.ndim != 4:
            continue
        if weight.shape[1] == 3:
            state[key] = adapt_input_conv(in_channels, weight)
    return state


def _converted(state: State, backbone: nn.Module) -> State | None:
    """Apply the conversion that timm keeps beside a network, where there is one."""
    convert = getattr(sys.modules.get(type(backbone).__module__), "checkpoint_filter_fn", None)
    if convert is None:
        return None
    try:
        result: State = convert(dict(state), backbone)
    except Exception:  # written for files of that network, and this may be any other; the caller says what misfits
        return None
    return result


def _counters(backbone: nn.Module) -> State:
    """Return what older files lack: how many batches each batch norm has seen."""
    return {key: value for key, value in backbone.state_dict().items() if key.endswith("num_batches_tracked")}


def _misfits(backbone: nn.Module, state: State) -> list[str]:
    own = backbone.state_dict()
    groups = {
        f"of its {len(own)} tensors are missing": own.keys() - state.keys(),
        f"of its {len(own)} tensors are of another shape": {
            key for key in own.keys() & state.keys() if own[key].shape != state[key].shape
        },
        f"of the file's {len(state)} tensors are unexpected": state.keys() - own.keys(),
    }
    return [f"{len(keys)} {what} (such as {min(keys)})" for what, keys in groups.items() if keys]


def _listed(backbone: nn.Module, entry: str) -> tuple[str, ...]:
    """Return the layers that timm's description of a network names under ``entry``."""
    description: dict[str, str | Iterable[str] | None] = getattr(backbone, "pretrained_cfg", None) or {}
    value = description.get(entry) or ()
    return (value,) if isinstance(value, str) else tuple(value)
