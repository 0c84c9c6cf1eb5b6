"""A tree of dictionaries, lists, numbers and tensors as one file: tensors and JSON, no pickle.

The file is a safetensors file. Its metadata hold the tree as JSON, in which tensors are references, and a
SHA-256 over the tree and every tensor, which is checked when the file is read.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

__all__ = ["DamagedTreeError", "read_tree", "tree_bytes", "write_tree"]

_FORMAT = "medloom-tree-1"
_FACTS = "medloom"
_MARK = "$"


class DamagedTreeError(Exception):
    """A file is not a tree, or not as it was written."""


def write_tree(path: Path, tree: Mapping[str, Any]) -> None:
    """Write a tree to a file, not atomically: the caller puts it in place.

    Args:
        path: Where to write.
        tree: Dictionaries with text or integer keys, lists, tuples, tensors, text, numbers, booleans and None.

    Raises:
        TypeError: If the tree holds anything else; the message says where.
        OSError: If the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_encode(tree, tensors, "tree"), allow_nan=False)
    facts = json.dumps({"format": _FORMAT, "tree": text, "sha256": _digest(text, tensors)})
    try:
        save_file(tensors, path, {_FACTS: facts})  # one entry, for safetensors writes several in any order
    except SafetensorError as error:
        raise OSError(str(error)) from error


def read_tree(path: Path) -> dict[str, Any]:
    """Read a tree and check it.

    Args:
        path: A file that ``write_tree`` wrote.

    Returns:
        The tree, with its tensors on the CPU.

    Raises:
        DamagedTreeError: If the file is not what was written.
        OSError: If it cannot be read.
    """
    try:
        with safe_open(path, "pt") as file:
            facts = dict(json.loads((file.metadata() or {}).get(_FACTS, "{}")))
            # copied, for what safetensors gives is a view of the file, which changes when the file does
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dictionary
    except (SafetensorError, ValueError, TypeError) as error:
        raise DamagedTreeError(f"{path} is damaged: {error}") from error
    text = str(facts.get("tree"))
    if facts.get("format") != _FORMAT or facts.get("sha256") != _digest(text, tensors):
        raise DamagedTreeError(f"{path} is damaged: its content does not match its checksum")
    tree: dict[str, Any] = _decode(json.loads(text), tensors)
    return tree


def tree_bytes(tree: object) -> int:
    """Return the size of a tree's tensors in bytes, which is about the size of its file."""
    if isinstance(tree, Tensor):
        return tree.nbytes
    if isinstance(tree, Mapping):
        return sum(tree_bytes(value) for value in tree.values())
    return sum(tree_bytes(value) for value in tree) if isinstance(tree, (list, tuple)) else 0


def _encode(value: Any, tensors: dict[str, Tensor], where: str) -> Any:  # noqa: ANN401 - a tree
    """JSON of a tree. What JSON does not have becomes ``{"$": [kind, content]}``."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {_MARK: ["float", str(value)]}
    if isinstance(value, Tensor):
        tensors[where] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {_MARK: ["tensor", where]}
    if isinstance(value, (list, tuple)):
        items = [_encode(item, tensors, f"{where}.{index}") for index, item in enumerate(value)]
        return {_MARK: ["tuple", items]} if isinstance(value, tuple) else items
    if isinstance(value, Mapping):
        return _encode_mapping(value, tensors, where)
    raise TypeError(f"{where} is a {type(value).__name__}, which a checkpoint cannot hold")


def _encode_mapping(value: Mapping[Any, Any], tensors: dict[str, Tensor], where: str) -> Any:  # noqa: ANN401
    pairs = [[key, _encode(item, tensors, f"{where}.{key}")] for key, item in value.items()]
    if all(isinstance(key, str) and key != _MARK for key, _ in pairs):
        return dict(pairs)
    if all(isinstance(key, (int, str)) for key, _ in pairs):
        return {_MARK: ["pairs", pairs]}
    raise TypeError(f"{where} has a key that is neither text nor an integer")


def _decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:  # noqa: ANN401 - a tree
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if _MARK not in value:
        return {key: _decode(item, tensors) for key, item in value.items()}
    kind, content = value[_MARK]
    if kind == "tensor":
        return tensors[content]
    if kind == "float":
        return float(content)
    if kind == "tuple":
        return tuple(_decode(item, tensors) for item in content)
    return {key: _decode(item, tensors) for key, item in content}


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the tree and, in order of their names, each tensor's name, dtype, shape and bytes."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
