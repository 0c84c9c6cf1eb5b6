"""JSON objects from anywhere: no key twice, no deeper than somebody would write, and numbers as they come."""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import Any

import msgspec

__all__ = ["MALFORMED", "MAX_DEPTH", "depth", "read_list", "read_object"]

MAX_DEPTH = 32
"""How deep lists and objects may be nested in each other."""

MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What is raised for JSON that is not sound; of these `msgspec.ValidationError` says that it is, but something else."""


class _Key(str):
    """A key that is decoded by a hook: msgspec alone would keep the last value of a key that comes twice."""

    __slots__ = ()


def read_object(data: bytes | msgspec.Raw, keys: Collection[str] | None = None) -> dict[str, Any]:
    """Decode a JSON object in which no key comes twice; a number too large for a float becomes infinite.

    Args:
        data: The JSON.
        keys: Those that there may be; their values are then left as `msgspec.Raw`, at next to no cost. Without them
            any are taken and values decoded; keys inside of these may come twice.

    Raises:
        msgspec.ValidationError: If it is no such object.
        msgspec.DecodeError: Or another of ``MALFORMED``, if it is no sound JSON.

    Example:
        >>> read_object(b'{"age": 61}')
        {'age': 61}
    """
    seen: set[str] = set()

    def once(_: type, text: str) -> _Key:
        if text in seen:
            raise ValueError("a key comes twice")
        if keys is not None and text not in keys:
            raise ValueError(f"a key is not known; expected {', '.join(keys)}")
        seen.add(text)
        return _Key(text)

    keyed = dict[_Key, Any] if keys is None else dict[_Key, msgspec.Raw]
    decoder: msgspec.json.Decoder[dict[_Key, Any]] = msgspec.json.Decoder(keyed, dec_hook=once, float_hook=float)
    return {str(key): value for key, value in decoder.decode(data).items()}


def read_list(data: bytes | msgspec.Raw, most: int) -> list[msgspec.Raw]:
    """Decode a JSON list, whose values are left as `msgspec.Raw`.

    Args:
        data: The JSON.
        most: How many values there may be; where there are more, the others are not looked at.

    Raises:
        msgspec.ValidationError: If it is no such list, or a longer one.
        msgspec.DecodeError: As of ``read_object``.
    """
    try:
        return [one for one in msgspec.structs.astuple(msgspec.json.decode(data, type=_few(most))) if len(one)]
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(f"expected a list of at most {most}") from error


@functools.cache
def _few(most: int) -> type[msgspec.Struct]:
    fields = [(f"value{index}", msgspec.Raw, msgspec.Raw(b"")) for index in range(most)]
    return msgspec.defstruct("Few", fields, array_like=True, forbid_unknown_fields=True)


def depth(value: object) -> int:
    """Return how deep lists and objects are nested; msgspec has refused what Python could not follow."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)
