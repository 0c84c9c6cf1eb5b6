"""A network whose layers are made random one after another, from the last to the first, for a check of heat maps.

The values of each tensor are shuffled: what was learned is gone, and the size of the numbers that flow through the
network stays about what it was.

Source: Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, arXiv:1810.03292 (cascading randomisation)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

__all__ = ["cascade"]


def cascade(network: nn.Module, stages: int = 5, seed: int = 0) -> Iterator[tuple[str, nn.Module]]:
    """Yield copies of a network of which more and more layers are random, the last layer first.

    Args:
        network: A network, or an ensemble, whose members lose the same layers at a time.
        stages: How many copies: of the first the last layer is random, of the last all of it.
        seed: Of the shuffling.

    Yields:
        Which share of the layers is random, such as ``the last layer`` or ``half of the layers``, and the copy, in
        evaluation mode.
    """
    random, generator = deepcopy(network).eval(), torch.Generator().manual_seed(seed)
    members: Sequence[nn.Module] = list(getattr(random, "networks", [random]))
    layers = [_layers(member) for member in members]
    done = [0] * len(layers)
    for stage in range(stages):
        for place, own in enumerate(layers):
            upto = _upto(stage, stages, len(own))
            for layer in own[done[place] : upto]:
                _shuffle(layer, generator)
            done[place] = max(done[place], upto)
        yield _said(stage, stages), deepcopy(random)


def _layers(network: nn.Module) -> list[nn.Module]:
    """Modules with values of their own that can be shuffled, the last first; one value alone stays what it is."""
    own = [module for module in network.modules() if any(p.numel() > 1 for p in module.parameters(recurse=False))]
    return own[::-1]


def _upto(stage: int, stages: int, layers: int) -> int:
    """How many layers are random after a stage: one, then equal shares, at last all."""
    return max(1, round(layers * stage / (stages - 1))) if stages > 1 else layers


def _said(stage: int, stages: int) -> str:
    if stage == 0:
        return "the last layer"
    share = stage / (stages - 1)
    return "all layers" if share == 1 else f"the last {share:.0%} of the layers"


def _shuffle(layer: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for tensor in layer.parameters(recurse=False):
            tensor.copy_(_shuffled(tensor, generator))


def _shuffled(tensor: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
    return tensor.flatten()[order].reshape(tensor.shape)
