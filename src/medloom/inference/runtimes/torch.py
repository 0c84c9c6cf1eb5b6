"""PyTorch: the network itself, rebuilt from safetensors. The reference that the others are measured against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn

from medloom.errors import BundleError
from medloom.extras import require
from medloom.inference.runtimes import NetworkSpec
from medloom.models.networks import build_network
from medloom.recipe import ModelConfig

__all__ = ["Probabilities", "TorchRuntime"]

Floats = NDArray[np.float32]


class Probabilities(nn.Module):
    """A network whose output is probabilities: sigmoid for one channel, softmax for more, in float32.

    Args:
        network: Gives logits ``(N, K, h, w)``; put into evaluation mode.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.eval()

    def forward(self, images_nchw: torch.Tensor) -> torch.Tensor:
        """Return ``(N, K, h, w)`` float32 probabilities."""
        logits: torch.Tensor = self.network(images_nchw).float()
        return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(dim=1)


class TorchRuntime:
    """Runs a network that gives logits.

    Args:
        network: The network on any device; put into evaluation mode.
        threads: Threads of PyTorch's own pool, for the whole process; left as they are by default.
    """

    name = "torch"

    def __init__(self, network: nn.Module, *, threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.model = Probabilities(network)
        self._device = next((p.device for p in network.parameters()), torch.device("cpu"))

    @classmethod
    def open(cls, model_path: Path, *, threads: int | None = None, network: NetworkSpec | None = None) -> TorchRuntime:
        """Rebuild ``network`` and load the safetensors at ``model_path``.

        Raises:
            BundleError: If the weights do not belong to that network.
        """
        if network is None:
            raise ValueError("the torch runtime needs the network to rebuild")
        model = _rebuild(network)
        load_file = require("safetensors.torch", "serve").load_file
        try:
            model.load_state_dict(load_file(model_path))
        except Exception as error:  # safetensors' own error and torch's RuntimeError share no base
            raise BundleError(f"{model_path.name} does not hold the weights of {network.name}: {error}") from error
        return cls(model, threads=threads)

    def run(self, batch_nchw: Floats) -> Floats:
        """Return ``(N, K, h, w)`` probabilities of a ``(N, C, h, w)`` float32 batch."""
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(batch_nchw)).to(self._device)
            probabilities: Floats = self.model(batch).cpu().numpy()
        return probabilities


def _rebuild(network: NetworkSpec) -> nn.Module:
    try:
        config = ModelConfig.model_validate({"name": network.name, "args": network.args})
    except ValidationError as error:
        raise BundleError(f"this version of Medloom knows no network {network.name!r}") from error
    return build_network(config, network.in_channels, network.out_channels, network.size)
