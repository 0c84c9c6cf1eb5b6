"""Which kind of answer labels are for, where the recipe leaves it to them; what may be two kinds is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from medloom.data.layouts.joined import are_clear
from medloom.data.metadata import as_number
from medloom.data.truth import LabelRule
from medloom.data.words import folded, in_order, joined_words
from medloom.errors import DataError

__all__ = ["found_kind"]

_MOST_CLASSES = 20
"""Up to so many different words may be classes, if the recipe does not say."""

_MANY = 10
"""From so many different whole numbers on they are measurements, unless they count through the classes from 0 or 1."""

_REPEATED = 10
"""A few fractions of which each comes so often, such as 0, 0.5, 1 and 2, may be grades."""

_MOSTLY = 0.9
"""Numbers with a typing error among them are numbers: the error is a problem of its line."""

_SHOWN = 8


def found_kind(counts: Mapping[str, int], rule: LabelRule) -> str:
    """Find out of which kind labels are.

    One column: two different words or whole numbers are binary, several words multi-class, and words such as
    ``Effusion|Mass``, whose parts are labels elsewhere, multi-label. Numbers with fractions, and
    many different whole ones, are for regression, also where they are written as ages are in some tables: ``35.0``.
    Three or more whole numbers that may be grades as well as counts are neither: the recipe must say. Several columns
    of 0 and 1, and -1 where it is uncertain, are multi-label, of fractions for regression.

    Args:
        counts: How often each word comes, blanks left out.
        rule: Columns, and classes if the recipe names them.

    Raises:
        DataError: If there are two likely readings, with both and the key that decides.

    Example:
        >>> found_kind({"35.0": 2, "40.0": 1, **{f"{age}.0": 1 for age in range(50, 60)}}, LabelRule(("age",)))
        'regression'
    """
    return _kind_of_one(counts, rule) if len(rule.columns) == 1 else _kind_of_several(counts, rule)


def _kind_of_one(counts: Mapping[str, int], rule: LabelRule) -> str:
    if rule.classes and not rule.separator:
        return _kind_of_classes(len(rule.classes))
    numbers = [number for word in counts if (number := as_number(word)) is not None]
    if len(numbers) >= _MOSTLY * len(counts):
        return _kind_of_numbers(counts, numbers, rule.columns[0])
    if rule.separator or are_clear(counts):
        return "multi-label"
    if joined := sorted(joined_words(counts)):
        raise DataError(
            f"{len(joined)} of {len(counts)} different words in {rule.columns[0]} may be several labels, such as "
            f"{joined[0]!r}, or the names of classes. Say which: target.kind=multi-label with target.separator, or "
            "target.kind=multi-class"
        )
    classes = {folded(word) for word in counts}
    if len(classes) <= _MOST_CLASSES:
        return _kind_of_classes(len(classes))
    raise DataError(
        f"the labels are {len(counts)} different words; set target.kind=multi-class if these are classes, "
        "or name the right column in target.columns"
    )


def _kind_of_numbers(counts: Mapping[str, int], numbers: Iterable[float], column: str) -> str:
    """Whether numbers are classes or measurements."""
    values = set(numbers)
    whole = all(value.is_integer() for value in values)
    if not whole:
        repeated = len(values) <= _MANY and sum(counts.values()) >= _REPEATED * len(values)
        if repeated and len(values) > 2:
            raise _either(column, counts, "a few different numbers, each of them often")
        return "regression"
    if len(values) <= 2:
        return _kind_of_classes(len(values))
    counted_through = min(values) in (0, 1) and max(values) - min(values) + 1 == len(values)
    decimals = all("." in word for word in counts if as_number(word) is not None)
    if len(values) > _MOST_CLASSES or (len(values) >= _MANY and (decimals or not counted_through)):
        return "regression"
    raise _either(column, counts, f"{len(values)} different whole numbers")


def _either(column: str, counts: Mapping[str, int], what: str) -> DataError:
    """Two readings of one column of numbers."""
    uncertain = ""
    if {as_number(word) for word in counts} == {-1.0, 0.0, 1.0}:
        uncertain = "; target.uncertain=mask if -1 stands for an uncertain label"
    return DataError(
        f"the labels in {column} are {what} ({_listed(counts)}), which may be classes or measurements. Say which: "
        "target.kind=multi-class for classes such as grades, target.kind=regression for measurements such as counts "
        "or ages" + uncertain
    )


def _listed(counts: Mapping[str, int]) -> str:
    words = sorted(counts, key=in_order)
    return ", ".join(words[:_SHOWN]) + (", ..." if len(words) > _SHOWN else "")


def _kind_of_classes(count: int) -> str:
    return "binary" if count == 2 else "multi-class"


def _kind_of_several(counts: Mapping[str, int], rule: LabelRule) -> str:
    values = {as_number(word) for word in counts}
    if values <= {0.0, 1.0, -1.0}:
        return "multi-label"
    known = {value for value in values if value is not None}
    if all(value.is_integer() for value in known) and len(known) < _MANY:
        raise DataError(
            f"the labels in {', '.join(rule.columns[:_SHOWN])} are whole numbers ({_listed(counts)}), not only 0 and "
            "1. Say what they are: target.kind=multi-label for labels that are there or not, whose columns hold 0 and "
            "1, target.kind=regression for measurements"
        )
    return "regression"
