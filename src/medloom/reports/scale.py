"""The bar on a picture that says how large what it shows is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["scale_bar"]

_WANTED = 0.25
"""Share of the picture's width that the bar has at most."""

_STEPS = (5, 2, 1)


def scale_bar(scale: Mapping[str, Any] | None) -> dict[str, str]:
    """Return how wide the bar is drawn and what it says; nothing where the width is not known.

    Args:
        scale: ``width_px``, the width of what is shown in pixels, and ``mm_per_px``, that of a pixel, None where it
            is not known; then the bar counts pixels. ``of_px``, where several images are shown, is the width of one.

    Returns:
        ``share``, a length of CSS, and ``text``.

    Example:
        >>> scale_bar({"width_px": 256, "mm_per_px": 0.9})
        {'share': '21.70%', 'text': '50 mm'}
        >>> scale_bar({"width_px": 64, "mm_per_px": None})
        {'share': '15.62%', 'text': '10 px'}
    """
    if not scale or not scale["width_px"]:
        return {}
    whole = scale["width_px"] * (scale["mm_per_px"] or 1.0)
    length = _nice(whole * _WANTED * scale.get("of_px", scale["width_px"]) / scale["width_px"])
    unit = "mm" if scale["mm_per_px"] else "px"
    return {"share": f"{100 * length / whole:.2f}%", "text": f"{length:g} {unit}"}


def _nice(most: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above ``most``."""
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in _STEPS if step * power <= most * (1 + 1e-9))
