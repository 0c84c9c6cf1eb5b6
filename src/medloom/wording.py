"""How counts are said: one image, two images."""

from __future__ import annotations

__all__ = ["counted"]


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
