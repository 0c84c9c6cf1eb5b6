"""What the names of channels say."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["flair_channel", "preferred_channel"]


def flair_channel(names: Sequence[str]) -> int | None:
    """Return the index of the first channel that is called FLAIR, or None."""
    return next((index for index, name in enumerate(names) if "flair" in name.lower()), None)


def preferred_channel(names: Sequence[str]) -> int:
    """Return the channel to draw masks on: FLAIR, where lesions are bright, else the one in the middle.

    Example:
        >>> preferred_channel(["t1", "FLAIR", "t2", "adc"]), preferred_channel(["red", "green", "blue"])
        (1, 1)
    """
    named = flair_channel(names)
    return len(names) // 2 if named is None else named
