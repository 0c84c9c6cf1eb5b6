"""Several labels of one image in one word, such as ``Effusion|Mass``: divided, and one of them for each name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from medloom.data.metadata import as_number, is_blank
from medloom.data.truth import LabelRule
from medloom.data.words import LabelError, class_of, clean, in_order, joined_words, spellings
from medloom.errors import DataError
from medloom.wording import counted, nearest

__all__ = ["Joined", "are_clear", "divided"]

_MARKS = ("|", ";")
_NOTHING = frozenset({"no finding", "no findings", "none", "normal", "nothing", "negative", "healthy"})
"""Words that say, where they always stand alone, that an image has none of the labels."""

_CLEAR = 0.5
_SHOWN = 12


@dataclass(frozen=True)
class Joined:
    """How the words of one column are several labels.

    Args:
        separator: What stands between two labels.
        names: The labels in order.
        nothing: The word for none of them; empty if there is none.
    """

    separator: str
    names: tuple[str, ...]
    nothing: str = ""

    @classmethod
    def of(cls, counts: Mapping[str, int], rule: LabelRule) -> Self:
        """Find the labels in words.

        Args:
            counts: How often each word comes, blanks left out.
            rule: The separator and the names, where the recipe says them.

        Raises:
            DataError: If there is no label in them.
        """
        mark = rule.separator or max(_MARKS, key=lambda one: sum(one in word for word in counts))
        parts: Counter[str] = Counter()
        together = set()
        for word, count in counts.items():
            found = divided(word, mark)
            parts.update(dict.fromkeys(found, count))
            together |= {part.casefold() for part in found} if len(found) > 1 else set()
        nothing = [part for part in parts if part.casefold() in _NOTHING - together]
        names = tuple(map(clean, rule.classes))
        names = names or tuple(sorted(spellings({p: n for p, n in parts.items() if p not in nothing}), key=in_order))
        if not names:
            raise DataError(f"there is no label in {rule.columns[0]} but {', '.join(sorted(nothing)[:_SHOWN])}")
        return cls(mark, names, next((word for word in nothing if class_of(word, names) is None), ""))

    @property
    def note(self) -> str:
        """What a user should know of it."""
        none = f"; {self.nothing!r} means none of them" if self.nothing else ""
        shown = ", ".join(self.names[:_SHOWN]) + (", ..." if len(self.names) > _SHOWN else "")
        labels = f"{counted(len(self.names), 'label')} ({shown})"
        return f"words are several labels, divided at {self.separator!r}: {labels}{none}"

    def spread(self, word: str) -> list[str]:
        """Return 1 or 0 for each name; blanks for a blank, and -1 for -1.

        Raises:
            LabelError: If a part is none of the names.
        """
        if is_blank(word):
            return [""] * len(self.names)
        found = set()
        for part in divided(word, self.separator):
            name = class_of(part, self.names)
            if name is None and part.casefold() != self.nothing.casefold():
                expected = ", ".join(self.names[:_SHOWN])
                raise LabelError(f"unknown label {part!r}; expected some of {expected}{nearest(part, self.names)}")
            found.add(name)
        return ["1" if name in found else "0" for name in self.names]


def divided(word: str, separator: str) -> list[str]:
    """Return the labels in a word.

    Example:
        >>> divided("Effusion | Mass|", "|")
        ['Effusion', 'Mass']
    """
    return [part for text in word.split(separator) if (part := clean(text))]


def are_clear(counts: Mapping[str, int]) -> bool:
    """Whether words are clearly several labels: most of those that some words join also stand in other words.

    Example:
        >>> are_clear({"Effusion": 3, "Mass": 2, "Effusion|Mass": 1}), are_clear({"grade I|II": 3, "grade III|IV": 2})
        (True, False)
    """
    joined = joined_words(counts)
    if not joined or all(as_number(word) is not None for word in counts):
        return False
    mark = max(_MARKS, key=lambda one: sum(one in word for word in joined))
    seen = Counter(part.casefold() for word in counts for part in set(divided(word, mark)))
    parts = {part.casefold() for word in joined for part in divided(word, mark)}
    return sum(seen[part] > 1 for part in parts) >= _CLEAR * len(parts)
