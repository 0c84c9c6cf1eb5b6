"""From the text of a hyper-parameter to a value of the type that the recipe declares.

SageMaker hands every value over as text, and its launchers write the same value in several ways: ``False``,
``false``, ``"resnet18"`` with its quotes, lists as JSON, groups as JSON or as ``a=1,b=2``. So the text says nothing
about the type; the recipe does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

__all__ = ["boolean", "coerced", "unquoted"]

_YES = frozenset({"true", "1", "yes", "t", "y"})
_NO = frozenset({"false", "0", "no", "f", "n"})
_NOTHING = frozenset({"", "null", "none"})
_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")
_PAIRS = re.compile(r"\s*[\w.-]+=[^,]*(,\s*[\w.-]+=[^,]*)*")


def unquoted(text: str) -> str:
    r"""Return a text without the quotes in which some launchers put it.

    Example:
        >>> unquoted('"resnet18"'), unquoted("resnet18"), unquoted("0.001")
        ('resnet18', 'resnet18', '0.001')
    """
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str) else text


def boolean(text: str) -> bool | None:
    """Return what a word means; None if it is no word for true or false.

    Example:
        >>> boolean("False"), boolean("1"), boolean("maybe")
        (False, True, None)
    """
    word = unquoted(text).strip().lower()
    return True if word in _YES else False if word in _NO else None


def coerced(text: str, node: Mapping[str, Any]) -> object:
    """Return a text as a value of a declared type; as it stands where it is none, for the recipe to say what is wrong.

    Args:
        text: As SageMaker hands it over.
        node: What is allowed, as a JSON schema.

    Example:
        >>> coerced("False", {"type": "boolean"}), coerced("5.", {"type": "integer"}), coerced("no", {"type": "string"})
        (False, 5, 'no')
        >>> coerced("[96, 96]", {"type": "array"}), coerced("a=1,b=x", {"type": "object"})
        ([96, 96], {'a': 1, 'b': 'x'})
    """
    bare = unquoted(text)
    members = list(_members(node))
    if not members:
        return _plain(bare)
    words = [word for member in members for word in (*member.get("enum", ()), *_constant(member))]
    if bare in words:
        return bare
    for kind in ("boolean", "integer", "number", "null", "array", "object"):
        if any(_is(member, kind) for member in members):
            found = _AS[kind](bare)
            if found is not _UNFIT:
                return found
    return bare


_UNFIT = object()


def _members(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for member in node.get("anyOf", (node,)):
        if "anyOf" in member:
            yield from _members(member)
        elif member:
            yield member


def _constant(member: Mapping[str, Any]) -> tuple[Any, ...]:
    return (member["const"],) if "const" in member else ()


def _is(member: Mapping[str, Any], kind: str) -> bool:
    said = member.get("type", "object" if "properties" in member else None)
    return kind in said if isinstance(said, list) else said == kind


def _boolean(text: str) -> object:
    found = boolean(text)
    return _UNFIT if found is None else found


def _integer(text: str) -> object:
    return int(text.partition(".")[0]) if _WHOLE.fullmatch(text.strip()) else _UNFIT


def _number(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return _UNFIT


def _null(text: str) -> object:
    return None if text.strip().lower() in _NOTHING else _UNFIT


def _array(text: str) -> object:
    value = _plain(text)
    if isinstance(value, list):
        return value
    return [_plain(part) for part in text.split(",")] if text.strip() and not isinstance(value, dict) else _UNFIT


def _object(text: str) -> object:
    value = _plain(text)
    if isinstance(value, dict):
        return value
    if _PAIRS.fullmatch(text):
        return {name.strip(): _plain(rest) for name, _, rest in (part.partition("=") for part in text.split(","))}
    return _UNFIT


def _plain(text: str) -> object:
    """A value as JSON, else as YAML, else the text."""
    for read in (json.loads, yaml.safe_load):
        try:
            return read(text)
        except (ValueError, yaml.YAMLError):
            continue
    return text


_AS = {
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "null": _null,
    "array": _array,
    "object": _object,
}
"""A reader for each type, the narrowest first; where a text may be several, the first that it fits."""
