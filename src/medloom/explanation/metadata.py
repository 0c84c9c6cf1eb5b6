"""What each column of the metadata adds to an answer: Shapley values over the columns, with the image as it is.

What is not told of a patient comes from made-up ones: numbers spread as those of the training, as far as the bundle
knows them (least value, quartiles, greatest value), each category as often as the others, every column by itself. So a
contribution says: compared with not knowing. They add up to the evidence with all columns minus the mean evidence with
none.

Source: Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, NeurIPS 2017, arXiv:1705.07874
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.data.metadata import TableEncoding
from medloom.explanation.asked import Asked, evidence
from medloom.explanation.methods import Seen
from medloom.inference import Predictor
from medloom.metrics import shapley_values

__all__ = ["Contributions", "contributions", "made_up"]

_PATIENTS = 8
_MOST_ANSWERS = 512
_BATCH = 16
_QUARTERS = np.linspace(0.0, 1.0, 5)


@dataclass(frozen=True)
class Contributions:
    """What each column adds to the evidence for an answer.

    Args:
        columns: By column; in natural logarithms of odds, or the unit of the number.
        without: The mean evidence where no column is told.
        told: The evidence with all of them: ``without`` plus the sum of the columns.
        exact: Whether every combination of columns was asked about, or orders of them were drawn.
    """

    columns: dict[str, float]
    without: float
    told: float
    exact: bool

    def plain(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"columns": self.columns, "without": self.without, "told": self.told, "exact": self.exact}


def contributions(predictor: Predictor, seen: Seen, asked: Asked) -> Contributions | None:
    """Return what each column of an image's metadata adds to an answer; None of a model that takes none.

    Args:
        predictor: The model, with any runtime.
        seen: An image and the answer to it.
        asked: What of the answer is asked about.
    """
    columns = predictor.metadata_columns
    if not columns:
        return None
    others = made_up(predictor.tables[0])

    def value(told: NDArray[np.bool_]) -> NDArray[np.float64]:
        rows = [_mixed(columns, who, seen.words, other) for who in told for other in others]
        each = _evidence(predictor, seen, asked, rows).reshape(len(told), len(others))
        return np.asarray(each.mean(axis=1))

    found, exact = shapley_values(value, len(columns), most=_MOST_ANSWERS // len(others))
    ends = value(np.array([[False] * len(columns), [True] * len(columns)]))
    return Contributions(dict(zip(columns, map(float, found), strict=True)), float(ends[0]), float(ends[1]), exact)


def made_up(table: TableEncoding, patients: int = _PATIENTS, seed: int = 0) -> list[dict[str, str]]:
    """Return patients who are nobody: every column by itself spread as in the training, as far as it is known.

    Args:
        table: How metadata become numbers.
        patients: How many.
        seed: Of the order in which their values are put together.
    """
    rng, shares = np.random.default_rng(seed), (np.arange(patients) + 0.5) / patients
    words: dict[str, list[str]] = {}
    for part in table.numeric:
        known = (
            [f"{value:.9g}" for value in np.interp(shares, _QUARTERS, part.range)] if part.range else [""] * patients
        )
        words[part.column] = known
    for one in table.categorical:
        words[one.column] = [one.categories[int(at * len(one.categories))] if one.categories else "" for at in shares]
    mixed = {column: [values[place] for place in rng.permutation(patients)] for column, values in words.items()}
    return [{column: values[number] for column, values in mixed.items()} for number in range(patients)]


def _mixed(
    columns: tuple[str, ...], told: NDArray[np.bool_], own: dict[str, Any], other: dict[str, str]
) -> dict[str, Any]:
    return {name: own.get(name) if known else other[name] for name, known in zip(columns, told, strict=True)}


def _evidence(predictor: Predictor, seen: Seen, asked: Asked, rows: list[dict[str, Any]]) -> NDArray[np.float64]:
    """The evidence for each row, each different one asked about once."""
    encoded = predictor.encode(rows)
    if encoded is None:
        raise ValueError("the model takes no metadata")
    different, places = np.unique(encoded, axis=0, return_inverse=True)
    found = []
    for first in range(0, len(different), _BATCH):
        part = different[first : first + _BATCH]
        images = np.repeat(seen.prepared.network_input[None], len(part), axis=0)
        found.append(evidence(predictor.runtime.run(images, part), asked, predictor.target.activation))
    return np.asarray(np.concatenate(found)[places.ravel()])
