"""What the writers of every kind of answer share: one row a result, one table."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from medloom.files import write_bytes
from medloom.inference.inputs import Entry, ImageFile
from medloom.inference.metadata import Metadata
from medloom.inference.predictor import Predictor
from medloom.inference.prepared import Prepared
from medloom.targets import Target
from medloom.wording import counted

__all__ = [
    "TABLE",
    "FileResult",
    "Given",
    "Summary",
    "Writer",
    "foreign_inputs",
    "has_siblings",
    "prepare_file",
    "write_rows",
]

TABLE = "predictions.csv"
"""Name of the table in the output folder."""


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


Given = Iterable[tuple[Entry, Metadata]]
"""Images, each with its metadata."""


class Writer(Protocol):
    """Writes the predictions of one kind of answer."""

    def write(
        self, predictor: Predictor, given: Given, folder: Path, page: int | None, uncertainty: str = ""
    ) -> Sequence[FileResult]:
        """See ``medloom.inference.writers.predict_files``."""
        ...

    def summary(self, target: Target, results: Sequence[FileResult]) -> Summary:
        """Return what was found."""
        ...


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


def foreign_inputs(results: Sequence[FileResult]) -> tuple[str, ...]:
    """Say how inputs were unlike those of the training, and how many."""
    counts = Counter(text for result in results for text in result.warnings)
    return tuple(f"{text}, for {count} of {counted(len(results), 'image')}" for text, count in counts.items())


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV atomically; None becomes an empty cell, and a byte of a file's name that is no UTF-8 ``\\udcXX``."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode(errors="backslashreplace"))
