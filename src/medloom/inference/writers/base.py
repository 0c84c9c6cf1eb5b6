"""What the writers of every kind of answer share: one row a result, counted as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medloom.errors import DecodeError, InputError, NotFiniteError, ServerError, UserError
from medloom.inference.answers import Prediction, VolumeAnswer
from medloom.inference.inputs import Entry, ImageFile
from medloom.inference.metadata import Metadata
from medloom.inference.predictor import Predictor
from medloom.inference.prepared import Prepared
from medloom.inference.writers.forms import FormFiles
from medloom.targets import Target
from medloom.wording import counted

__all__ = [
    "FOR_ONE_FILE",
    "TABLE",
    "Answered",
    "Asked",
    "FileResult",
    "Outcome",
    "Summary",
    "Tally",
    "Writer",
    "code_of",
    "has_siblings",
    "prepare_file",
]

TABLE = "predictions.csv"
"""Name of the table in the output folder."""

FOR_ONE_FILE = (UserError, NotFiniteError, OSError)
"""What concerns one input alone, and the others go on."""

_CODES: dict[type[Exception], str] = {
    InputError: "wrong_input",
    NotFiniteError: "not_finite",
    UserError: "wrong_files",
    ServerError: "no_answer",
    OSError: "unreadable",
    Exception: "failed",
}
"""Of the first that an error is one of."""

_MOST_WARNINGS = 1000
"""Sentences that are counted, should they be many."""


class FileResult(Protocol):
    """What came of one image, or of one page of a file."""

    @property
    def file(self) -> str:
        """Name of the image."""
        ...

    @property
    def error(self) -> str:
        """Why there is no prediction; empty if there is one."""
        ...

    @property
    def code(self) -> str:
        """One word for programs of why there is no prediction; empty if there is one."""
        ...

    @property
    def found(self) -> tuple[str, ...]:
        """What was found, as it is counted in the summary."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """How the image or its metadata are unlike those of the training, a sentence each."""
        ...

    def plain(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        ...


@dataclass(frozen=True)
class Summary:
    """What was found in all images together.

    Args:
        counts: Plain JSON types.
        text: The same as the end of a sentence, such as ``, 3 with lesion``; may be empty.
        warnings: What the user should know, a line each.
    """

    counts: dict[str, Any]
    text: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of all inputs.

    Args:
        results: One for each image or page, in order.
        target: What the model predicts.
        phantom: Whether it learned from phantoms.
    """

    results: list[FileResult]
    target: Target
    phantom: bool


@dataclass
class Tally:
    """Counts results one by one, so that they need not be there together."""

    results: int = 0
    failed: int = 0
    with_something: int = 0
    found: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    _warnings: Counter[str] = field(default_factory=Counter)

    def add(self, result: FileResult) -> None:
        """Count a result."""
        self.results += 1
        self.failed += bool(result.error)
        self.with_something += bool(result.found)
        self.found.update(result.found)
        if result.code:
            self.codes[result.code] += 1
        for text in result.warnings:
            if text in self._warnings or len(self._warnings) < _MOST_WARNINGS:
                self._warnings[text] += 1

    @property
    def warnings(self) -> tuple[str, ...]:
        """How inputs were unlike those of the training, and how many."""
        images = counted(self.results, "image")
        return tuple(f"{text}, for {count} of {images}" for text, count in self._warnings.items())


@dataclass(frozen=True)
class Asked:
    """What is asked of every image.

    Args:
        predictor: The model.
        folder: Where files are written.
        page: Page of files that have several; None for all of a volume.
        uncertainty: Measure of each pixel of a mask, of ``medloom.registry.UNCERTAINTIES``; empty for none.
        forms: Further forms of each answer that are written; None for none.
        overlays: Whether the outline of a mask is drawn on its image.
    """

    predictor: Predictor
    folder: Path
    page: int | None = None
    uncertainty: str = ""
    forms: FormFiles | None = None
    overlays: bool = True


@dataclass(frozen=True, eq=False)
class Answered:
    """An answer to one input, from a model here or elsewhere, of which nothing is written yet.

    Args:
        file: Name of the input.
        answer: The answer.
        page: Which page of a file that has several.
        overlay: The image with the outline of its mask as PNG; empty where there is none.
        unsure: How uncertain each pixel of a mask is, 0 to 1; None where that was not asked for.
        forms: Further forms of the answer, by name.
    """

    file: str
    answer: Prediction | VolumeAnswer
    page: int | None = None
    overlay: bytes = b""
    unsure: NDArray[np.float32] | None = None
    forms: Mapping[str, bytes] = field(default_factory=dict)


class Writer(Protocol):
    """Predicts one input after the other and writes what belongs to its kind of answer; may be asked by threads."""

    @property
    def writes_files(self) -> bool:
        """Whether there are files beside the table, which need names of their own."""
        ...

    @property
    def takes_pages_apart(self) -> bool:
        """Whether each page of a file that has several has an answer and a row of its own."""
        ...

    def predict(self, asked: Asked, image: Entry, metadata: Metadata, name: str) -> Sequence[FileResult]:
        """Predict an image; one that is bad is a result with an error.

        Args:
            asked: What is asked of every image.
            image: The image.
            metadata: Values by column.
            name: What its files are called, without an ending.
        """
        ...

    def write(self, answered: Answered, folder: Path, name: str) -> Sequence[FileResult]:
        """Write what belongs to an answer.

        Args:
            answered: The answer.
            folder: Where to write.
            name: What its files are called, without an ending.
        """
        ...

    def failed(self, image: Entry, page: int | None, error: Exception) -> FileResult:
        """Return the result of an image that there is no prediction for."""
        ...

    def columns(self, target: Target, known: Collection[str]) -> Sequence[str]:
        """Return the columns of the table.

        Args:
            target: What is predicted.
            known: Columns that a row has something in.
        """
        ...

    def row(self, result: FileResult, target: Target) -> dict[str, Any]:
        """Return the cells of one of its results by column; those in which there is nothing may be left out."""
        ...

    def summary(self, target: Target, tally: Tally) -> Summary:
        """Return what was found."""
        ...


def code_of(error: Exception) -> str:
    """Return one word for programs of why there is no prediction.

    Example:
        >>> code_of(DecodeError("truncated", "it ends early")), code_of(OSError("gone"))
        ('truncated', 'unreadable')
    """
    if isinstance(error, DecodeError):
        return error.code
    return next(word for kind, word in _CODES.items() if isinstance(error, kind))


def has_siblings(image: Entry) -> bool:
    """Whether the slices beside an image are known."""
    return isinstance(image, ImageFile) and image.beside is not None


def prepare_file(predictor: Predictor, image: Entry, data: bytes, metadata: Metadata, page: int | None) -> Prepared:
    """Prepare an image, with the slices beside it where they are known.

    Raises:
        UserError: If it, or one of those, is not what the model takes.
    """
    if isinstance(image, ImageFile) and image.beside is not None:
        return image.beside()
    return predictor.prepare(data, metadata=metadata, page=page)
