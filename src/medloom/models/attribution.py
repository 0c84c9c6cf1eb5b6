"""What each pixel adds to the evidence for an answer: integrated gradients, by Captum."""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from medloom.errors import UserError
from medloom.extras import require
from medloom.models.heatmaps import copied
from medloom.targets import Activation

__all__ = ["integrated_gradients", "log_odds"]

_SMALLEST, _SMALLEST_REST = float(torch.finfo(torch.float32).tiny), 2.0**-25
_AT_A_TIME = 8


def integrated_gradients(
    network: nn.Module,
    activation: Activation,
    image: Tensor,
    table: Tensor | None,
    *,
    output: int,
    against: bool = False,
    region: Tensor | None = None,
    steps: int = 32,
) -> tuple[Tensor, float]:
    """Return the integrated gradients of one image, from an image that is its own mean everywhere.

    Args:
        network: Gives logits, or probabilities as an ensemble does; it is left as it is.
        activation: What is applied to logits.
        image: ``(1, C, H, W)`` float, normalised, on the network's device.
        table: ``(1, F)`` columns, or None where the network takes none; the same along the whole way.
        output: Which output, from 0.
        against: Whether what speaks against it is asked for.
        region: Of masks the pixels that are asked about, ``(H, W)`` bool.
        steps: Points of the way at which gradients are taken.

    Returns:
        ``(H, W)`` float32, the sum over the channels, in the unit of ``log_odds``; and how far their sum is from what
        it should be, the evidence in the image minus that in its mean.

    Raises:
        MissingExtraError: If Captum is not installed.
        UserError: If the network does not look at the image.

    Source:
        Sundararajan, Taly and Yan, Axiomatic Attribution for Deep Networks, ICML 2017, arXiv:1703.01365
    """
    method: Any = require("captum.attr", "explain").IntegratedGradients
    with torch.inference_mode(mode=False), torch.enable_grad(), torch.autocast(image.device.type, enabled=False):
        asked, given = copied(network), image.detach().float().clone()
        row = None if table is None else table.detach().float().clone()

        def forward(images: Tensor) -> Tensor:
            columns = () if row is None else (row.expand(len(images), -1),)
            found = log_odds(asked, asked(images, *columns), activation)[:, output]
            found = found if region is None else found[:, region].mean(dim=1)
            return -found if against else found

        _check_looks(forward, given)
        mean = given.mean(dim=(2, 3), keepdim=True).expand_as(given)
        found, gap = method(forward).attribute(
            given, baselines=mean, n_steps=steps, internal_batch_size=_AT_A_TIME, return_convergence_delta=True
        )
    map_hw: Tensor = found[0].sum(dim=0).detach().float()
    return map_hw, float(gap[0])


def _check_looks(forward: Callable[[Tensor], Tensor], image: Tensor) -> None:
    looked = image.clone().requires_grad_()
    if torch.autograd.grad(forward(looked).sum(), looked, allow_unused=True)[0] is None:
        raise UserError("there is nothing to show: the network does not look at the image (model.metadata: only)")


def log_odds(network: nn.Module, answer: Tensor, activation: Activation) -> Tensor:
    """Return the log-odds of each output, or the numbers themselves where numbers are predicted.

    Args:
        network: What has answered.
        answer: Its logits, or its probabilities where it gives these.
        activation: What is applied to logits.
    """
    if activation == "identity":
        return answer
    if not getattr(network, "gives_probabilities", False):
        made: Callable[[Tensor], Tensor] = {"sigmoid": lambda z: z, "softmax": _against_others}[activation]
        return made(answer.float())
    p = answer.float()
    return p.clamp_min(_SMALLEST).log() - (1.0 - p).clamp_min(_SMALLEST_REST).log()


def _against_others(logits: Tensor) -> Tensor:
    """From logits of classes that exclude each other to the log-odds of each against all others."""
    others = logits.unsqueeze(1).repeat(1, logits.shape[1], *[1] * (logits.ndim - 1))
    own = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    own = own.reshape(1, *own.shape, *[1] * (logits.ndim - 2))
    return logits - others.masked_fill(own, -torch.inf).logsumexp(dim=2)
