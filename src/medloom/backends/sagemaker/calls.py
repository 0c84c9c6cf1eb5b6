"""A call of AWS as plain data, and what AWS's own model of the service says against it before it is sent.

boto3 looks only at types, required members and least values. The model says more: patterns, greatest values and the
words that a member may be. It comes with botocore, so nothing is asked over a network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from medloom.errors import UserError
from medloom.extras import require
from medloom.wording import few, nearest

if TYPE_CHECKING:
    from botocore.model import ServiceModel, Shape

__all__ = ["Call", "check", "plain_calls", "problems"]

_CLASSES = {r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": r"\s", r"\p{Print}": r"[ -~]"}
"""Classes of characters that Python's patterns do not know, and what stands for them."""


@dataclass(frozen=True)
class Call:
    """One operation of one service.

    Args:
        service: As boto3 calls it, such as ``sagemaker``.
        operation: As AWS calls it, such as ``CreateTrainingJob``.
        parameters: What it is given.

    Example:
        >>> Call("sagemaker", "DeleteEndpoint", {"EndpointName": "brain"}).plain()["operation"]
        'DeleteEndpoint'
    """

    service: str
    operation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"service": self.service, "operation": self.operation, "parameters": dict(self.parameters)}


def check(call: Call) -> Call:
    """Return a call against which the model of its service says nothing.

    Raises:
        UserError: If it does; the message names every member that is wrong.
    """
    found = problems(call)
    if found:
        said = "\n".join(f"  {line}" for line in few(found))
        raise UserError(f"AWS would refuse {call.operation}, so it was not sent:\n{said}")
    return call


def problems(call: Call) -> list[str]:
    """Return what the model of the service says against a call; nothing if it may be sent.

    Example:
        >>> problems(Call("sagemaker", "DeleteEndpoint", {"EndpointName": "no_such"}))  # doctest: +SKIP
        ["EndpointName: 'no_such' does not fit the pattern [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"]
    """
    shape = _model(call.service).operation_model(call.operation).input_shape
    return [] if shape is None else list(_of_value(shape, dict(call.parameters), ""))


@cache
def _model(service: str) -> ServiceModel:
    return require("botocore.session", "aws").get_session().get_service_model(service)


def _of_value(shape: Shape, value: object, place: str) -> Iterator[str]:
    kind, types = _KINDS.get(shape.type_name, ("", ()))
    is_flag = isinstance(value, bool)
    if not isinstance(value, types) or (is_flag and shape.type_name != "boolean"):
        yield f"{place}: expected {kind}; got {type(value).__name__}"
        return
    if isinstance(value, Mapping):
        yield from (_of_structure if shape.type_name == "structure" else _of_map)(shape, value, place)
    elif isinstance(value, list):
        yield from _bounds(shape, len(value), place, "entries")
        for index, item in enumerate(value):
            yield from _of_value(shape.member, item, f"{place}[{index}]")
    elif isinstance(value, str):
        yield from _of_text(shape, value, place)
    elif isinstance(value, int | float) and not is_flag:
        yield from _bounds(shape, value, place, "")


_KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "structure": ("a mapping", (dict,)),
    "map": ("a mapping", (dict,)),
    "list": ("a list", (list,)),
    "string": ("text", (str,)),
    "character": ("text", (str,)),
    "blob": ("bytes", (bytes, str)),
    "integer": ("a whole number", (int,)),
    "long": ("a whole number", (int,)),
    "float": ("a number", (int, float)),
    "double": ("a number", (int, float)),
    "boolean": ("true or false", (bool,)),
    "timestamp": ("a time", (str, int, float, datetime)),
}


def _of_structure(shape: Shape, value: Mapping[str, object], place: str) -> Iterator[str]:
    before = f"{place}." if place else ""
    for name in shape.required_members:
        if name not in value:
            yield f"{before}{name}: is missing"
    if getattr(shape, "is_tagged_union", False) and len(value) != 1:
        yield f"{place}: expected one of {', '.join(shape.members)}; got {len(value)} of them"
    for name, item in value.items():
        if name in shape.members:
            yield from _of_value(shape.members[name], item, f"{before}{name}")
        else:
            yield f"{before}{name}: there is no such member{nearest(name, list(shape.members))}"


def _of_map(shape: Shape, value: Mapping[str, object], place: str) -> Iterator[str]:
    yield from _bounds(shape, len(value), place, "entries")
    for key, item in value.items():
        yield from _of_value(shape.key, key, f"{place} key {key!r}")
        yield from _of_value(shape.value, item, f"{place}.{key}")


def _of_text(shape: Shape, value: str, place: str) -> Iterator[str]:
    words = getattr(shape, "enum", None) or []
    if words and value not in words:
        yield f"{place}: {value!r} is none of the {len(words)} words that it may be{nearest(value, words)}"
    wrong = list(_bounds(shape, len(value), place, "characters"))
    yield from wrong
    pattern = shape.metadata.get("pattern")
    if pattern and not words and not wrong and not _fits(pattern, value):
        yield f"{place}: {value!r} does not fit the pattern {pattern}"


def _bounds(shape: Shape, size: float, place: str, what: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if (least is not None and size < least) or (most is not None and size > most):
        span = f"at least {least}" if most is None else f"{least if least is not None else 0} to {most}"
        yield f"{place}: expected {span} {what}".rstrip() + f"; got {size}"


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    for theirs, ours in _CLASSES.items():
        pattern = pattern.replace(theirs, ours)
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error:  # such as ranges of UTF-16 units: AWS will say it
        return None


def _fits(pattern: str, value: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or compiled.fullmatch(value) is not None


def plain_calls(calls: Sequence[Call]) -> list[dict[str, Any]]:
    """Return calls as plain JSON types, each checked."""
    return [check(call).plain() for call in calls]
