"""What runs the network: one file each behind a small protocol. Imports nothing heavy.

A new runtime is a line in ``RUNTIMES``, a file beside this one, and a fixture in the shared tests.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medloom.errors import UserError
from medloom.extras import require
from medloom.models.registry import LabelKind

__all__ = ["RUNTIMES", "WEIGHTS_RUNTIMES", "NetworkSpec", "Runtime", "build_runtime"]

Floats = NDArray[np.float32]

RUNTIMES: dict[str, str] = {
    "onnx": "medloom.inference.runtimes.onnx:OnnxRuntime",
    "openvino": "medloom.inference.runtimes.openvino:OpenVinoRuntime",
    "torch": "medloom.inference.runtimes.torch:TorchRuntime",
}

WEIGHTS_RUNTIMES = frozenset({"torch"})
"""Runtimes that rebuild the network and load its safetensors; the others load the ONNX graph."""


class Runtime(Protocol):
    """Runs the network on a batch; safe to call from several threads."""

    name: str

    def run(self, batch_nchw: Floats, table_nf: Floats | None = None) -> Floats:
        """Return what the network answers.

        Args:
            batch_nchw: ``(N, C, h, w)`` float32, normalised, N at least 1.
            table_nf: ``(N, F)`` float32 encoded metadata, where the model takes some.

        Returns:
            ``(N, K, h, w)`` probabilities, or ``(N, K)`` for labels of the whole image; float32.
        """
        ...


@dataclass(frozen=True)
class NetworkSpec:
    """What it takes to build a network again.

    Args:
        name: Name in the registry of networks.
        in_channels: Channels of the image.
        out_channels: 1 for two classes, else the number of classes or targets.
        size: Height and width in pixels.
        args: Arguments that replace the network's defaults.
        kind: What a label is, for labels of the whole image; None for masks.
        options: The other keys of the recipe's ``model`` that decide the network's shape.
        table_features: Columns of encoded metadata of each member; the answers of several members are averaged.
    """

    name: str
    in_channels: int
    out_channels: int
    size: tuple[int, int]
    args: dict[str, Any] = field(default_factory=dict)
    kind: LabelKind | None = None
    options: dict[str, Any] = field(default_factory=dict)
    table_features: tuple[int, ...] = (0,)


def build_runtime(
    name: str, model_path: Path, *, threads: int | None = None, network: NetworkSpec | None = None
) -> Runtime:
    """Build a runtime by name.

    Args:
        name: One of ``RUNTIMES``.
        model_path: The ONNX file; for the runtimes in ``WEIGHTS_RUNTIMES`` the safetensors.
        threads: Threads of one call; all cores that this process may use by default.
        network: Needed by the runtimes in ``WEIGHTS_RUNTIMES`` only.

    Raises:
        UserError: If there is no runtime of that name.
        MissingExtraError: If its library is not installed.
        BundleError: If the model cannot be loaded.
    """
    if name not in RUNTIMES:
        near = difflib.get_close_matches(name, RUNTIMES, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise UserError(f"there is no runtime {name!r}{hint}; valid: {', '.join(RUNTIMES)}")
    if name in WEIGHTS_RUNTIMES:
        require("torch", "train")  # their modules are built on it, and cannot say themselves that it is missing
    module, _, attribute = RUNTIMES[name].partition(":")
    runtime_class = getattr(importlib.import_module(module), attribute)
    runtime: Runtime = runtime_class.open(model_path, threads=threads, network=network)
    return runtime
