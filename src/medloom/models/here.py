"""Which published weights a survey may choose from, because they are on this machine."""

from __future__ import annotations

from medloom.data.survey import Weights
from medloom.models.disks import published_here
from medloom.models.published import Published
from medloom.registry import WEIGHTS, load

__all__ = ["weights_here"]


def weights_here() -> tuple[Weights, ...]:
    """Return the published weights that can be had without a network; imports no torch and reads none of them."""
    found = []
    for name, entry in WEIGHTS.items():
        published: Published = load(entry)
        here = published_here(name, published)
        if here is not None:
            found.append(Weights(name, published.architecture, published.licence, here.place))
    return tuple(found)
