"""From words to numbers: what kind of label a column holds, which classes there are, and the label of each sample.

Every layout of labels reads them as words and asks here what they mean, so that a folder, a CSV and an array are
understood by the same rules.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from medloom.data.kinds import KINDS
from medloom.data.labels import Labels
from medloom.data.layouts.base import Item, Listing, Problem
from medloom.data.layouts.joined import Joined
from medloom.data.layouts.label_kind import found_kind
from medloom.data.metadata import as_number, is_blank
from medloom.data.truth import ANY_LABELS, LabelRule
from medloom.data.words import LabelError, clean, is_minus_one
from medloom.errors import DataError, RecipeError
from medloom.recipe import LabelsRecipe
from medloom.targets import Target
from medloom.wording import counted

__all__ = ["ANY_LABELS", "LabelError", "LabelRule", "Meaning", "clean", "refuse_columns", "understand"]


_FEW_BLANKS, _FEW_SHARE = 10, 0.05
"""More blank labels than this, and than this share, are no slips, each to be named with its line."""

_MEANT = {
    "mask": "left out of the loss and the metrics",
    "negative": "taken for negative",
    "positive": "taken for positive",
}


@dataclass(frozen=True)
class Meaning:
    """What the labels of a set mean.

    Args:
        target: What is predicted; of two classes, the second is the positive one.
        columns: Names of the columns or of the vector's entries.
        notes: Which words were taken for a class that is written otherwise, and what blanks and -1 were taken for.
        rule: What the recipe says.
        joined: How the words of the only column are several labels; None where each label has a column.
    """

    target: Target
    columns: tuple[str, ...]
    notes: tuple[str, ...] = field(default=(), repr=False)
    rule: LabelRule = field(default=ANY_LABELS, repr=False)
    joined: Joined | None = field(default=None, repr=False)

    def numbers(self, words: Sequence[str]) -> tuple[float, ...]:
        """Return the label of one sample.

        Args:
            words: One for each column, as :func:`clean` leaves them.

        Returns:
            The class's index, or a number for each column; NaN where it is unknown.

        Raises:
            LabelError: Saying what is wrong with the first word that does not fit.
        """
        cells = words if self.joined is None else self.joined.spread(words[0])
        return Labels.of(KINDS[self.target.kind]).numbers(cells, self.target.names, self.rule)

    def listing(self, items: Iterable[Item], problems: Iterable[Problem], notes: Iterable[str]) -> Listing:
        """Return what a layout found, with what its labels mean; images without any known label are left out."""
        found = list(items)
        told = [item for item in found if not all(map(math.isnan, item.labels or ()))]
        left = len(found) - len(told)
        if left and not told:
            raise DataError("no image has a known label; look at target.columns, target.blank and target.uncertain")
        images = counted(left, "image has", "images have")
        said = (f"{images} no known label and {'is' if left == 1 else 'are'} left out",) if left else ()
        return Listing(tuple(told), tuple(problems), (*notes, *self.notes, *said), self.target)


def understand(rows: Sequence[Sequence[str]], rule: LabelRule) -> Meaning:
    """Find out what labels mean, from all of them.

    The rule's kind decides where it says something; with ``auto``, see ``found_kind``. Blanks do not count. Words that
    differ in case only are one class, in the spelling of the recipe or the most frequent one, and a note says so.

    Args:
        rows: The words of each sample, one for each column.
        rule: What the recipe says.

    Returns:
        What is predicted, and the columns.

    Raises:
        RecipeError: If the recipe's kind cannot be with so many columns.
        DataError: If the labels cannot be of that kind, may be of several, or there is nothing to tell apart.

    Example:
        >>> understand([["0"], ["1"], ["0"]], LabelRule(("level",))).target.kind
        'binary'
    """
    if rule.kind in KINDS:
        _check_columns(rule)
    columns = [Counter(column) for column in zip(*rows, strict=True)]
    every = sum(columns, Counter[str]())
    counts = Counter({word: count for word, count in every.items() if not _says_nothing(word, rule)})
    if not counts:
        raise DataError("no sample has a label; look at target.columns")
    _check_blanks(columns, rule)
    kind = rule.kind if rule.kind in KINDS else found_kind(counts, rule)
    labels = Labels.of(KINDS[kind])
    if len(rule.columns) == 1 and labels.in_words and not all(as_number(word) is not None for word in counts):
        return _in_words(every, counts, kind, rule)
    target = Target(kind, labels.names(counts, rule))
    notes = (*labels.notes(counts, target.names), *_unknown_notes(every, rule, labels.uncertain(rule)))
    return Meaning(target, rule.columns, notes, rule)


def refuse_columns(recipe: LabelsRecipe) -> None:
    """Raise if a recipe asks for columns beside the labels, in a layout without a label file.

    Raises:
        RecipeError: If it does.
    """
    labels = recipe.data.labels
    if labels.metadata.numeric or labels.metadata.categorical or labels.groups:
        raise RecipeError("data.labels: metadata and groups are columns of a label file; use layout csv")


def _check_columns(rule: LabelRule) -> None:
    if Labels.of(KINDS[rule.kind]).one_class and len(rule.columns) > 1:
        raise RecipeError(f"target.kind: {rule.kind} takes one column; target.columns has {len(rule.columns)}")


def _in_words(every: Counter[str], counts: Counter[str], kind: str, rule: LabelRule) -> Meaning:
    """Return the meaning of several labels in the words of one column."""
    joined = Joined.of(counts, rule)
    notes = (joined.note, *_unknown_notes(every, rule, None))
    return Meaning(Target(kind, joined.names), rule.columns, notes, replace(rule, columns=joined.names), joined)


def _says_nothing(word: str, rule: LabelRule) -> bool:
    """Whether a word is no label: blank, or an uncertain one."""
    return is_blank(word) or (rule.uncertain is not None and is_minus_one(word))


def _check_blanks(columns: Sequence[Counter[str]], rule: LabelRule) -> None:
    """Stop where many labels are blank, which is no slip, and at columns without any label."""
    empty = [name for name, column in zip(rule.columns, columns, strict=True) if all(map(is_blank, column))]
    if empty:
        raise DataError(f"no sample has a label in {', '.join(empty)}; take it out of target.columns")
    size = sum(column.total() for column in columns)
    blank = sum(count for column in columns for word, count in column.items() if is_blank(word))
    if rule.blank == "error" and blank > max(_FEW_BLANKS, _FEW_SHARE * size):
        negative = "" if len(rule.columns) == 1 else ", target.blank=negative if it means that the label is not there"
        raise DataError(
            f"{blank:,} of {counted(size, 'label')} are blank. Say what a blank means: "
            f"target.blank=mask if it is unknown and should count neither in training nor in the metrics{negative}"
        )


def _unknown_notes(every: Counter[str], rule: LabelRule, uncertain: str | None) -> Iterator[str]:
    """Say how many labels are blank or -1, and what they were taken for."""
    for what, said, key, meaning in (
        (is_blank, "blank", "blank", rule.blank),
        (is_minus_one, "-1, uncertain,", "uncertain", uncertain),
    ):
        count = sum(number for word, number in every.items() if what(word))
        if count and meaning in _MEANT:
            yield f"{counted(count, 'label is', 'labels are')} {said} and {_MEANT[meaning]} (target.{key}={meaning})"
