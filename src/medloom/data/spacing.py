"""How large the pixels of a data set are in the patient, and what is said where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from medloom.wording import counted

__all__ = ["Spaced", "spacing_facts", "spacing_warnings"]

_ALIKE = 1.05
"""Largest over smallest of spacings that are called the same; those of one scanner differ by less."""


class Spaced(Protocol):
    """A sample that may say how large its pixels are."""

    @property
    def spacing_mm(self) -> tuple[float, float] | None:
        """Row and column spacing."""

    @property
    def flaws(self) -> Sequence[object]:
        """Why it cannot be used; empty if it can."""


def spacing_facts(samples: Sequence[Spaced]) -> dict[str, Any]:
    """Return JSON facts: the ``least`` and the ``most`` row and column spacing in mm, and how many are ``known``.

    Args:
        samples: What was found out about each sample.
    """
    known = _known(samples)
    if not len(known):
        return {"known": 0, "least": None, "most": None}
    return {"known": len(known), "least": known.min(axis=0).tolist(), "most": known.max(axis=0).tolist()}


def spacing_warnings(samples: Sequence[Spaced], target: tuple[float, float] | None) -> list[str]:
    """Return a sentence where pixels are of several sizes, and one where only some files say of which.

    Args:
        samples: What was found out about each sample.
        target: The recipe's ``preprocess.spacing``, which brings all to one.
    """
    known, used = _known(samples), sum(not sample.flaws for sample in samples)
    if target is not None or not len(known):
        return []
    warnings = []
    least, most = known.min(axis=0), known.max(axis=0)
    if (most / least).max() > _ALIKE:
        ranges = ", ".join(
            f"{name} {low:.3g} to {high:.3g} mm apart"
            for name, low, high in zip(("rows", "columns"), least, most, strict=True)
        )
        warnings.append(
            f"The images have pixels of several sizes: {ranges}. The network may see the same anatomy larger in "
            "some than in others; preprocess.spacing=[row, column] in mm, with preprocess.fit=pad, brings all to one."
        )
    if len(known) < used:
        unsaid = counted(used - len(known), "image does", "images do")
        warnings.append(f"{unsaid} not say how large the pixels are, {len(known):,} do.")
    return warnings


def _known(samples: Sequence[Spaced]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Row and column spacing (N, 2) of the samples that can be used and say it."""
    found = [sample.spacing_mm for sample in samples if sample.spacing_mm is not None and not sample.flaws]
    return np.array(found, np.float64).reshape(len(found), 2)
