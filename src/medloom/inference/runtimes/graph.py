"""What the runtimes that load an ONNX graph have in common: reading it safely."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from medloom.errors import BundleError

__all__ = ["available_threads", "read_graph"]

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
_SKIP = {1: 8, 5: 4}


def available_threads() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_graph(path: Path) -> bytes:
    """Read an ONNX file that stands alone.

    External tensors would let a model read any file of the machine, so a graph with one is refused
    before a runtime sees it; so is a symbolic link.

    Args:
        path: The ``.onnx`` file.

    Returns:
        Its bytes.

    Raises:
        BundleError: If it is missing, a link, not ONNX, or refers to other files.
    """
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{path.name} is not a regular file; expected an ONNX model with its weights inside")
    data = path.read_bytes()
    try:
        external = _has_external_data(memoryview(data), "Model", 0)
    except (IndexError, ValueError) as error:
        raise BundleError(f"{path.name} is not a sound ONNX model ({error})") from error
    if external:
        raise BundleError(f"{path.name} keeps weights in other files; export it again with the weights inside")
    return data


def _has_external_data(data: memoryview, message: str, depth: int) -> bool:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deep")
    nested = _MESSAGES[message]
    for number, value in _fields(data):
        if message == "Tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value)):
            return True
        if number in nested and isinstance(value, memoryview) and _has_external_data(value, nested[number], depth + 1):
            return True
    return False


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field numbers and values of one protobuf message; fixed-width numbers are given as 0.

    Source: https://protobuf.dev/programming-guides/encoding/
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
        elif kind == 2:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("truncated")
            yield number, data[at : at + length]
            at += length
        elif kind in _SKIP:
            at += _SKIP[kind]
        else:
            raise ValueError(f"unknown wire type {kind}")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("number too long")
