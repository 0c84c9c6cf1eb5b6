"""Classify many files, or give their numbers: one table, one row a file or page; a bad one never stops the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from medloom.errors import UserError
from medloom.imaging import Image, Volume, decode, inspect
from medloom.inference.encoding import labels_plain
from medloom.inference.files import TABLE, write_rows
from medloom.inference.inputs import Entry, read_input
from medloom.inference.labels import LabelPrediction, LabelPredictor
from medloom.inference.volumes import slices_of

__all__ = ["LabelResult", "predict_label_files"]

_JOINT = ";"


@dataclass(frozen=True)
class LabelResult:
    """One row of ``predictions.csv``.

    Args:
        file: Name of the image.
        page: Which page of a file that has several, or slice of a volume, counted from 0; else None.
        prediction: What the model says; None if there is an error.
        error: Why there is no prediction.
    """

    file: str
    page: int | None = None
    prediction: LabelPrediction | None = None
    error: str = ""

    @property
    def scores(self) -> dict[str, float]:
        """Probability of each class or label, or the number of each target; empty if there is an error."""
        found = self.prediction
        return {} if found is None else {n: round(s, 6) for n, s in zip(found.names, found.scores, strict=True)}

    @property
    def decision(self) -> tuple[str, ...]:
        """The class, or the labels that are on; empty for numbers and if there is an error."""
        return () if self.prediction is None else self.prediction.decision

    def plain(self) -> dict[str, Any]:
        """Return it as plain JSON types, a prediction with the keys of a server's answer."""
        said = {} if self.prediction is None else labels_plain(self.prediction)
        return {"file": self.file, "page": self.page, **said, "error": self.error}


def predict_label_files(
    predictor: LabelPredictor,
    images: Sequence[Entry],
    folder: Path,
    *,
    metadata: Sequence[Mapping[str, Any]] = (),
    page: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[LabelResult]:
    """Predict images one by one and write ``predictions.csv``.

    Its columns are ``file``, ``page``, ``probability_CLASS`` for each class (``value_TARGET`` for numbers),
    ``decision`` (labels that are on are joined by ``;``) and ``error``.

    Args:
        predictor: The model.
        images: What to predict.
        folder: Where to write.
        metadata: Values by column, one for each image; empty where nothing is known of any.
        page: Page of files that have several; None predicts each of them.
        progress: Called with how many are done and how many there are.

    Returns:
        One result for each image or page, in order; a bad one has an ``error``.
    """
    results: list[LabelResult] = []
    for done, (image, row) in enumerate(zip(images, metadata or [{}] * len(images), strict=True), start=1):
        results += _predict_file(predictor, image, row, page)
        if progress:
            progress(done, len(images))
    _write(folder / TABLE, predictor, results)
    return results


def _predict_file(
    predictor: LabelPredictor, image: Entry, metadata: Mapping[str, Any], page: int | None
) -> list[LabelResult]:
    try:
        pages = list(_pages(read_input(image, page=page, budget=predictor.budget), page, predictor))
    except (UserError, OSError) as error:
        return [LabelResult(image.name, page, error=str(error))]
    return [_predict_page(predictor, image.name, number, load, metadata) for number, load in pages]


def _pages(
    given: Volume | bytes, page: int | None, predictor: LabelPredictor
) -> Iterator[tuple[int | None, Callable[[], Image]]]:
    """Yield the number of each page, None for a file with one, and what decodes it."""
    if isinstance(given, Volume):
        for number, image in enumerate(slices_of(given)):
            yield (number if len(given.voxels) > 1 else None), partial(_same, image)
        return
    count = inspect(given, budget=predictor.budget).pages if page is None else 1
    for number in range(count):
        chosen = page if count == 1 else number
        yield chosen, partial(decode, given, page=chosen, budget=predictor.budget, at_least=predictor.at_least)


def _same(image: Image) -> Image:
    return image


def _predict_page(
    predictor: LabelPredictor,
    file: str,
    page: int | None,
    load: Callable[[], Image],
    metadata: Mapping[str, Any],
) -> LabelResult:
    try:
        found = predictor.predict(load(), metadata=metadata)
    except UserError as error:
        return LabelResult(file, page, error=str(error))
    return LabelResult(file, page, found)


def _write(path: Path, predictor: LabelPredictor, results: Sequence[LabelResult]) -> None:
    kind = "value" if predictor.kind == "real" else "probability"
    columns = {name: f"{kind}_{name}" for name in predictor.names}
    rows = (
        {
            "file": result.file,
            "page": result.page,
            **{columns[name]: score for name, score in result.scores.items()},
            "decision": _JOINT.join(result.decision),
            "error": result.error,
        }
        for result in results
    )
    write_rows(path, ["file", "page", *columns.values(), "decision", "error"], rows)
