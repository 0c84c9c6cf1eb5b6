"""Metadata columns as numbers for the network: fitted on training rows only, the same in training and serving."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from medloom.errors import BundleError, DataError, InputError

__all__ = ["TableEncoding", "as_number", "is_blank"]

BLANKS = frozenset({"", "nan", "na", "n/a", "null", "<na>"})
"""Words that stand for nothing, in lower case."""
_LONGEST_BLANK = max(map(len, BLANKS))

_MARGIN = 0.05
"""How far beyond the training rows, in shares of their range, a number may lie before it is said to be foreign."""

_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
_MOST_CATEGORIES = 100
_MISSING, _UNKNOWN = "missing", "unknown"
_FORM: Final = "NFC"


def is_blank(text: str) -> bool:
    """Whether a cell holds nothing: empty, or one of the words that programs write for it, such as ``NaN``."""
    word = text.strip()
    return len(word) <= _LONGEST_BLANK and word.lower() in BLANKS


@lru_cache(maxsize=4096)
def as_number(text: str) -> float | None:
    """Return the finite number that a cell holds, or None."""
    # Python also takes 1_000 and full-width digits, which no table means.
    if "_" in text or not text.isascii():
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class _Numeric:
    column: str
    mean: float
    std: float
    range: tuple[float, ...] | None = None
    """Least value, quartiles and greatest value of the training rows; empty where there was none, and None in bundles
    of format 2, which do not say."""

    def saw(self, value: float) -> bool:
        """Whether a value is one that training may have seen: in its range, with a margin that never crosses zero."""
        if not self.range:
            return self.range is None
        low, high = self.range[0], self.range[-1]
        margin = _MARGIN * (high - low)
        least = max(low - margin, 0.0) if low >= 0 else low - margin
        return least <= value <= (min(high + margin, 0.0) if high <= 0 else high + margin)


@dataclass(frozen=True)
class _Categorical:
    column: str
    categories: tuple[str, ...]

    def place(self, word: str) -> int:
        """Return the index of the category that a word means: the one written so, or the only one but for its case and
        blanks. One behind the last for a blank, and one more for a word that training never saw."""
        if word in self.categories:
            return self.categories.index(word)
        alike = [index for index, name in enumerate(self.categories) if _folded(name) == _folded(word)]
        if len(alike) == 1:
            return alike[0]
        return len(self.categories) + (0 if is_blank(word) else 1)


@dataclass(frozen=True)
class TableEncoding:
    """From words in metadata columns to the numbers that a network sees.

    A numeric column becomes two numbers: the value minus the training mean in units of the training deviation (0 for a
    blank), and 1 for a blank. A categorical column becomes one number for each category of the training rows, one for
    a blank and one for a category that training never saw; exactly one of them is 1. A word that differs from one
    category alone in case or blanks is that category.

    Args:
        numeric: Numeric columns with their training statistics.
        categorical: Categorical columns with their training categories, sorted.

    Example:
        >>> rows = [{"age": "40", "sex": "f"}, {"age": "60", "sex": "m"}]
        >>> encoding = TableEncoding.fit(rows, numeric=["age"], categorical=["sex"])
        >>> encoding.encode([{"age": "60", "sex": ""}]).tolist()
        [[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]]
    """

    numeric: tuple[_Numeric, ...] = ()
    categorical: tuple[_Categorical, ...] = ()

    @classmethod
    def fit(
        cls, rows: Sequence[Mapping[str, str]], numeric: Sequence[str] = (), categorical: Sequence[str] = ()
    ) -> Self:
        """Take the statistics of the training rows.

        Args:
            rows: Of the training samples and no others; words by column.
            numeric: Columns of numbers.
            categorical: Columns of words.

        Returns:
            The encoding.

        Raises:
            DataError: If there is no row, a numeric column holds something else, or a categorical one has more than
                100 categories, as names of persons would.
        """
        if not rows:
            raise DataError("there is no training row to take the metadata's statistics from")
        both = sorted(set(numeric) & set(categorical))
        if both:
            raise DataError(f"data.labels.metadata: {', '.join(both)} is both numeric and categorical")
        return cls(
            tuple(_fit_numeric(column, rows) for column in numeric),
            tuple(_fit_categorical(column, rows) for column in categorical),
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads, numeric ones first."""
        return (*(part.column for part in self.numeric), *(part.column for part in self.categorical))

    @property
    def names(self) -> tuple[str, ...]:
        """What each of the F numbers says, such as ``age``, ``age: missing``, ``sex: female``, ``sex: unknown``."""
        names = [name for part in self.numeric for name in (part.column, f"{part.column}: {_MISSING}")]
        for table in self.categorical:
            names += [f"{table.column}: {word}" for word in (*table.categories, _MISSING, _UNKNOWN)]
        return tuple(names)

    def encode(self, rows: Iterable[Mapping[str, str]]) -> NDArray[np.float32]:
        """Return the numbers that the network sees.

        Args:
            rows: Words by column; a column that is not there counts as blank, other columns are left alone.

        Returns:
            ``(N, F)`` float32, always finite.

        Raises:
            InputError: If a numeric column holds something that is no finite number; the value is not repeated.
        """
        encoded = [self._row(row) for row in rows]
        return np.array(encoded, np.float32).reshape(len(encoded), len(self.names))

    def foreign(self, row: Mapping[str, str]) -> dict[str, str]:
        """Return what training never saw, by column, without the value: a number outside its range or a category.

        Args:
            row: Words by column, as for ``encode``.
        """
        found = {}
        for part in self.numeric:
            number = _number(row, part.column)
            if number is not None and not part.saw(number):
                seen = f"{part.range[0]:g} to {part.range[-1]:g}" if part.range else "none"
                found[part.column] = f"outside what training saw ({seen})"
        for table in self.categorical:
            if table.place(_cell(row, table.column)) > len(table.categories):
                found[table.column] = "a category that training never saw"
        return found

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types, for the bundle."""
        return {
            "numeric": [
                {**vars(part), "range": None if part.range is None else list(part.range)} for part in self.numeric
            ],
            "categorical": [{"column": part.column, "categories": list(part.categories)} for part in self.categorical],
        }

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> Self:
        """Return the encoding that ``plain`` was called on.

        Raises:
            BundleError: If it is not what ``plain`` returns.
        """
        try:
            numeric = tuple(
                _Numeric(_word(part["column"]), float(part["mean"]), float(part["std"]), _range(part.get("range")))
                for part in value["numeric"]
            )
            categorical = tuple(
                _Categorical(_word(part["column"]), tuple(_word(word) for word in part["categories"]))
                for part in value["categorical"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError("the encoding of the metadata is damaged; package the model again") from error
        if not all(math.isfinite(part.mean) and math.isfinite(part.std) and part.std > 0 for part in numeric):
            raise BundleError("the encoding of the metadata has a mean or deviation that cannot be")
        return cls(numeric, categorical)

    @staticmethod
    def constants() -> dict[str, Any]:
        """Return what the encoding does that no bundle says otherwise, as plain JSON types; see ``docs/bundle.md``."""
        return {"blanks": sorted(BLANKS), "unicode": _FORM, "fold": "case and blanks", "dtype": "float64"}

    def _row(self, row: Mapping[str, str]) -> list[float]:
        values: list[float] = []
        for part in self.numeric:
            number = _number(row, part.column)
            values += [0.0, 1.0] if number is None else [(number - part.mean) / part.std, 0.0]
        for table in self.categorical:
            place = table.place(_cell(row, table.column))
            values += [float(index == place) for index in range(len(table.categories) + 2)]
        return values


def _fit_numeric(column: str, rows: Sequence[Mapping[str, str]]) -> _Numeric:
    try:
        found = [number for row in rows if (number := _number(row, column)) is not None]
    except InputError as error:
        raise DataError(str(error)) from error
    if not found:
        return _Numeric(column, 0.0, 1.0, ())
    spread = float(np.std(found))
    spread = spread if spread > 1e-12 * max(1.0, max(map(abs, found))) else 1.0
    return _Numeric(column, float(np.mean(found)), spread, tuple(map(float, np.quantile(found, _QUARTERS))))


def _fit_categorical(column: str, rows: Sequence[Mapping[str, str]]) -> _Categorical:
    counts = Counter(word for row in rows if not is_blank(word := _cell(row, column)))
    spelt: dict[str, list[str]] = {}
    for word, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        spelt.setdefault(_folded(word), []).append(word)
    words = sorted(same[0] for same in spelt.values())  # the most frequent spelling
    if len(words) > _MOST_CATEGORIES:
        raise DataError(
            f"metadata column {column} has {len(words)} categories, and at most {_MOST_CATEGORIES} are taken: it looks "
            "like a number or a name. Take it out of data.labels.metadata.categorical"
        )
    return _Categorical(column, tuple(words))


def _cell(row: Mapping[str, str], column: str) -> str:
    return unicodedata.normalize(_FORM, str(row.get(column, ""))).strip()


def _number(row: Mapping[str, str], column: str) -> float | None:
    text = _cell(row, column)
    if is_blank(text):
        return None
    value = as_number(text)
    if value is None:
        raise InputError(f"metadata {column}: expected a number, or nothing where it is not known")
    return value


def _folded(word: str) -> str:
    """Return a word without differences in case and blanks."""
    return " ".join(word.split()).casefold()


def _range(value: Sequence[float] | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    found = tuple(map(float, value))
    if len(found) not in (0, len(_QUARTERS)) or list(found) != sorted(found) or not all(map(math.isfinite, found)):
        raise ValueError("expected no numbers, or five in order")
    return found


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a word")
    return value
