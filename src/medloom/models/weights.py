"""Weights of a backbone from a file: reading it, and fitting its tensors to the network."""

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
from medloom.registry import WEIGHTS

__all__ = ["State", "fit_weights", "read_weights"]

State = dict[str, Tensor]

_TORCH = (".pt", ".pth", ".bin")
"""Files of torch's own format, of which only tensors are read."""
_INSIDE = ("state_dict", "model", "model_state_dict", "teacher")
"""Under which names files keep the tensors beside other things."""
_OWN = "backbone."
"""Where a ``Classifier`` keeps its backbone, so that a trained one can be the beginning of another."""


def read_weights(path: str) -> State:
    """Read the tensors of a safetensors file, or of one of torch's own format, of which nothing but tensors is read.

    Args:
        path: Where it is, as the recipe says.

    Returns:
        Tensors by name, in the order of the file; a safetensors file has none of its own.

    Raises:
        RecipeError: If there is no such file, or it is not sound or holds more than tensors.
    """
    file = Path(path).expanduser()
    if file.suffix.lower() not in (".safetensors", *_TORCH):
        raise RecipeError(
            f"model.weights: expected none, imagenet, {', '.join(WEIGHTS)}, or a file that ends in .safetensors, "
            f"{', '.join(_TORCH)}; got {file.name!r}"
        )
    if not file.is_file():
        where = "" if file.is_absolute() else ", looked for from the working directory"
        raise RecipeError(f"model.weights: there is no file {file.name}{where}")
    state = _from_torch(file) if file.suffix.lower() in _TORCH else _from_safetensors(file)
    if not all(torch.isfinite(tensor).all() for tensor in state.values() if tensor.is_floating_point()):
        raise RecipeError(f"model.weights: {file.name} holds numbers that are not finite; take another file")
    return state


def _from_safetensors(file: Path) -> State:
    try:
        state: State = load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise RecipeError(f"model.weights: {file.name} is not a sound safetensors file: {error}") from error
    return state


def _from_torch(file: Path) -> State:
    """Read a file of torch's own format, which may be a pickle, for the tensors in it and nothing else."""
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the bytes make torch's reader stumble over
        raise RecipeError(
            f"model.weights: {file.name} holds more than tensors, or is not sound, and nothing of it was run: expected "
            "a file of tensors by name. Where you trust it, write them with safetensors.torch.save_file"
        ) from error
    inner = next((found[key] for key in _INSIDE if isinstance(found, dict) and isinstance(found.get(key), dict)), found)
    if not isinstance(inner, dict) or not any(isinstance(value, Tensor) for value in inner.values()):
        raise RecipeError(f"model.weights: {file.name} holds no tensors by name")
    return {str(key): value for key, value in inner.items() if isinstance(value, Tensor)}


def fit_weights(backbone: nn.Module, state: State, *, name: str, in_channels: int, head: bool = False) -> None:
    """Load weights into a backbone, from its own state, from timm's file with a classifier, or from a ``Classifier``.

    The classifier is left out. A first layer for three channels is adapted to ``in_channels`` as timm does, and timm's
    own conversion of older files and of other image sizes is tried where the file does not fit as it is.

    Args:
        backbone: Changed in place, or not at all.
        state: Tensors by name.
        name: The network's name, for messages.
        in_channels: C of the images.
        head: Whether the network has its classifier and takes that of the file too.

    Raises:
        RecipeError: If the file does not fit, with how many names are missing, unexpected or of another shape.
    """
    inner = {key.removeprefix(_OWN): value for key, value in state.items() if key.startswith(_OWN)}
    state = (inner or state) if head else _without_head(inner or state, backbone)
    state = _counters(backbone) | _adapted(state, backbone, in_channels)
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
    for layer in _listed(backbone, "first_conv") or _first_convolution(backbone):
        key = f"{layer}.weight"
        weight = state.get(key)
        if weight is None or key not in own or weight.shape == own[key].shape or weight.ndim != 4:
            continue
        if weight.shape[1] == 3:
            state[key] = adapt_input_conv(in_channels, weight)
    return state


def _first_convolution(backbone: nn.Module) -> tuple[str, ...]:
    names = (name for name, module in backbone.named_modules() if isinstance(module, nn.Conv2d))
    return tuple(name for name in (next(names, None),) if name is not None)


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
