"""What a survey says: keys of a recipe, each with what speaks for it, and readings made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

__all__ = ["Finding", "Reading", "Strength", "nested"]


_FREE = frozenset({"data.labels.files"})
"""Keys of which a user may say something else of the same files."""


class Strength(IntEnum):
    """What a reading rests on; a stronger one leaves weaker ones behind."""

    NAMED = 1
    """How folders are called."""
    SHOWN = 2
    """Files that answer to each other: a mask to an image, a row to a file."""
    STATED = 3
    """What the publisher wrote down, such as a ``dataset.json``, or file names of his own."""


@dataclass(frozen=True)
class Finding:
    """One key of the recipe, and why.

    Args:
        key: Dotted, such as ``data.layout``.
        value: Plain YAML types.
        evidence: What was seen, in one sentence without a full stop. It names no file, folder or person.
        instead: What else was considered.
        check: What a person should look at, because the files cannot say it.
    """

    key: str
    value: Any
    evidence: str
    instead: str = ""
    check: str = ""


@dataclass(frozen=True)
class Reading:
    """The files as one family of layouts would read them.

    Args:
        name: What it is called in messages, such as ``a folder for each class``.
        strength: What it rests on.
        findings: Keys of the recipe; ``data.layout`` and ``target.kind`` at least.
        lesion: What the foreground of a mask is called, where the files say it.
        warnings: What a user should know about it.
        accepts: Kinds of problems, such as ``missing_mask``, that are as they should be in this family.
        whole: Whether the layout has to read whole images, and masks are no pictures that can be looked into.
        refused: Why these files cannot be read although they are of this family; empty if they can.
        unless: A key of the recipe by which a user says that something else is meant.
        asked: A key that a user has to say for this reading, which nobody else would mean.
    """

    name: str
    strength: Strength
    findings: tuple[Finding, ...]
    lesion: str = ""
    warnings: tuple[str, ...] = ()
    accepts: frozenset[str] = field(default=frozenset())
    whole: bool = False
    refused: str = ""
    unless: str = ""
    asked: str = ""

    @property
    def values(self) -> dict[str, Any]:
        """Values by dotted key."""
        return {finding.key: finding.value for finding in self.findings}

    def contradicts(self, settings: Mapping[str, Any]) -> bool:
        """Return whether the user said otherwise."""
        if self.unless in settings or (self.asked and self.asked not in settings):
            return True
        told = {key: value for key, value in self.values.items() if value != "auto" and key not in _FREE}
        return any(key in settings and settings[key] != value for key, value in told.items())


def nested(findings: Iterable[Finding]) -> dict[str, Any]:
    """Return the values as a recipe holds them.

    Example:
        >>> nested([Finding("data.layout", "csv", ""), Finding("data.labels.image", "file", "")])
        {'data': {'layout': 'csv', 'labels': {'image': 'file'}}}
    """
    values: dict[str, Any] = {}
    for finding in findings:
        *path, last = finding.key.split(".")
        node = values
        for part in path:
            node = node.setdefault(part, {})
        node[last] = finding.value
    return values
