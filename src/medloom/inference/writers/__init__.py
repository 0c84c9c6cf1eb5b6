"""Predictions of many files as files: one writer for each family of answers, chosen through ``KINDS``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from medloom.errors import UserError
from medloom.inference.inputs import Entry
from medloom.inference.metadata import Metadata
from medloom.inference.predictor import Predictor
from medloom.inference.siblings import with_siblings
from medloom.inference.writers.base import TABLE, FileResult, Summary, Writer
from medloom.inference.writers.labels import LabelWriter
from medloom.inference.writers.masks import MaskWriter
from medloom.registry import UNCERTAINTIES, check_name, names_for
from medloom.targets import Target

__all__ = ["KINDS", "TABLE", "FileResult", "Summary", "Writer", "predict_files", "summary"]

KINDS: dict[str, Writer] = {
    "masks": MaskWriter(),
    "binary": LabelWriter("probability"),
    "multi-class": LabelWriter("probability"),
    "multi-label": LabelWriter("probability"),
    "regression": LabelWriter("value"),
}
"""What writes the predictions of each kind."""


def predict_files(
    predictor: Predictor,
    images: Sequence[Entry],
    folder: Path,
    *,
    metadata: Sequence[Metadata] = (),
    page: int | None = None,
    uncertainty: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> list[FileResult]:
    """Predict images one by one and write what belongs to the kind of answer, and ``predictions.csv``.

    Args:
        predictor: The model.
        images: What to predict.
        folder: Where to write.
        metadata: Values by column, one for each image; empty where nothing is known of any.
        page: Page of files that have several; None predicts all slices of a volume, and for labels each page.
        uncertainty: How uncertain each pixel of a mask is, a name of ``medloom.registry.UNCERTAINTIES``; empty writes
            nothing of it.
        progress: Called with how many are done and how many there are.

    Returns:
        One result for each image or page, in order; a bad one has an ``error``.

    Raises:
        UserError: If there is no such uncertainty, or the answer is no mask.
    """
    writer, rows = KINDS[predictor.target.kind], list(metadata) or [{}] * len(images)
    known = with_siblings(predictor, images, rows) if page is None else images
    if uncertainty:
        measures = names_for(UNCERTAINTIES, predictor.target.kind)
        if not measures:
            raise UserError(
                "an uncertainty of each pixel is there for masks alone; of labels `expected` and `review` in the table "
                "say how sure an answer is, where the bundle knows"
            )
        check_name("uncertainty", uncertainty, measures)
    return list(writer.write(predictor, _each(known, rows, progress), folder, page, uncertainty))


def summary(target: Target, results: Sequence[FileResult]) -> Summary:
    """Return what was found in all images together.

    Args:
        target: What was predicted.
        results: What ``predict_files`` returned.
    """
    return KINDS[target.kind].summary(target, results)


def _each(
    images: Sequence[Entry], metadata: Sequence[Metadata], progress: Callable[[int, int], None] | None
) -> Iterator[tuple[Entry, Metadata]]:
    """Yield each image with its metadata, and report an image as done when the next one is asked for."""
    for done, pair in enumerate(zip(images, metadata, strict=True), start=1):
        yield pair
        if progress:
            progress(done, len(images))
