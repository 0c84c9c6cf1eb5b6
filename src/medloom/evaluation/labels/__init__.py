"""Measuring labels of whole images: the operating point, the metrics with intervals and the gallery."""

from __future__ import annotations

from collections.abc import Callable

from medloom.evaluation.labels.binary import Binary
from medloom.evaluation.labels.family import Labels
from medloom.evaluation.labels.groups import groups
from medloom.evaluation.labels.measured import Measured
from medloom.evaluation.labels.multi_class import MultiClass
from medloom.evaluation.labels.multi_label import MultiLabel
from medloom.evaluation.labels.point import Rule, choose_threshold
from medloom.evaluation.labels.regression import Regression
from medloom.evaluation.labels.sampling import METRICS
from medloom.evaluation.labels.summary import summarise
from medloom.evaluation.tables import GROUP_PREFIX
from medloom.targets import Target

__all__ = [
    "GROUP_PREFIX",
    "KINDS",
    "METRICS",
    "Binary",
    "Labels",
    "Measured",
    "MultiClass",
    "MultiLabel",
    "Regression",
    "Rule",
    "choose_threshold",
    "groups",
    "summarise",
]

KINDS: dict[str, Callable[[Target], Labels]] = {
    "binary": Binary,
    "multi-class": MultiClass,
    "multi-label": MultiLabel,
    "regression": Regression,
}
"""From a target to how it is measured, by kind."""
