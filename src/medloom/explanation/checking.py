"""Whether maps depend on what a network has learned: its layers are made random, and the maps must change.

A map that stays the same shows the image, such as its edges, and says nothing of the network. A map that passes need
not be right: it is only not refuted.

Source: Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, arXiv:1810.03292
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.explanation.asked import Asked
from medloom.explanation.methods import Seen, map_of
from medloom.inference import Predictor
from medloom.metrics import rank_correlation, structural_similarity
from medloom.wording import counted

__all__ = ["MOST_IMAGES", "check_maps"]

Floats32 = NDArray[np.float32]
Facts = dict[str, Any]

MOST_IMAGES = 8
"""Images that a check looks at."""

_STAGES = 5
_LIMIT = 0.5
"""From this rank correlation on, with all layers random, a map is taken to show the image and not the network."""

_NEEDS_NETWORK = (
    "Whether the maps depend on the weights was not checked: that needs the network itself, by the runtime torch."
)


def check_maps(predictor: Predictor, images: Sequence[tuple[Seen, Asked]], method: str) -> Facts:
    """Compare the maps of a network with those of the same network with more and more layers random.

    Args:
        predictor: The model; with another runtime than ``torch`` nothing can be checked, and the text says so.
        images: Some images, and what is asked about each.
        method: A name of ``medloom.registry.EXPLANATIONS``.

    Returns:
        ``text`` in words, ``passes`` (None where it cannot be said), ``images``, and for each of the ``stages`` which
        layers are ``random``, the mean ``rank_correlation`` and ``ssim`` of the maps with those of the trained
        network; plain JSON types.
    """
    runtime: Any = predictor.runtime
    if not hasattr(runtime, "randomised"):
        return {"passes": None, "text": _NEEDS_NETWORK, "images": 0, "stages": []}
    trained = _maps(predictor, images, method)
    kept = [place for place, values in enumerate(trained) if values is not None and np.ptp(values) > 0]
    if not kept:
        return {"passes": None, "text": "There is no map that could be checked.", "images": 0, "stages": []}
    some, before = [images[place] for place in kept], [trained[place] for place in kept]
    stages = [
        _stage(said, before, _maps(replace(predictor, runtime=random), some, method))
        for said, random in runtime.randomised(_STAGES)
    ]
    last = stages[-1]["rank_correlation"]
    return {"passes": last < _LIMIT, "text": _text(stages, len(kept)), "images": len(kept), "stages": stages}


def _maps(predictor: Predictor, images: Sequence[tuple[Seen, Asked]], method: str) -> list[Floats32 | None]:
    found = [map_of(predictor, seen, asked, method) for seen, asked in images]
    return [None if one is None else one.values for one in found]


def _stage(said: str, before: Sequence[Floats32 | None], after: Sequence[Floats32 | None]) -> Facts:
    pairs = list(_pairs(before, after))
    return {
        "random": said,
        "rank_correlation": float(np.mean([_correlation(one, other) for one, other in pairs])),
        "ssim": float(np.mean([_alike(one, other) for one, other in pairs])),
    }


def _pairs(before: Sequence[Floats32 | None], after: Sequence[Floats32 | None]) -> Iterator[tuple[Floats32, Floats32]]:
    """Maps whose largest value is 1; none at all counts as a map of zeros."""
    for one, other in zip(before, after, strict=True):
        if one is not None:
            yield _scaled(one), _scaled(np.zeros_like(one) if other is None else other)


def _scaled(values: Floats32) -> Floats32:
    largest = float(np.abs(values).max())
    return values / np.float32(largest) if largest > 0 else values


def _correlation(one: Floats32, other: Floats32) -> float:
    """That of a map that is the same everywhere is 0."""
    found = rank_correlation(one, other)
    return 0.0 if np.isnan(found) else found


def _alike(one: Floats32, other: Floats32) -> float:
    return structural_similarity(one, other, 2.0 if min(one.min(), other.min()) < 0 else 1.0)


def _text(stages: Sequence[Facts], images: int) -> str:
    first, last = stages[0]["rank_correlation"], stages[-1]["rank_correlation"]
    found = (
        f"with {stages[0]['random']} made random their rank correlation with those of the trained network is "
        f"{first:.2f}, with {stages[-1]['random']} {last:.2f} ({counted(images, 'image')})"
    )
    if last < _LIMIT:
        return (
            f"The maps pass the check that they depend on the weights: {found}. That does not say that they are right."
        )
    return (
        f"The maps do NOT pass the check that they depend on the weights: {found}; {_LIMIT:g} or more says that they "
        "show the image rather than what the network has learned. Do not read anything from them."
    )
