"""What runs the network: one file each behind a small protocol. Imports nothing heavy.

A new runtime is a line in ``RUNTIMES`` of ``medloom.registry`` and a file beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medloom.errors import UserError
from medloom.extras import require
from medloom.registry import PRECISIONS, RUNTIMES, check_name, load
from medloom.targets import Target

__all__ = [
    "Loader",
    "NetworkSpec",
    "Runtime",
    "build_runtime",
    "check_providers",
    "check_threads",
    "members_of",
    "needs_weights",
    "run_with_features",
    "tells_features",
]

Floats32 = NDArray[np.float32]

_MOST_THREADS = 1024


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


def members_of(runtime: Runtime, batch_nchw: Floats32, table_nf: Floats32 | None = None) -> Floats32:
    """Return what each network of an ensemble answers, where the runtime can tell them apart.

    Args:
        runtime: What runs the model.
        batch_nchw: As for ``Runtime.run``.
        table_nf: As for ``Runtime.run``.

    Returns:
        ``(M, N, K, ...)`` float32, whose mean is what ``run`` gives; M is 1 for a single network.
    """
    apart: Callable[..., Floats32 | None] | None = getattr(runtime, "members", None)
    found = None if apart is None else apart(batch_nchw, table_nf)
    return runtime.run(batch_nchw, table_nf)[None] if found is None else found


def tells_features(runtime: Runtime) -> bool:
    """Whether a runtime can be asked what the deepest layer makes of images; not every model says it."""
    return hasattr(runtime, "run_with_features")


def run_with_features(
    runtime: Runtime, batch_nchw: Floats32, table_nf: Floats32 | None = None
) -> tuple[Floats32, Floats32 | None]:
    """Return what the network answers, and what its deepest layer makes of the images, in one pass.

    Args:
        runtime: What runs the model.
        batch_nchw: As for ``Runtime.run``.
        table_nf: As for ``Runtime.run``.

    Returns:
        What ``run`` gives, and ``(N, E)`` float32, of an ensemble that of its first network; None where the model or
        the runtime cannot say.
    """
    both: Callable[..., tuple[Floats32, Floats32 | None]] | None = getattr(runtime, "run_with_features", None)
    return (runtime.run(batch_nchw, table_nf), None) if both is None else both(batch_nchw, table_nf)


class Loader(Protocol):
    """The class of a runtime, which loads models."""

    most_providers: int
    """How many providers one model may be given."""

    def available(self) -> tuple[str, ...]:
        """Return the providers that there are on this machine: what the runtime can compute with."""
        ...

    def open(
        self,
        model_path: Path,
        *,
        threads: int | None,
        providers: Sequence[str] | None,
        network: NetworkSpec | None,
        precision: str,
    ) -> Runtime:
        """Load the model; see ``build_runtime``."""
        ...


def check_threads(threads: int | None) -> None:
    """Raise if ``threads`` is no number of threads.

    Raises:
        UserError: If it is not None and no whole number from 1 to 1024.
    """
    whole = isinstance(threads, int) and not isinstance(threads, bool)
    if threads is not None and not (whole and 1 <= threads <= _MOST_THREADS):
        raise UserError(f"threads is {threads!r}; expected a whole number from 1 to {_MOST_THREADS}, or None")


def check_providers(name: str, providers: Sequence[str] | None) -> None:
    """Raise if a runtime cannot compute with ``providers`` on this machine.

    Args:
        name: Name of the runtime.
        providers: What was asked for, in order of preference; None leaves it to the runtime.

    Raises:
        UserError: If there is no such runtime, or a provider is not there, comes twice, or is one too many.
        MissingExtraError: If the runtime's library is not installed.
    """
    loader = _loader(name)
    if providers is None:
        return
    if isinstance(providers, str):
        raise UserError(f"providers is the text {providers!r}; expected a list, such as [{providers!r}]")
    valid = loader.available()
    for provider in providers:
        check_name(f"{name} provider", provider, valid)
    if not 1 <= len(set(providers)) == len(providers) <= loader.most_providers:
        most = f"at most {loader.most_providers}" if loader.most_providers > 1 else "one"
        raise UserError(f"providers is {list(providers)!r}; expected {most} of {', '.join(valid)}, none of them twice")


def build_runtime(
    name: str,
    model_path: Path,
    *,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
    network: NetworkSpec | None = None,
    precision: str = "fp32",
) -> Runtime:
    """Build a runtime by name.

    Args:
        name: One of ``RUNTIMES`` of ``medloom.registry``.
        model_path: The ONNX file; the safetensors where the runtime ``needs_weights``.
        threads: Threads of one call; all cores that this process may use by default.
        providers: What it computes with, in order of preference, such as ``["CPUExecutionProvider"]`` for ``onnx``,
            ``["GPU"]`` for ``openvino`` or ``["cuda:1"]`` for ``torch``; the processor by default.
        network: Needed where the runtime ``needs_weights``.
        precision: One of ``PRECISIONS`` of ``medloom.registry``, in which the network is computed. Of a graph in 8
            bits, and for ``onnx`` of one in 16, the graph itself says it.

    Raises:
        UserError: If there is no runtime or precision of that name, or it, threads or providers are not what the
            runtime can take; before the model is loaded.
        MissingExtraError: If its library is not installed.
        BundleError: If the model cannot be loaded.
    """
    check_threads(threads)
    check_providers(name, providers)
    check_name("precision", precision, PRECISIONS)
    return _loader(name).open(model_path, threads=threads, providers=providers, network=network, precision=precision)


def _loader(name: str) -> Loader:
    check_name("runtime", name, RUNTIMES)
    entry = RUNTIMES[name]
    if "extra" in entry.traits:  # its module is built on the library, and cannot say itself that it is missing
        require(entry.traits["module"], entry.traits["extra"])
    loader: Loader = load(entry)
    return loader
