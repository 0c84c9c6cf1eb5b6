"""Recipes of the time before the section ``target``, when what is predicted had keys in several sections."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["in_present_form"]

Values = dict[str, Any]

_NEVER = object()


def in_present_form(given: Mapping[str, Any]) -> tuple[Values, list[str]]:
    """Return the values of a recipe with every key where it is now, and what was moved.

    A key that has moved is taken from its old place only; values that are not what they should be are moved as they
    are, for the check that follows to refuse.

    Args:
        given: The values as they were read; they are not changed.

    Returns:
        The values, and for each key that was moved a text such as ``data.mask_values is target.mask_values``.

    Example:
        >>> in_present_form({"data": {"mask_values": {"background": 0, "tumour": 1}}})[0]["target"]["kind"]
        'masks'
    """
    values: Values = copy.deepcopy(dict(given))
    task = values.get("task")
    known = isinstance(task, str) and task in _TASKS
    kind, own = _TASKS[str(task) if known else "segmentation"]
    moved = ["task is target.kind"] if known else []
    if known:
        del values["task"]
    moved += [text for old, new, change in (*_FOR_ALL, *own) if (text := _move(values, old, new, change))]
    monitor = _section(values, "train").get("monitor")
    if monitor in _MONITORS:
        values["train"]["monitor"] = _MONITORS[monitor]
        moved.append(f"train.monitor={monitor} is {_MONITORS[monitor]}")
    if moved:
        _section(values, "target").setdefault("kind", kind)
    return values, moved


def _views(flips: object) -> object:
    """The image and its mirror image are two views."""
    return 1 + flips if isinstance(flips, bool) else flips


def _kind(word: object) -> object:
    return _KINDS.get(word, word) if isinstance(word, str) else word


def _same(value: object) -> object:
    return value


_KINDS = {"real": "regression"}
_MONITORS = {"dice_lesion": "dice_foreground"}

_Move = tuple[str, str, Callable[[object], object]]
_FOR_MASKS: tuple[_Move, ...] = (("data.mask_values", "target.mask_values", _same),)
_FOR_LABELS: tuple[_Move, ...] = (
    ("data.labels.kind", "target.kind", _kind),
    ("data.labels.targets", "target.columns", _same),
    ("data.labels.classes", "target.classes", _same),
)
_FOR_ALL: tuple[_Move, ...] = (
    ("train.lesion_share", "train.positive_share", _same),
    ("evaluate.min_lesion_px", "evaluate.min_region_px", _same),
    ("evaluate.max_false_alarms", "evaluate.max_false_positive_rate", _same),
    ("evaluate.flips", "evaluate.views", _views),
    ("evaluate.rounds", "evaluate.views", _same),
)


_TASKS: dict[str, tuple[str, tuple[_Move, ...]]] = {
    "segmentation": ("masks", _FOR_MASKS),
    "classification": ("auto", _FOR_LABELS),
}
"""From ``task`` to the kind of answer, and to the keys that it alone had; the first is what no ``task`` meant."""


def _move(values: Values, old: str, new: str, change: Callable[[object], object]) -> str:
    """Move one key; return what was moved, or nothing."""
    *path, name = old.split(".")
    holder: Any = values
    for part in path:
        holder = holder.get(part) if isinstance(holder, dict) else None
    value = holder.pop(name, _NEVER) if isinstance(holder, dict) else _NEVER
    if value is _NEVER:
        return ""
    section, key = new.split(".")
    place = values.setdefault(section, {})
    if not isinstance(place, dict) or key in place:
        holder[name] = value  # said twice, or beside a value that is no section: the check says so
        return ""
    place[key] = change(value)
    return f"{old} is {new}"


def _section(values: Values, name: str) -> Values:
    """A section of a recipe, made where it is not there; what is no section is left for the check to refuse."""
    found = values.setdefault(name, {})
    return found if isinstance(found, dict) else {}
