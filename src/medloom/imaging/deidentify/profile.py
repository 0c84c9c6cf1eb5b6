"""What happens to an attribute: the profile's table, and a rule for all that the table does not list."""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Iterator
from importlib import resources
from typing import Literal

from pydicom.datadict import get_entry

__all__ = ["Action", "action_of", "defined_terms", "known_vr", "profile_actions"]

Action = Literal["remove", "empty", "dummy", "uid", "recurse", "terms", "keep"]

_LETTERS: dict[str, Action] = {"D": "dummy", "Z": "empty", "X": "remove", "K": "keep", "C": "remove", "U": "uid"}
_DATES = frozenset({"DA", "DT", "TM"})
_NUMBERS = frozenset({"AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"})
_BULK = frozenset({"OB", "OD", "OF", "OL", "OV", "OW"})
_NAMED_TEXT = frozenset({"LO", "SH"})
_SHORT = {
    "DS": re.compile(rb"[0-9eE+\-. \\\0]*"),
    "IS": re.compile(rb"[0-9+\- \\\0]*"),
}
_PICTURE_GROUPS = (0x0028, 0x7FE0)
_FIRST_GROUP = 0x0008
_REPEATING = (
    0x5000,
    0x6000,
)  # curves and overlays: without their data, which the table removes, the rest means nothing


@functools.cache
def profile_actions() -> dict[str, str]:
    """Return Table E.1-1: action by tag, such as ``{"00100010": "Z", "60XX3000": "X", …}``.

    Source: PS3.15 2024b, Table E.1-1, column "Basic Prof."; the attributes that editions up to 2026c added.
    """
    return {row["tag"]: row["action"] for row in _rows("profile.csv")}


@functools.cache
def _kept_text() -> frozenset[int]:
    return frozenset(int(row["tag"], 16) for row in _rows("kept.csv"))


@functools.cache
def _actions() -> dict[int, str]:
    return {int(tag, 16): action for tag, action in profile_actions().items() if "X" not in tag}


@functools.cache
def _terms() -> dict[int | None, frozenset[str]]:
    found: dict[int | None, set[str]] = {None: set()}
    for row in _rows("terms.csv"):
        found.setdefault(int(row["tag"], 16) if row["tag"] else None, set()).add(row["term"])
    return {tag: frozenset(terms) for tag, terms in found.items()}


def defined_terms(tag: int, text: str) -> list[str]:
    """Return the values of a coded string that the standard defines, or that are empty; another may be a name.

    Example:
        >>> defined_terms(0x00080008, "ORIGINAL\\\\PRIMARY\\\\DOE JOHN")
        ['ORIGINAL', 'PRIMARY']
    """
    known = _terms().get(tag, _terms()[None])
    return [term for part in text.split("\\") if (term := part.strip(" \0")) in known or not term]


def _rows(name: str) -> Iterator[dict[str, str]]:
    text = resources.files(__package__ or "").joinpath(name).read_text(encoding="utf-8")
    return csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))


@functools.cache
def known_vr(tag: int) -> str:
    """Return the types that the standard gives an attribute, such as ``US or SS``; "" if it knows none."""
    try:
        return get_entry(tag)[0]
    except KeyError:
        return ""


def action_of(tag: int, vr: str | None, value: bytes | None) -> Action:
    """Return what happens to an attribute.

    Args:
        tag: Group and element as one number.
        vr: Type as the file states it; None where it states none.
        value: The stored bytes, or None where they were already understood.
    """
    group, element, known = tag >> 16, tag & 0xFFFF, known_vr(tag)
    if group % 2 or not element or group < _FIRST_GROUP or group & 0xFF00 in _REPEATING or not known:
        return "remove"
    other = vr is not None and vr != known and vr not in known.split(" or ")
    if tag in _actions():
        action = _chosen(_actions()[tag], known)
        return "remove" if other and action == "recurse" else action
    if other:
        return "remove"
    return _unlisted(tag, vr or known, value)


def _chosen(action: str, vr: str) -> Action:
    """Choose of a combination what every kind of image permits.

    The last letter is right also where the attribute must be there, and neither an empty nor a dummy value says
    anything about anyone. Of dates and times the first, so that none, even an invented one, stays where it need not.
    """
    letters = action.rstrip("*").split("/")
    if vr in _DATES and len(letters) > 1:
        return _LETTERS[next(letter for letter in "XZD" if letter in letters)]
    if vr == "SQ" and letters[-1] == "U":
        return "recurse"
    return _LETTERS[letters[-1]]


def _unlisted(tag: int, vr: str, value: bytes | None) -> Action:
    """Decide about what the table does not list: numbers, codes and pixels stay, names and free text do not."""
    if vr == "SQ":
        return "recurse"
    if vr == "UI":
        return "uid"
    if vr == "CS":
        return "terms"
    if vr in _SHORT:
        return "keep" if value is None or _SHORT[vr].fullmatch(value) else "remove"
    if vr in _NAMED_TEXT:
        return "keep" if tag in _kept_text() else "remove"
    parts = set(vr.split(" or "))
    if parts & _BULK:
        return "keep" if tag >> 16 in _PICTURE_GROUPS else "remove"
    return "keep" if parts <= _NUMBERS else "remove"
