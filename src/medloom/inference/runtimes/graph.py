"""What the runtimes that load an ONNX graph have in common: reading it safely."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

from medloom.errors import BundleError
from medloom.inference.runtimes.bounds import check_bounds
from medloom.inference.runtimes.protobuf import fields

__all__ = ["FEATURES", "MEMBERS", "available_threads", "give_back_memory", "read_graph"]

MEMBERS = "members"
"""Output of the graph of an ensemble that holds the answer of each of its networks."""

FEATURES = "features"
"""Output of the graph that holds what its deepest layer makes of each image, ``(N, E)``; computed when asked for."""

_MAX_DEPTH = 64

# Which fields of onnx.proto hold messages that can hold a tensor: field number -> message.
_MESSAGES: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Node": {5: "Attribute"},
    "Function": {7: "Node", 11: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
}
_EXTERNAL_DATA = 13
_DATA_LOCATION = 14


def available_threads() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def give_back_memory() -> None:
    """Return to the system what loading a model took and left: the C library of most Linux systems keeps it."""
    with suppress(OSError, AttributeError, TypeError):  # others have no such function
        ctypes.CDLL(None).malloc_trim(0)


def read_graph(path: Path) -> bytes:
    """Read an ONNX file that stands alone.

    External tensors would let a model read any file of the machine, so a graph with one is refused
    before a runtime sees it; so is a symbolic link, and what ``check_bounds`` finds.

    Args:
        path: The ``.onnx`` file.

    Returns:
        Its bytes.

    Raises:
        BundleError: If it is missing, a link, not ONNX, refers to other files, or could run without end.
    """
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{path.name} is not a regular file; expected an ONNX model with its weights inside")
    data = path.read_bytes()
    try:
        if _has_external_data(memoryview(data), "Model", 0):
            raise BundleError(f"{path.name} keeps weights in other files; export it again with the weights inside")
        check_bounds(memoryview(data))
    except (IndexError, ValueError) as error:
        raise BundleError(f"{path.name} is not a sound ONNX model ({error})") from error
    return data


def _has_external_data(data: memoryview, message: str, depth: int) -> bool:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deep")
    nested = _MESSAGES[message]
    for number, value in fields(data):
        if message == "Tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value)):
            return True
        if number in nested and isinstance(value, memoryview) and _has_external_data(value, nested[number], depth + 1):
            return True
    return False
