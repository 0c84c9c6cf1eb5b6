"""In which orientation a data set is learned from, and what is said where its images differ in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from medloom.data.pages import PlaneRule
from medloom.imaging.canonical import PLANES, Orientation, plane_of
from medloom.wording import counted

__all__ = ["Oriented", "asked_orientation", "orientation_facts", "plane_warnings"]


class Oriented(Protocol):
    """A sample that may say how it is oriented."""

    @property
    def axes(self) -> str:
        """Directions of columns and rows, such as ``RA``; empty where it does not say."""

    @property
    def flaws(self) -> Sequence[object]:
        """Why it cannot be used; empty if it can."""


def asked_orientation(rule: PlaneRule) -> Orientation | None:
    """Return what images must be while they are prepared: of the plane that the recipe names, if it names one."""
    if rule == "stored":
        return None
    return "any" if rule == "auto" else rule


def orientation_facts(rule: PlaneRule, samples: Sequence[Oriented]) -> dict[str, Any]:
    """Return JSON facts: ``plane``, in which the network sees its images, and how many are ``stored`` how.

    ``plane`` is one of the three, ``any`` where there are several, and None where images are taken as they are stored:
    because the recipe says so, or because none of them says how it is oriented.

    Args:
        rule: The recipe's ``data.plane``.
        samples: What was found out about each sample.
    """
    stored = _stored(samples)
    found = {plane_of(axes) for axes in stored}
    asked = asked_orientation(rule)
    (plane,) = {asked} if asked != "any" else found if len(found) == 1 else {"any" if found else None}
    return {"plane": plane, "stored": dict(stored.most_common())}


def plane_warnings(samples: Sequence[Oriented]) -> list[str]:
    """Return one sentence where images are of several planes, and one where only some say how they are oriented."""
    stored, used = _stored(samples), sum(not sample.flaws for sample in samples)
    planes = Counter[str]()
    for axes, count in stored.items():
        planes[plane_of(axes)] += count
    warnings = []
    if len(planes) > 1:
        said = ", ".join(f"{planes[plane]:,} {plane}" for plane in PLANES if planes[plane])
        warnings.append(f"The images are slices of several planes: {said}. One network learns from all of them.")
    if 0 < stored.total() < used:
        unsaid = counted(used - stored.total(), "image does", "images do")
        warnings.append(f"{unsaid} not say how they are oriented, {stored.total():,} do: they were taken as stored.")
    return warnings


def _stored(samples: Sequence[Oriented]) -> Counter[str]:
    return Counter(sample.axes for sample in samples if sample.axes and not sample.flaws)
