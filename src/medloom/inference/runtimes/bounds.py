"""What a graph may hold that is loaded without a fence: nothing that loops, and no size that no network has.

``medloom verify`` runs a model in a process with limits; ``load`` does not, and whoever made a bundle may have made its
checksums right. So a graph is looked at first. This finds what is plainly out of bounds. It cannot find a graph whose
sizes are computed on the way, or that is merely slow: verify a bundle that you did not make.

Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medloom.errors import BundleError
from medloom.inference.runtimes.protobuf import fields, varint
from medloom.wording import one_line

__all__ = ["check_bounds"]

_MOST_NODES = 100_000
_MOST_VALUES = 2**28
_LARGEST_ATTRIBUTE = 2**16
_LARGEST_CONSTANT = 1024
"""Numbers of a tensor that can be a shape; larger ones are weights."""

_SIZES = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1, "Pad": 1, "OneHot": 1, "Col2Im": 1, "Range": 1, "Resize": 3}
"""Operators whose result is as large as the numbers of one of their inputs say, and which input."""

_SCALES = {"Resize": 2, "Upsample": 1}
_GEOMETRY = frozenset({"pads", "strides", "dilations", "kernel_shape", "output_shape", "output_padding"})
_REFUSED = frozenset(
    {"Loop", "Scan", "If", "SequenceMap", "RandomNormal", "RandomUniform", "EyeLike", "BlackmanWindow"}
)
_CONSTANT = "Constant"
_DOMAINS = frozenset({"", "ai.onnx"})

_MODEL_GRAPH, _MODEL_TRAINING, _MODEL_FUNCTION = 7, 20, 25
_GRAPH_NODE, _GRAPH_TENSOR, _GRAPH_SPARSE = 1, 5, 15
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 4, 5, 7
_ATTRIBUTE_NAME, _ATTRIBUTE_TENSOR, _ATTRIBUTE_INTEGERS = 1, 5, 8
_SUBGRAPHS_AND_SPARSE = (6, 11, 22, 23)
_TENSOR_DIMENSIONS, _TENSOR_TYPE, _TENSOR_FLOATS, _TENSOR_INT64, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 4, 7, 8, 9
_TYPES: dict[int, str] = {1: "<f4", 7: "<i8"}
"""Number types of ONNX in which shapes and scales are written."""

Numbers = NDArray[np.float64]
Part = int | memoryview


@dataclass
class _Node:
    """What matters of a node."""

    operator: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    geometry: list[int] = field(default_factory=list)
    constant: Numbers | None = None
    holds_graph: bool = False


def check_bounds(model: memoryview) -> None:
    """Refuse a graph that could run without end or ask for more memory than any network needs, as far as one can see.

    Args:
        model: The bytes of an ONNX file.

    Raises:
        BundleError: If it loops or branches, has operators of other makers, functions, sparse tensors or far too many
            nodes, or a size in it is far too large.
        ValueError: If it is no protobuf.
        IndexError: Likewise.
    """
    for number, part in fields(model):
        if number in (_MODEL_TRAINING, _MODEL_FUNCTION):
            raise _refusal("holds functions of its own")
        if number == _MODEL_GRAPH:
            _check_graph(_message(part))


def _refusal(found: str) -> BundleError:
    return BundleError(f"the graph {found}; no network that Medloom packages does")


def _check_graph(graph: memoryview) -> None:
    constants: dict[str, Numbers] = {}
    nodes: list[_Node] = []
    for number, part in fields(graph):
        if number == _GRAPH_SPARSE:
            raise _refusal("holds sparse weights")
        if number == _GRAPH_TENSOR:
            name, values = _tensor(_message(part))
            if values is not None:
                constants[name] = values
        elif number == _GRAPH_NODE:
            nodes.append(_node(_message(part)))
            if len(nodes) > _MOST_NODES:
                raise _refusal(f"has more than {_MOST_NODES} nodes")
    for node in nodes:
        if node.operator == _CONSTANT and node.constant is not None and node.outputs:
            constants[node.outputs[0]] = node.constant
    for node in nodes:
        _check_node(node, constants)


def _check_node(node: _Node, constants: Mapping[str, Numbers]) -> None:
    said = one_line(node.operator, 40)
    if node.domain not in _DOMAINS:
        raise _refusal(f"uses {said} of {one_line(node.domain, 40)}")
    if node.operator in _REFUSED or node.holds_graph:
        raise _refusal(f"uses {said}, which need not end or gives other answers each time")
    if any(abs(value) > _LARGEST_ATTRIBUTE for value in node.geometry):
        raise _refusal(f"uses {said} with a size beyond {_LARGEST_ATTRIBUTE}")
    for sizes in (_SIZES, _SCALES):
        at = sizes.get(node.operator)
        values = None if at is None or at >= len(node.inputs) else constants.get(node.inputs[at])
        if values is not None and not math.prod(max(1.0, abs(value)) for value in values.tolist()) <= _MOST_VALUES:
            raise _refusal(f"uses {said} to make more than {_MOST_VALUES} numbers")


def _node(message: memoryview) -> _Node:
    node = _Node()
    for number, part in fields(message):
        if number == _NODE_INPUT:
            node.inputs.append(_text(part))
        elif number == _NODE_OUTPUT:
            node.outputs.append(_text(part))
        elif number == _NODE_OPERATOR:
            node.operator = _text(part)
        elif number == _NODE_DOMAIN:
            node.domain = _text(part)
        elif number == _NODE_ATTRIBUTE:
            _take_attribute(node, _message(part))
    return node


def _take_attribute(node: _Node, message: memoryview) -> None:
    name, integers = "", list[int]()
    for number, part in fields(message):
        if number == _ATTRIBUTE_NAME:
            name = _text(part)
        elif number in _SUBGRAPHS_AND_SPARSE:
            node.holds_graph = True
        elif number == _ATTRIBUTE_INTEGERS:
            integers += _integers(part)
        elif number == _ATTRIBUTE_TENSOR:
            node.constant = _tensor(_message(part))[1]
    if name in _GEOMETRY:
        node.geometry += integers
    elif integers and node.constant is None:
        node.constant = np.array(integers, np.float64)


def _tensor(message: memoryview) -> tuple[str, Numbers | None]:
    """Return name and numbers of a tensor; no numbers of one that is too large for a shape, or of another type."""
    name, kind, shape = "", 0, list[int]()
    numbers, raw = list[float](), b""
    for number, part in fields(message):
        if number == _TENSOR_NAME:
            name = _text(part)
        elif number == _TENSOR_TYPE and isinstance(part, int):
            kind = part
        elif number == _TENSOR_DIMENSIONS:
            shape += _integers(part)
        elif number == _TENSOR_INT64:
            numbers += _integers(part)
        elif number in (_TENSOR_FLOATS, _TENSOR_RAW) and isinstance(part, memoryview):
            raw = bytes(part[: 8 * _LARGEST_CONSTANT])
    if kind not in _TYPES or math.prod(shape) > _LARGEST_CONSTANT:
        return name, None
    if raw:
        whole = len(raw) - len(raw) % np.dtype(_TYPES[kind]).itemsize
        return name, np.frombuffer(raw[:whole], _TYPES[kind]).astype(np.float64)
    return name, np.array(numbers, np.float64)


def _integers(part: Part) -> Iterator[int]:
    """A whole number, or several of them packed; signed, of 64 bits."""
    for value in _unsigned(part):
        yield value - 2**64 if value >= 2**63 else value


def _unsigned(part: Part) -> Sequence[int]:
    if isinstance(part, int):
        return [part]
    found, at = list[int](), 0
    while at < len(part):
        value, at = varint(part, at)
        found.append(value)
    return found


def _message(part: Part) -> memoryview:
    if isinstance(part, int):
        raise ValueError("a number where a message is expected")
    return part


def _text(part: Part) -> str:
    return bytes(_message(part)).decode("utf-8", "replace")
