"""Networks for masks by name, with plain arguments; ``medloom.registry.NETWORKS`` names the builders.

Here are those of MONAI; those on an encoder, from segmentation_models_pytorch, are in ``encoder_networks``.

A builder takes the channels of the images, the number of outputs, the size in pixels and the arguments that replace
its defaults. What it returns takes normalised images ``(N, C, H, W)`` and gives logits ``(N, K, H, W)``.
"""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from monai.networks import nets
from torch import Tensor, nn

from medloom.errors import RecipeError
from medloom.models.calling import check_arguments
from medloom.models.encoder_networks import EncoderNetwork, build_encoder_network
from medloom.models.encoders import encoder_blocks
from medloom.models.imagenet import monai_imagenet, origin_of
from medloom.models.mask_heatmaps import deepest_layer
from medloom.models.mask_network import MaskNetwork
from medloom.models.network import Network
from medloom.models.pretrained import load_weights
from medloom.models.probing import check_size, freeze_idle
from medloom.models.tuning import Tuning
from medloom.models.weights import fit_weights
from medloom.registry import NETWORKS, check_name, load

__all__ = [
    "ScalesNetwork",
    "attention_unet",
    "build_mask_network",
    "dynunet",
    "flexible_unet",
    "segresnet",
    "swin_unetr",
    "unet",
    "unetr",
]

Size = tuple[int, ...]

_WIDTHS = (32, 64, 128, 256, 512)
_BACKBONE = "efficientnet-b0"
_STAGE = re.compile(r"(_blocks\.)\d+\.(\d+\.)")
_CLASSIFIER = ("_fc.", "fc.")
_GIVEN = ("in_channels", "out_channels", "spatial_dims")


class ScalesNetwork(MaskNetwork):
    """A network that in training gives logits at several scales, ``(N, S, K, H, W)``, the finest first.

    Args:
        body: MONAI's ``DynUNet`` with deep supervision.
        deepest: As for ``MaskNetwork``.
    """

    def forward(self, images: Tensor, table: Tensor | None = None) -> Tensor:
        """Return logits ``(N, K, H, W)``, in training of every scale."""
        logits = super().forward(images, table)
        # MONAI keeps what the heads gave, in a list that its layers share: with the graph of the step behind it, which
        # would stay in memory, and no copy could be made of the network.
        heads = cast("list[Tensor]", self.body.heads)
        heads[:] = [torch.zeros(1)] * len(heads)
        return logits


def build_mask_network(
    name: str,
    in_channels: int,
    outputs: int,
    size: Size,
    args: Mapping[str, Any] | None = None,
    *,
    encoder: str | None = None,
    weights: str = "none",
    tuning: Tuning | None = None,
    deep_supervision: bool = False,
) -> Network:
    """Build a network, with fresh weights but for an encoder that begins with others.

    Dropout, where a network has some, drops whole feature maps: element-wise dropout spends much of a step
    on random numbers, and neighbouring pixels give away what it hides.

    Args:
        name: A name in ``medloom.registry.NETWORKS``.
        in_channels: C of the images.
        outputs: K of the logits: 1 for background and one class, else the number of classes.
        size: Height and width of the images in pixels.
        args: Arguments that replace the network's defaults.
        encoder: For a network on an encoder, and ``weights`` too: see ``encoder_networks.build_encoder_network``.
        weights: What the encoder begins with.
        tuning: How the encoder is trained.
        deep_supervision: Give several answers in training, for ``medloom.models.losses.EveryScale``.

    Returns:
        The network in training mode.

    Raises:
        RecipeError: If the name or an argument is wrong, the network cannot take images of this size, or the weights
            cannot be had or do not fit.

    Example:
        >>> import torch
        >>> net = build_mask_network("unet", 3, 1, (64, 64), {"channels": [4, 8]})
        >>> net(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 1, 64, 64])
    """
    check_name("network", name, NETWORKS, RecipeError)
    if "deep_supervision" in (args or {}):
        raise RecipeError("model.args.deep_supervision: the loss has to know of it too; set model.deep_supervision")
    if "encoder" in NETWORKS[name].traits:
        return build_encoder_network(
            name,
            in_channels,
            outputs,
            size,
            encoder=encoder,
            weights=weights,
            args=args,
            tuning=tuning,
            deep_supervision=deep_supervision,
        )
    return _of_monai(name, in_channels, outputs, size, args or {}, weights, tuning, deep_supervision=deep_supervision)


def _of_monai(
    name: str,
    in_channels: int,
    outputs: int,
    size: Size,
    args: Mapping[str, Any],
    weights: str,
    tuning: Tuning | None,
    *,
    deep_supervision: bool,
) -> Network:
    """Build one of MONAI's; see ``build_mask_network``."""
    given = {**({"deep_supervision": True} if deep_supervision else {}), **args}

    def body(size: Size) -> nn.Module:
        try:
            network: nn.Module = load(NETWORKS[name])(in_channels, outputs, size, **given)
        except (ValueError, TypeError, AssertionError, LookupError) as error:
            raise RecipeError(f"model.args: the network {name!r} cannot be built: {error}") from error
        return network

    network = body(size)
    _use_spatial_dropout(network)
    check_size(network, body, name, in_channels, size)
    if "weights" in NETWORKS[name].traits:
        backbone = str(args.get("backbone", _BACKBONE))
        if weights != "none":
            _begin_flexible(network.get_submodule("encoder"), backbone, in_channels, weights)
        freeze_idle(network, in_channels, size)
        parts = encoder_blocks(network.get_submodule("encoder"), backbone)
        return EncoderNetwork(backbone, network, parts, tuning, origin=origin_of(weights, backbone))
    kind = ScalesNetwork if deep_supervision else MaskNetwork
    return kind(network, deepest_layer(network, NETWORKS[name].traits))


def unet(in_channels: int, outputs: int, size: Size, /, **given: Any) -> nn.Module:  # noqa: ANN401 - MONAI's own
    """U-Net with residual units."""
    arguments = {"channels": list(_WIDTHS), "num_res_units": 2, **given}
    arguments.setdefault("strides", [2] * (len(arguments["channels"]) - 1))
    return _make(nets.UNet, "unet", in_channels, outputs, arguments)


def attention_unet(in_channels: int, outputs: int, size: Size, /, **given: Any) -> nn.Module:  # noqa: ANN401
    """U-Net with attention gates."""
    arguments = {"channels": list(_WIDTHS), **given}
    arguments.setdefault("strides", [2] * (len(arguments["channels"]) - 1))
    return _make(nets.AttentionUnet, "attention-unet", in_channels, outputs, arguments)


def unetr(in_channels: int, outputs: int, size: Size, /, **given: Any) -> nn.Module:  # noqa: ANN401
    """Transformer encoder with a convolutional decoder."""
    return _make(nets.UNETR, "unetr", in_channels, outputs, {"img_size": size, **given})


def swin_unetr(in_channels: int, outputs: int, size: Size, /, **given: Any) -> nn.Module:  # noqa: ANN401
    """Shifted-window transformer encoder with a convolutional decoder."""
    return _make(nets.SwinUNETR, "swin-unetr", in_channels, outputs, given)


def segresnet(in_channels: int, outputs: int, size: Size, /, **given: Any) -> nn.Module:  # noqa: ANN401
    """Residual encoder-decoder."""
    return _make(nets.SegResNet, "segresnet", in_channels, outputs, {"init_filters": 32, **given})


def dynunet(in_channels: int, outputs: int, size: Size, /, **given: Any) -> nn.Module:  # noqa: ANN401
    """nnU-Net's architecture."""
    filters = given.get("filters") or list(_WIDTHS)
    strides = given.get("strides") or [1] + [2] * (len(filters) - 1)
    defaults = {
        "filters": filters,
        "strides": strides,
        "kernel_size": [3] * len(strides),
        "upsample_kernel_size": strides[1:],
        "res_block": True,
        "deep_supr_num": max(len(strides) - 2, 1),
    }
    return _make(nets.DynUNet, "dynunet", in_channels, outputs, {**defaults, **given})


def flexible_unet(in_channels: int, outputs: int, size: Size, /, **given: Any) -> nn.Module:  # noqa: ANN401
    """U-Net decoder on an EfficientNet encoder."""
    if "pretrained" in given:
        raise RecipeError("model.args: 'pretrained' is not for the recipe to say; model.weights names the weights")
    return _make(nets.FlexibleUNet, "flexible-unet", in_channels, outputs, {"backbone": _BACKBONE, **given})


def _begin_flexible(encoder: nn.Module, backbone: str, in_channels: int, weights: str) -> None:
    """Load weights in the names of their authors, which MONAI's differ from by the number of a block's stage."""
    state = monai_imagenet(backbone) if weights == "imagenet" else load_weights(weights, backbone)
    own = encoder.state_dict()
    named = {_STAGE.sub(r"\1\2", key): key for key in own}
    theirs = {named.get(key, key): value for key, value in state.items() if not key.startswith(_CLASSIFIER)}
    kept = {key: value for key, value in own.items() if key.startswith(_CLASSIFIER)}  # never asked
    fit_weights(encoder, {**theirs, **kept}, name=backbone, in_channels=in_channels)


def _make(
    kind: Callable[..., nn.Module], name: str, in_channels: int, outputs: int, arguments: Mapping[str, Any]
) -> nn.Module:
    """Call a constructor of MONAI with arguments that it has."""
    known = {"in_channels": in_channels, "out_channels": outputs, "spatial_dims": 2}
    valid = [parameter for parameter in inspect.signature(kind).parameters if parameter not in _GIVEN]
    check_arguments("model.args", f"network {name!r}", (key for key in arguments if key not in _GIVEN), valid)
    return kind(**{**known, **arguments})


def _use_spatial_dropout(network: nn.Module) -> None:
    """Replace element-wise dropout on feature maps; transformers' dropout on tokens stays."""
    for name, module in list(network.named_modules()):
        if type(module) is nn.Dropout and name.rsplit(".", 1)[-1] == "D":  # MONAI's name for it beside convolutions
            parent = network.get_submodule(name.rpartition(".")[0])
            parent.add_module("D", nn.Dropout2d(module.p))
