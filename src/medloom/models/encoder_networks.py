"""Networks for masks that stand on an encoder, which can begin with weights: those of segmentation_models_pytorch.

``medloom.registry.NETWORKS`` names their classes; the trait ``encoder`` says that a network has one, and which by
default.
"""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import timm
from torch import Tensor, nn

from medloom.errors import RecipeError
from medloom.models.calling import check_arguments
from medloom.models.encoders import begin_with, encoder_blocks, library_name
from medloom.models.imagenet import origin_of
from medloom.models.mask_network import MaskNetwork
from medloom.models.nested import NestedHeads
from medloom.models.pretrained import Origin
from medloom.models.probing import check_size, freeze_idle
from medloom.models.tuning import TunedNetwork, Tuning
from medloom.registry import NETWORKS, load

__all__ = ["EncoderNetwork", "build_encoder_network"]

Size = tuple[int, ...]

_GIVEN = ("encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params", "kwargs")
"""Arguments that the recipe's other keys decide, or that would make it another kind of network."""
_ENCODER = "encoder"
_LEVELS = " An encoder whose maps are all of one size, as a vision transformer's, is for smp-dpt"
_OWN_ERRORS = (ValueError, TypeError, AssertionError, LookupError, RuntimeError, AttributeError)


class EncoderNetwork(TunedNetwork, MaskNetwork):
    """A network that gives a map of logits for each class, with an encoder whose maps a decoder puts together.

    Args:
        name: Of the encoder, for messages.
        body: Images to logits, with the encoder in its attribute ``encoder``, which gives maps from the largest to the
            smallest.
        blocks: The encoder's parameters, block by block from the image on.
        tuning: How the encoder is trained; by default all of it at one rate.
        origin: Where the weights are from that the encoder has begun with; None for fresh ones.
        nested: Gives the answers of shallower networks within the body, in training; None for its own alone.
    """

    def __init__(
        self,
        name: str,
        body: nn.Module,
        blocks: Sequence[Sequence[nn.Parameter]],
        tuning: Tuning | None = None,
        *,
        origin: Origin | None = None,
        nested: NestedHeads | None = None,
    ) -> None:
        super().__init__(body, _ENCODER)
        self.name = name
        self.nested = nested
        self.origin = origin
        self.tune_backbone(f"body.{_ENCODER}", blocks, tuning or Tuning())

    def forward(self, images: Tensor, table: Tensor | None = None) -> Tensor:
        """Return logits ``(N, K, H, W)``; in training with nested networks ``(N, S, K, H, W)``, its own first."""
        logits = super().forward(images, table)
        if self.nested is None or not self.training:
            return logits
        answers: Tensor = self.nested(logits)
        return answers


def build_encoder_network(
    name: str,
    in_channels: int,
    outputs: int,
    size: Size,
    *,
    encoder: str | None = None,
    weights: str = "none",
    args: Mapping[str, Any] | None = None,
    tuning: Tuning | None = None,
    deep_supervision: bool = False,
) -> EncoderNetwork:
    """Build a network on an encoder; nothing is fetched unless ``weights`` asks for it.

    Args:
        name: A name in ``medloom.registry.NETWORKS`` whose traits name an encoder.
        in_channels: C of the images. Weights for three channels are adapted: summed for one channel, else repeated in
            turn and scaled, so that the first layer's response keeps its size.
        outputs: K of the logits: 1 for background and one class, else the number of classes.
        size: Height and width of the images in pixels.
        encoder: A name of timm or of segmentation_models_pytorch; None for the network's default.
        weights: What the encoder begins with: ``none``, ``imagenet``, or what ``pretrained.load_weights`` takes.
        args: Arguments that replace the network's defaults.
        tuning: How the encoder is trained; by default all of it at one rate.
        deep_supervision: Of ``smp-unet++``: give the answers of its nested networks too in training.

    Returns:
        The network in training mode.

    Raises:
        RecipeError: If a name or an argument is wrong, the network cannot take images of this size, or the weights
            cannot be had or do not fit.

    Example:
        >>> import torch
        >>> net = build_encoder_network("smp-fpn", 2, 1, (64, 64), encoder="test_resnet")
        >>> net.eval()(torch.zeros(1, 2, 64, 64)).shape
        torch.Size([1, 1, 64, 64])
    """
    chosen = encoder or str(NETWORKS[name].traits["encoder"])
    kind: Callable[..., nn.Module] = load(NETWORKS[name])
    theirs = library_name(chosen)
    valid = [key for key in inspect.signature(kind).parameters if key not in _GIVEN]
    check_arguments("model.args", f"network {name!r}", args or {}, valid)

    def body(size: Size) -> nn.Module:
        known = {"encoder_name": theirs, "encoder_weights": None, "in_channels": in_channels, "classes": outputs}
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Encoder does not have prefix tokens")  # it goes without
                return kind(**known, **(args or {}), **_for_size(chosen, name, size))
        except _OWN_ERRORS as error:
            hint = _LEVELS if "downsampling pattern" in str(error) else ""
            raise RecipeError(f"model: {name!r} cannot be built on the encoder {chosen!r}: {error}{hint}") from error

    network = body(size)
    check_size(network, body, f"{name} on {chosen}", in_channels, size)
    if weights != "none":
        begin_with(network.get_submodule(_ENCODER), chosen, in_channels, size, weights)
    freeze_idle(network, in_channels, size)
    nested = NestedHeads(network.get_submodule("decoder"), outputs) if deep_supervision else None
    parts = encoder_blocks(network.get_submodule(_ENCODER), chosen)
    origin = origin_of(weights, chosen)
    return EncoderNetwork(chosen, network, parts, tuning, origin=origin, nested=nested).train()


def _for_size(encoder: str, name: str, size: Size) -> dict[str, Any]:
    """Return what an encoder of timm must be told of the size of the images."""
    known = timm.get_pretrained_cfg(encoder)
    given: dict[str, Any] = {"num_classes": 0} if name == "smp-dpt" else {}
    return {**given, "img_size": size} if known is not None and known.fixed_input_size else given
