"""What the reports say of each kind of answer: the one table by which they find it."""

from __future__ import annotations

from medloom.reports.sections.labels import LABELS
from medloom.reports.sections.masks import MASKS
from medloom.reports.sections.section import Section

__all__ = ["KINDS", "Section"]

KINDS: dict[str, Section] = {
    "masks": MASKS,
    "binary": LABELS,
    "multi-class": LABELS,
    "multi-label": LABELS,
    "regression": LABELS,
}
"""The section by the kind of answer."""
