"""Dividing cases into groups of patients by what is known of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from medloom.evaluation.tables import GROUP_PREFIX

__all__ = ["groups"]

_MOST_GROUPS = 12
_AGE = re.compile(r"(^|_)age(_|$)")
_AGE_YEARS = 20
UNKNOWN = "unknown"


def groups(cases: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield the groups of every ``group_…`` column.

    Ages are taken in steps of 20 years, other numbers with more than twelve values in quarters; of more than
    twelve words the rarer ones are put together. A blank is a group of its own.

    Args:
        cases: The per-case table.

    Yields:
        Name of the column without its prefix, name of the group, and its cases; columns and groups in order.
    """
    for column in (name for name in cases.columns if str(name).startswith(GROUP_PREFIX)):
        name = str(column).removeprefix(GROUP_PREFIX)
        labels = _labels(cases[column], name)
        for label in _in_order(labels):
            yield name, label, cases[labels == label]


def _labels(column: pd.Series[Any], name: str) -> pd.Series[str]:
    numbers = pd.to_numeric(column, errors="coerce")
    blank = column.isna() | (column.astype(str).str.strip() == "")
    numeric = bool((numbers.notna() | blank).all() and not blank.all())
    if numeric and _AGE.search(name.lower()):
        labels = _ages(numbers)
    elif numeric and numbers.nunique() > _MOST_GROUPS:
        labels = _quarters(numbers)
    else:
        words = column.astype(str).str.strip()
        common = words[~blank].value_counts(sort=True).index[:_MOST_GROUPS]
        labels = words.where(words.isin(common), "other")
    return labels.where(~blank, UNKNOWN)


def _ages(numbers: pd.Series[Any]) -> pd.Series[str]:
    low = (numbers.fillna(0) // _AGE_YEARS * _AGE_YEARS).astype(int)
    return low.astype(str) + " to " + (low + _AGE_YEARS - 1).astype(str)


def _quarters(numbers: pd.Series[Any]) -> pd.Series[str]:
    edges = np.unique(numbers.quantile([0.25, 0.5, 0.75]).to_numpy())
    names = [f"up to {edges[0]:g}", *(f"{a:g} to {b:g}" for a, b in pairwise(edges))]
    names.append(f"above {edges[-1]:g}")
    place = np.searchsorted(edges, numbers.fillna(0).to_numpy(), side="left")
    return pd.Series([names[index] for index in place], index=numbers.index)


def _in_order(labels: pd.Series[str]) -> list[str]:
    """Numbers by their size, words by the alphabet, what is put together and what is unknown last."""

    def key(label: str) -> tuple[int, float, str]:
        last = {"other": 1, UNKNOWN: 2}.get(label, 0)
        found = re.search(r"-?\d+(\.\d+)?", label)
        size = float(found[0]) if found else 0.0
        before = label.startswith("up to")
        return last, (-np.inf if before else np.inf if label.startswith("above") else size), label

    return sorted(set(labels), key=key)
