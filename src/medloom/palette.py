"""The colours of every chart and picture, told apart with each of the common colour-vision deficiencies.

Source: Okabe and Ito, Color Universal Design, https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

__all__ = ["BOTH", "INK", "PALETTE", "PREDICTED", "TRUTH", "hexadecimal"]

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#6b7785", "#56b4e9")
"""Blue, vermillion, green, purple, orange, a grey for what is no result, light blue; take them in this order."""

INK = "#3c4450"
"""Colour of everything written in a chart."""

TRUTH = (86, 180, 233)
"""Light blue: the true outline on an image."""

PREDICTED = (230, 159, 0)
"""Orange: the predicted outline."""

BOTH = (240, 228, 66)
"""Yellow: where the two outlines coincide."""


def hexadecimal(colour: tuple[int, int, int]) -> str:
    """Return a colour as pages write it.

    Args:
        colour: Red, green and blue, 0 to 255.

    Example:
        >>> hexadecimal(TRUTH)
        '#56b4e9'
    """
    return f"#{bytes(colour).hex()}"
