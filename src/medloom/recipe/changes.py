"""Which keys of a recipe may change between two commands on a run that has begun to train."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["MAY_CHANGE", "changed", "flat"]

MAY_CHANGE = (
    "description",
    "data.path",
    "data.origin.",
    "evaluate.",
    "package.",
    "distil.",
    "tune.",
    "tracking.",
    "train.epochs",
    "train.micro_batch",
    "train.average.lease",
    "train.average.attempts",
    "train.device",
    "train.checkpoint_minutes",
    "train.profile",
)
"""Keys, or with a dot at the end sections, that say nothing about the weights. More epochs extend a run."""


def flat(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return every value of a recipe in plain types by its dotted key.

    Example:
        >>> flat({"train": {"epochs": 5, "optimizer": {"lr": 0.1}}})
        {'train.epochs': 5, 'train.optimizer.lr': 0.1}
    """
    return dict(_leaves(plain, ""))


def changed(before: Mapping[str, Any], after: Mapping[str, Any], *, may: Sequence[str] = MAY_CHANGE) -> list[str]:
    """Return the keys whose values differ and may not, sorted.

    Args:
        before: A recipe in plain types, or some of its keys as ``flat`` returns them.
        after: The same of another recipe.
        may: Keys and sections that may differ.
    """
    old, new = flat(before), flat(after)
    keys = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    return [key for key in keys if not any(_is_in(key, one) for one in may)]


def _is_in(key: str, part: str) -> bool:
    return key.startswith(part) if part.endswith(".") else key == part


def _leaves(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _leaves(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item
