"""Arrays and facts about them as one file: a safetensors file that says what it should hold. No pickle, no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from medloom.errors import MedloomError

__all__ = ["Arrays", "CorruptError", "digest", "pack", "unpack"]

Arrays = Mapping[str, NDArray[Any]]

_FORMAT = "medloom-arrays-1"
_FACTS = "medloom"


class CorruptError(MedloomError):
    """A file is not what was written."""


def digest(arrays: Arrays) -> str:
    """Return the SHA-256 over each array's name, dtype, shape and bytes, in the order of their names.

    Example:
        >>> digest({"a": np.zeros(2)}) == digest({"a": np.zeros(3)})
        False
    """
    seen = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        seen.update(f"\n{name} {array.dtype.str} {arrays[name].shape}\n".encode())
        seen.update(array.reshape(-1).view(np.uint8).data)
    return seen.hexdigest()


def pack(arrays: Arrays, facts: Mapping[str, Any]) -> bytes:
    """Return a file of arrays and facts.

    Args:
        arrays: By name.
        facts: What JSON can hold.
    """
    text = json.dumps({**facts, "format": _FORMAT}, sort_keys=True, allow_nan=False)
    held = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    said = json.dumps({"facts": text, "sha256": _checksum(text, arrays)})
    return save(held, {_FACTS: said})  # one entry, for safetensors writes several in any order


def unpack(data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays and the facts of a file.

    Raises:
        CorruptError: If it is not what ``pack`` made.
    """
    try:
        size = int.from_bytes(data[:8], "little")
        said = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][_FACTS])
        text, arrays = str(said["facts"]), load(data)
        facts: dict[str, Any] = json.loads(text)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"it cannot be read: {error}") from error
    if facts.get("format") != _FORMAT or said.get("sha256") != _checksum(text, arrays):
        raise CorruptError("its content does not match its checksum")
    return arrays, facts


def _checksum(text: str, arrays: Arrays) -> str:
    return hashlib.sha256(f"{text}\n{digest(arrays)}".encode()).hexdigest()
