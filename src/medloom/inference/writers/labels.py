"""Classify many files, or give their numbers: one table, one row a file or page; a bad one never stops the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

from medloom.errors import NotFiniteError, UserError
from medloom.imaging import Volume, inspect
from medloom.imaging.canonical import along
from medloom.inference.answers.labels import LabelAnswer, LabelPrediction
from medloom.inference.forms import FormError
from medloom.inference.inputs import Entry, read_input
from medloom.inference.metadata import Metadata
from medloom.inference.predictor import Predictor
from medloom.inference.prepared import Prepared
from medloom.inference.volumes import slices_of, surrounded_pages, surrounded_slices
from medloom.inference.writers.base import (
    FOR_ONE_FILE,
    Answered,
    Asked,
    FileResult,
    Summary,
    Tally,
    code_of,
    has_siblings,
    prepare_file,
)
from medloom.inference.writers.forms import FormFiles, write_forms
from medloom.registry import FORMS
from medloom.targets import Target

__all__ = ["LabelResult", "LabelWriter"]

_JOINT = ";"

_WHERE_KNOWN = ("expected", "review", "code")
"""Columns that there are where one of the images has something in them."""

_Page = tuple[int | None, Callable[[], Prepared]]


@dataclass(frozen=True)
class LabelResult:
    """One row of ``predictions.csv``.

    Args:
        file: Name of the image.
        page: Which page of a file that has several, or slice of a volume, counted from 0; else None.
        prediction: What the model says; None if there is an error.
        error: Why there is no prediction.
        code: The same in one word.
        forms: Further forms of the answer by name, relative to the output folder.
    """

    file: str
    page: int | None = None
    prediction: LabelPrediction | None = None
    error: str = ""
    code: str = ""
    forms: dict[str, str] = field(default_factory=dict)

    @property
    def scores(self) -> dict[str, float]:
        """Probability of each class or label, or the number of each target; empty if there is an error."""
        return {} if self.prediction is None else self.prediction.by_name

    @property
    def found(self) -> tuple[str, ...]:
        """The class, or the labels that are on; empty for numbers and if there is an error."""
        return () if self.prediction is None else self.prediction.decision

    @property
    def notes(self) -> Sequence[str]:
        """What decoding did to the image, such as turn it; empty if there is an error."""
        return () if self.prediction is None else self.prediction.notes

    @property
    def warnings(self) -> Sequence[str]:
        """How the image or its metadata are unlike those of the training; empty if there is an error."""
        return () if self.prediction is None else self.prediction.warnings

    @property
    def rated(self) -> dict[str, Any]:
        """How likely the decision is to be right, and whether a person is to look; empty where that is not known."""
        rating = None if self.prediction is None else self.prediction.quality
        return {} if rating is None else {"expected": rating.expected, "review": "yes" if rating.review else "no"}

    def plain(self) -> dict[str, Any]:
        """Return it as plain JSON types, a prediction with the keys of a server's answer."""
        said = {} if self.prediction is None else self.prediction.plain()
        code = {"code": self.code} if self.code else {}
        return {"file": self.file, "page": self.page, **said, "notes": list(self.notes), "error": self.error, **code,
                **self.forms}  # fmt: skip


@dataclass(frozen=True)
class LabelWriter:
    """Writes ``predictions.csv``.

    Its columns are ``file``, ``page``, one for each class, label or target, ``decision`` (labels that are on are joined
    by ``;``), ``notes`` on what decoding did to the image, ``warnings`` where an image or its metadata are unlike those
    of the training, ``error``, and where the bundle can say it ``expected``, how likely the decision is to be right,
    and ``review``, whether a person is to look. Where an input is bad there is also ``code``, one word of why.

    Args:
        score: What a score is called in the names of columns, such as ``probability``.
    """

    score: str

    writes_files: ClassVar[bool] = False
    takes_pages_apart: ClassVar[bool] = True

    def predict(self, asked: Asked, image: Entry, metadata: Metadata, name: str) -> Sequence[LabelResult]:
        """Predict an image, each page of a file that has several unless one was asked for."""
        return _predict_file(asked, image, metadata, name)

    def write(self, answered: Answered, folder: Path, name: str) -> Sequence[LabelResult]:
        """Write further forms of the answer; of a volume there is a row for each slice, and one file of each form."""
        images, forms = LabelAnswer.of(answered.answer).images, write_forms(answered.forms, folder, name)
        pages = range(len(images)) if len(images) > 1 else [answered.page]
        return [LabelResult(answered.file, page, one, forms=forms) for page, one in zip(pages, images, strict=True)]

    def failed(self, image: Entry, page: int | None, error: Exception) -> LabelResult:
        """Return the result of an image that there is no prediction for."""
        return LabelResult(image.name, page, error=str(error), code=code_of(error))

    def columns(self, target: Target, known: Collection[str]) -> Sequence[str]:
        """Return the columns of the table."""
        scores = [f"{self.score}_{name}" for name in target.names]
        more = [name for name in (*_WHERE_KNOWN, *FORMS) if name in known]
        return ["file", "page", *scores, "decision", "notes", "warnings", "error", *more]

    def row(self, result: FileResult, target: Target) -> dict[str, Any]:
        """Return the cells of a result."""
        del target
        one = cast(LabelResult, result)
        return {
            "file": one.file,
            "page": one.page,
            **{f"{self.score}_{name}": score for name, score in one.scores.items()},
            "decision": _JOINT.join(one.found),
            "notes": "; ".join(one.notes),
            "warnings": "; ".join(one.warnings),
            "error": one.error,
            "code": one.code,
            **one.rated,
            **one.forms,
        }

    def summary(self, target: Target, tally: Tally) -> Summary:
        """Return how often each class or label was decided."""
        decided = dict(sorted(tally.found.items()))
        said = ", ".join(f"{count} {name}" for name, count in decided.items())
        return Summary({"decisions": decided}, f": {said}" if said else "", tally.warnings)


def _predict_file(asked: Asked, image: Entry, metadata: Metadata, name: str) -> list[LabelResult]:
    predictor, page = asked.predictor, asked.page
    try:
        given = read_input(image, page=page, budget=predictor.budget, frames=False, reader=predictor.volume_decoder)
        pages = list((_surrounded if predictor.context else _pages)(predictor, image, given, metadata, page))
    except FOR_ONE_FILE as error:
        return [LabelResult(image.name, page, error=str(error), code=code_of(error))]
    found = [_predict_page(predictor, image.name, number, prepare) for number, prepare in pages]
    if asked.forms is None:
        return found
    volume = given if isinstance(given, Volume) else None
    return [_with_forms(asked, asked.forms, image, one, volume, name) for one in found]


def _with_forms(
    asked: Asked, forms: FormFiles, image: Entry, found: LabelResult, volume: Volume | None, name: str
) -> LabelResult:
    """Write further forms of the answer to a page; files of several are called by its number."""
    if found.prediction is None:
        return found
    plane = None if volume is None else found.page or 0
    try:
        if volume is not None and along(volume, asked.predictor.orientation)[1]:
            raise FormError("the model looks along another plane than the images were taken in: no image shows it")
        page = found.page if volume is None else None
        encoded = forms.encoded(asked.predictor, image, found.prediction, page=page, plane=plane)
    except FOR_ONE_FILE as error:
        return LabelResult(found.file, found.page, error=str(error), code=code_of(error))
    called = name if found.page is None or asked.page is not None else f"{name}-page{found.page}"
    return LabelResult(found.file, found.page, found.prediction, forms=write_forms(encoded, asked.folder, called))


def _pages(
    predictor: Predictor, image: Entry, given: Volume | bytes, metadata: Metadata, page: int | None
) -> Iterator[_Page]:
    """Yield the number of each page, None for a file with one, and what prepares it."""
    if isinstance(given, Volume):
        images = list(slices_of(given, predictor.orientation))
        for number, one in enumerate(images):
            yield (number if len(images) > 1 else None), partial(predictor.prepare, one, metadata=metadata)
        return
    count = inspect(given, budget=predictor.budget).pages if page is None else 1
    for number in range(count):
        chosen = page if count == 1 else number
        yield chosen, partial(predictor.prepare, given, metadata=metadata, page=chosen)


def _surrounded(
    predictor: Predictor, image: Entry, given: Volume | bytes, metadata: Metadata, page: int | None
) -> Iterator[_Page]:
    """Yield the same of slices that are seen with those beside them."""
    if not isinstance(given, Volume) and (page is not None or has_siblings(image)):
        yield page, partial(prepare_file, predictor, image, given, metadata, page)
        return
    if isinstance(given, Volume):
        cut, _ = along(given, predictor.orientation)
        seen, count = surrounded_slices(predictor, cut, metadata), len(cut.voxels)
    else:
        seen, count = surrounded_pages(predictor, given, metadata)
    for number in range(count):
        yield number, partial(seen, number)


def _predict_page(predictor: Predictor, file: str, page: int | None, prepare: Callable[[], Prepared]) -> LabelResult:
    try:
        found = predictor.answer([prepare()])[0]
    except (UserError, NotFiniteError) as error:
        return LabelResult(file, page, error=str(error), code=code_of(error))
    return LabelResult(file, page, LabelPrediction.of(found))
