"""Networks by name, from MONAI, with plain arguments.

Every network takes normalised images ``(N, C, H, W)`` and returns logits ``(N, K, H, W)``.
"""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

from monai.networks import nets
from torch import Tensor, nn

from medloom.errors import RecipeError
from medloom.models.probing import probe
from medloom.models.registry import check_name
from medloom.recipe import ModelConfig

__all__ = ["build_network", "parameter_count"]

Arguments = dict[str, Any]


def build_network(config: ModelConfig, in_channels: int, out_channels: int, size: tuple[int, int]) -> nn.Module:
    """Build a network with fresh weights.

    Dropout, where a network has some, drops whole feature maps: element-wise dropout spends much of a step
    on random numbers, and neighbouring pixels give away what it hides.

    Args:
        config: Name and the arguments that replace the defaults.
        in_channels: C of the images.
        out_channels: K of the logits: 1 for background and one class, else the number of classes.
        size: Height and width of the images in pixels.

    Returns:
        The network in training mode.

    Raises:
        RecipeError: If an argument is wrong, or the network cannot take images of this size.

    Example:
        >>> net = build_network(ModelConfig(name="unet", args={"channels": [4, 8]}), 3, 1, (64, 64))
        >>> net(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 1, 64, 64])
    """
    common = {"in_channels": in_channels, "out_channels": out_channels}
    check_name("network", config.name, _BUILDERS)
    try:
        network = _BUILDERS[config.name](config.args, common, size)
    except (ValueError, TypeError, AssertionError, LookupError) as error:
        raise RecipeError(f"model.args: the network {config.name!r} cannot be built: {error}") from error
    _use_spatial_dropout(network)
    _check_size(network, config.name, in_channels, size)
    return network


def parameter_count(network: nn.Module) -> int:
    """Return the number of trainable numbers in a network."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def _make(kind: Callable[..., nn.Module], name: str, arguments: Arguments) -> nn.Module:
    """Call a constructor with arguments that it has."""
    valid = [p for p in inspect.signature(kind).parameters if p not in ("in_channels", "out_channels", "spatial_dims")]
    for key in arguments:
        if key not in (*valid, "in_channels", "out_channels", "spatial_dims"):
            check_name(f"argument of network {name!r} named", key, valid)
    return kind(**arguments)


def _unet(given: Mapping[str, Any], common: Arguments, size: tuple[int, int]) -> nn.Module:
    arguments = {"channels": [32, 64, 128, 256, 512], "num_res_units": 2, **given}
    arguments.setdefault("strides", [2] * (len(arguments["channels"]) - 1))
    return _make(nets.UNet, "unet", {"spatial_dims": 2, **common, **arguments})


def _attention_unet(given: Mapping[str, Any], common: Arguments, size: tuple[int, int]) -> nn.Module:
    arguments = {"channels": [32, 64, 128, 256, 512], **given}
    arguments.setdefault("strides", [2] * (len(arguments["channels"]) - 1))
    return _make(nets.AttentionUnet, "attention-unet", {"spatial_dims": 2, **common, **arguments})


def _unetr(given: Mapping[str, Any], common: Arguments, size: tuple[int, int]) -> nn.Module:
    return _make(nets.UNETR, "unetr", {"spatial_dims": 2, "img_size": size, **common, **given})


def _swin_unetr(given: Mapping[str, Any], common: Arguments, size: tuple[int, int]) -> nn.Module:
    return _make(nets.SwinUNETR, "swin-unetr", {"spatial_dims": 2, **common, **given})


def _segresnet(given: Mapping[str, Any], common: Arguments, size: tuple[int, int]) -> nn.Module:
    return _make(nets.SegResNet, "segresnet", {"spatial_dims": 2, "init_filters": 32, **common, **given})


def _dynunet(given: Mapping[str, Any], common: Arguments, size: tuple[int, int]) -> nn.Module:
    filters = given.get("filters") or [32, 64, 128, 256, 512]
    strides = given.get("strides") or [1] + [2] * (len(filters) - 1)
    defaults = {
        "filters": filters,
        "strides": strides,
        "kernel_size": [3] * len(strides),
        "upsample_kernel_size": strides[1:],
        "res_block": True,
    }
    return _make(nets.DynUNet, "dynunet", {"spatial_dims": 2, **common, **defaults, **given})


def _flexible_unet(given: Mapping[str, Any], common: Arguments, size: tuple[int, int]) -> nn.Module:
    return _make(nets.FlexibleUNet, "flexible-unet", {"backbone": "efficientnet-b0", **common, **given})


_BUILDERS: dict[str, Callable[[Mapping[str, Any], Arguments, tuple[int, int]], nn.Module]] = {
    "unet": _unet,
    "attention-unet": _attention_unet,
    "unetr": _unetr,
    "swin-unetr": _swin_unetr,
    "segresnet": _segresnet,
    "dynunet": _dynunet,
    "flexible-unet": _flexible_unet,
}


def _use_spatial_dropout(network: nn.Module) -> None:
    """Replace element-wise dropout on feature maps; transformers' dropout on tokens stays."""
    for name, module in list(network.named_modules()):
        if type(module) is nn.Dropout and name.rsplit(".", 1)[-1] == "D":  # MONAI's name for it beside convolutions
            parent = network.get_submodule(name.rpartition(".")[0])
            parent.add_module("D", nn.Dropout2d(module.p))


def _check_size(network: nn.Module, name: str, in_channels: int, size: tuple[int, int]) -> None:
    """Find out now whether the network takes this size, not in the first step of the training."""
    logits = cast("Tensor", probe(network, name, in_channels, size))
    if tuple(logits.shape[2:]) != size:
        raise RecipeError(
            f"preprocess.size: the network {name!r} turns {size[0]}x{size[1]} into "
            f"{logits.shape[2]}x{logits.shape[3]}; take a multiple of 32"
        )
