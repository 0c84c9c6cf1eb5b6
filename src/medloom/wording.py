"""How counts are said, one image and two images, and which word was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

__all__ = ["counted", "nearest"]


def counted(count: int, one: str, several: str = "") -> str:
    """Return a count with its noun, thousands separated.

    Args:
        count: How many.
        one: The noun for one.
        several: The noun for none and several; by default ``one`` with an s.

    Example:
        >>> counted(1, "class", "classes"), counted(1200, "image")
        ('1 class', '1,200 images')
    """
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def nearest(word: str, valid: Sequence[str]) -> str:
    """Return ``, did you mean 'x'?`` for the valid word nearest to ``word``, or nothing."""
    match = difflib.get_close_matches(word, valid, n=1, cutoff=0.5)
    return f", did you mean {match[0]!r}?" if match else ""
