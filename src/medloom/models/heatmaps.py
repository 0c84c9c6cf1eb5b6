"""Where in an image a classifier found evidence for its answer."""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from monai.visualize.class_activation_maps import GradCAM, ModelWithHooks
from torch import Tensor, nn

from medloom.errors import UserError
from medloom.models.network import BackboneNetwork

if TYPE_CHECKING:
    from timm.models import VisionTransformer

__all__ = ["copied", "grad_cam", "scaled"]

_ToMap = Callable[[Tensor], Tensor]
N = TypeVar("N", bound=nn.Module)


def grad_cam(classifier: BackboneNetwork, images: Tensor, table: Tensor | None, target_index: int) -> Tensor:
    """Return Grad-CAM heat maps of one output.

    A map shows the evidence for the output, coarsely, on the last feature map of the backbone; for a vision
    transformer on the patches as they enter its last layer. The classifier is left as it is.

    Args:
        classifier: The network, in any mode.
        images: ``(N, C, H, W)`` float, normalised, on the classifier's device.
        table: ``(N, F)`` columns, or None where the network takes none.
        target_index: Which output, from 0.

    Returns:
        ``(N, H, W)`` float32 in 0..1: each map's largest value is 1, or all of it is 0 where there is no evidence
        for the output.

    Raises:
        UserError: If the network has no feature map, as ``perceptron`` and ``metadata: only``.
        ValueError: If there is no such output.

    Example:
        >>> grad_cam(classifier, torch.randn(2, 1, 64, 64), None, target_index=0).shape  # doctest: +SKIP
        torch.Size([2, 64, 64])

    Source:
        Selvaraju et al., Grad-CAM, ICCV 2017; the code is MONAI's.
    """
    with torch.inference_mode(mode=False), torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
        network = copied(classifier)
        images = images.detach().float().clone().requires_grad_()  # the layer may be all of the backbone
        rows = None if table is None else table.detach().float().clone()
        name, to_map = _target(network, images, rows)
        hooked = _Hooked(network, name, to_map)
        cam = GradCAM(hooked, name, postprocessing=scaled)  # type: ignore[arg-type]  # it takes these too
        maps: Tensor = cam(x=images, class_idx=_checked(target_index, network), table=rows)
    return maps[:, 0].detach()


class _Hooked(ModelWithHooks):
    """MONAI's hooks, for layers whose output is not ``(N, C, h, w)`` too."""

    def __init__(self, network: nn.Module, name: str, to_map: _ToMap) -> None:
        self._to_map = to_map
        super().__init__(network, name, register_forward=True, register_backward=True)

    def forward_hook(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: object, output: Tensor) -> None:
            self.activations[name] = self._to_map(output)

        return hook

    def backward_hook(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, towards_input: object, from_output: tuple[Tensor, ...]) -> None:
            self.gradients[name] = self._to_map(from_output[0])

        return hook


def copied(original: N) -> N:
    """Copy a network to be asked for gradients: hooks, gradients and the like stay out of the original."""
    network = deepcopy(original).eval().requires_grad_(requires_grad=True)
    for module in network.modules():
        if getattr(module, "inplace", False):  # the output of a layer with a hook must not be written over
            cast("nn.ReLU", module).inplace = False
    return network


def _target(network: BackboneNetwork, images: Tensor, table: Tensor | None) -> tuple[str, _ToMap]:
    """Return the layer to look at, and what turns its output into ``(N, C, h, w)``."""
    backbone = network.backbone
    if backbone is not None and hasattr(backbone, "num_prefix_tokens") and hasattr(backbone, "blocks"):
        return _patches(cast("VisionTransformer", backbone), images)
    last = _last_map(network, images, table)
    if last is None:
        raise UserError(f"there is no heat map for the network {network.name!r}: it has no feature map")
    if getattr(backbone, "output_fmt", "NCHW") == "NHWC":
        return last, lambda x: x.permute(0, 3, 1, 2).contiguous()
    return last, lambda x: x


def _patches(transformer: VisionTransformer, images: Tensor) -> tuple[str, _ToMap]:
    """Return the first norm of the last layer, and what lays its tokens out as the patches lie in the image."""
    height, width = transformer.patch_embed.dynamic_feat_size((images.shape[2], images.shape[3]))
    prefix = transformer.num_prefix_tokens
    last = f"backbone.blocks.{len(transformer.blocks) - 1}.norm1"
    return last, lambda x: x[:, prefix:].transpose(1, 2).unflatten(2, (height, width)).contiguous()


def _last_map(network: BackboneNetwork, images: Tensor, table: Tensor | None) -> str | None:
    """Run one image and return the layer of the backbone that is the last to give more than one pixel."""
    names: list[str] = []
    if network.backbone is None:
        return None
    handles = [
        module.register_forward_hook(
            lambda _module, _given, output, name=name: (
                names.append(name) if isinstance(output, Tensor) and output.ndim == 4 and _pixels(output) > 1 else None
            )
        )
        for name, module in network.named_modules()
        if name.startswith("backbone.")
    ]
    with torch.no_grad():
        network(images[:1], None if table is None else table[:1])
    for handle in handles:
        handle.remove()
    return names[-1] if names else None


def _pixels(output: Tensor) -> int:
    return output.shape[2] * output.shape[3]


def _checked(target_index: int, network: BackboneNetwork) -> int:
    outputs = next(m.out_features for m in reversed(list(network.head)) if isinstance(m, nn.Linear))
    if not 0 <= target_index < outputs:
        raise ValueError(f"expected an output from 0 to {outputs - 1}; got {target_index}")
    return target_index


def scaled(maps: Tensor) -> Tensor:
    """Bring the largest value of each map ``(N, 1, H, W)`` to 1; a map of zeros stays."""
    largest = maps.amax(dim=(1, 2, 3), keepdim=True)
    return torch.where(largest > 0, maps / largest.clamp_min(torch.finfo(maps.dtype).tiny), 0.0)
