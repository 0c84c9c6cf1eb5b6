"""How good an answer is to be expected, and how far its image is from those of the training, from JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from medloom.inference.answers.base import Rating
from medloom.inference.novelty import Novelty

__all__ = ["novelty", "rating", "slice_novelties", "slice_ratings"]

_OF_SLICES = "slices_"


def rating(plain: Mapping[str, Any] | None) -> Rating | None:
    """Return what ``Rating.plain`` gave."""
    if plain is None:
        return None
    measure = next(name for name in plain if name != "review")
    return Rating(measure, float(plain[measure]), bool(plain["review"]))


def slice_ratings(plain: Mapping[str, Any] | None) -> tuple[Rating, ...]:
    """Return the rating of each slice of a volume."""
    if plain is None:
        return ()
    name = next(name for name in plain if name.startswith(_OF_SLICES))
    review = frozenset(plain["slices"])
    found = enumerate(plain[name])
    return tuple(Rating(name.removeprefix(_OF_SLICES), float(one), number in review) for number, one in found)


def novelty(plain: Mapping[str, Any] | None) -> Novelty | None:
    """Return what ``Novelty.plain`` gave; its sentences are among the warnings of the answer."""
    if plain is None:
        return None
    score = float(plain["score"])  # rounded, so that it may have come to lie on the other side of 1
    return Novelty(max(score, float(np.nextafter(1.0, 2.0))) if plain["flagged"] else min(score, 1.0))


def slice_novelties(plain: Mapping[str, Any] | None) -> tuple[Novelty, ...]:
    """Return how far each slice of a volume is; nothing where an older server does not say it of each."""
    if plain is None or "scores" not in plain:
        return ()
    apart = frozenset(plain["slices"])
    found = (novelty({"score": one, "flagged": number in apart}) for number, one in enumerate(plain["scores"]))
    return tuple(one for one in found if one is not None)
