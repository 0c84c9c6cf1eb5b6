"""The process in which a bundle's network runs: ``python -m`` this module, ``FOLDER RUNTIME PRECISION``.

It reads arrays from its standard input and writes answers to its standard output, each time as a line of JSON with the
shapes and then the float32 values. A refusal is a line of JSON, and the end.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from medloom.errors import BundleError, MedloomError, UserError
from medloom.extras import require
from medloom.imaging.fence.host import fence_in
from medloom.inference import NetworkSpec, Runtime, build_runtime, needs_weights
from medloom.inference.runtimes import run_with_features
from medloom.inference.runtimes.graph import available_threads
from medloom.packaging.bundle import GRAPH, MANIFEST, WEIGHTS
from medloom.packaging.manifest import Manifest
from medloom.registry import RUNTIMES, load
from medloom.wording import one_line

__all__ = ["main"]

_GROWTH_BYTES = 4 * 2**30
_TIMES_MODEL = 16
"""Weights are copied and laid out anew when a model is loaded and optimised."""

_MOST_THREADS = 4


def main(arguments: Sequence[str]) -> None:
    """Answer until the other end is closed.

    Args:
        arguments: Folder of the bundle, name of the runtime, and in what it computes.
    """
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what native libraries print is no part of the answers
    try:
        _serve(_open(Path(arguments[0]), *arguments[1:]), sys.stdin.buffer, out)
    except Exception as error:  # libraries have exceptions of their own for a model that makes no sense
        out.write(json.dumps(_refusal(error)).encode() + b"\n")
        out.flush()


def _open(folder: Path, name: str, precision: str) -> Runtime:
    model, network = folder / GRAPH, _network(folder) if needs_weights(name) else None
    if network is not None:
        model = folder / WEIGHTS
    _load_libraries(name)
    fence_in(_GROWTH_BYTES + _TIMES_MODEL * model.stat().st_size)
    return build_runtime(
        name,
        model,
        threads=min(_MOST_THREADS, available_threads()),
        network=network,
        precision=precision,
    )


def _network(folder: Path) -> NetworkSpec:
    return Manifest.parse((folder / MANIFEST).read_bytes()).network()


def _load_libraries(name: str) -> None:
    """Import what is heavy before memory is limited, so that the limit is for the model alone."""
    entry = RUNTIMES[name]
    if "extra" in entry.traits:
        require(entry.traits["module"], entry.traits["extra"])
    load(entry)


def _serve(runtime: Runtime, source: IO[bytes], out: IO[bytes]) -> None:
    for line in source:
        asked = json.loads(line)
        given = [_read(source, shape) for shape in asked["shapes"]]
        answers = run_with_features(runtime, *given) if asked["features"] else (runtime.run(*given),)
        found = [np.ascontiguousarray(one, np.float32) for one in answers if one is not None]
        out.write(json.dumps({"shapes": [one.shape for one in found]}).encode() + b"\n")
        for one in found:
            out.write(one.tobytes())
        out.flush()


def _read(source: IO[bytes], shape: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.frombuffer(source.read(4 * math.prod(shape)), np.float32).reshape(shape)


def _refusal(error: Exception) -> dict[str, str]:
    if isinstance(error, MedloomError):
        kind = next(kind for kind in (BundleError, UserError, MedloomError) if isinstance(error, kind))
        return {"error": kind.__name__, "message": str(error)}
    what = "it needs too much memory" if isinstance(error, MemoryError) else one_line(str(error))
    return {"error": "BundleError", "message": f"the model cannot be run ({type(error).__name__}: {what})"}


if __name__ == "__main__":
    main(sys.argv[1:])
