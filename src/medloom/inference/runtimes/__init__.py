"""What runs the network: one file each behind a small protocol. Imports nothing heavy.

A new runtime is a line in ``RUNTIMES`` of ``medloom.registry`` and a file beside this one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medloom.extras import require
from medloom.registry import RUNTIMES, check_name, load
from medloom.targets import Target

__all__ = ["NetworkSpec", "Runtime", "build_runtime", "needs_weights"]

Floats32 = NDArray[np.float32]


class Runtime(Protocol):
    """Runs the network on a batch; safe to call from several threads."""

    name: str

    def run(self, batch_nchw: Floats32, table_nf: Floats32 | None = None) -> Floats32:
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
        name: Name of the network, or of the backbone.
        in_channels: Channels of the image.
        size: Height and width in pixels.
        target: What is predicted.
        args: Arguments that replace the network's defaults.
        options: The other keys of the recipe's ``model`` that decide the network's shape.
        table_features: Columns of encoded metadata of each member; the answers of several members are averaged.
    """

    name: str
    in_channels: int
    size: tuple[int, ...]
    target: Target
    args: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    table_features: tuple[int, ...] = (0,)


def needs_weights(name: str) -> bool:
    """Whether a runtime rebuilds the network and loads its safetensors; the others load the ONNX graph.

    Raises:
        UserError: If there is no runtime of that name.
    """
    check_name("runtime", name, RUNTIMES)
    return bool(RUNTIMES[name].traits.get("needs_weights", False))


def build_runtime(
    name: str, model_path: Path, *, threads: int | None = None, network: NetworkSpec | None = None
) -> Runtime:
    """Build a runtime by name.

    Args:
        name: One of ``RUNTIMES`` of ``medloom.registry``.
        model_path: The ONNX file; the safetensors where the runtime ``needs_weights``.
        threads: Threads of one call; all cores that this process may use by default.
        network: Needed where the runtime ``needs_weights``.

    Raises:
        UserError: If there is no runtime of that name.
        MissingExtraError: If its library is not installed.
        BundleError: If the model cannot be loaded.
    """
    check_name("runtime", name, RUNTIMES)
    entry = RUNTIMES[name]
    if "extra" in entry.traits:  # its module is built on the library, and cannot say itself that it is missing
        require(entry.traits["module"], entry.traits["extra"])
    runtime: Runtime = load(entry).open(model_path, threads=threads, network=network)
    return runtime
