"""Samples of the catalogue, read from the source and run through the network batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.data import Alignment, PageReader, Source, image_files, meta_of, read_sample_image
from medloom.data.catalogue import is_prepared
from medloom.data.checks import named
from medloom.errors import DataError, InputError
from medloom.imaging import Image
from medloom.inference import Predictor, Prepared
from medloom.recipe import Recipe

__all__ = ["Answer", "Progress", "Reading", "Row", "Sample", "counted_by"]

Floats32 = NDArray[np.float32]
Row = dict[str, Any]
Progress = Callable[[int, int], None]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Sample:
    """An image of the catalogue as the network sees it.

    Args:
        row: Its row of the catalogue.
        prepared: The image, with its encoded metadata.
    """

    row: Row
    prepared: Prepared


@dataclass(frozen=True, eq=False)
class Answer:
    """A sample with what the network says about it.

    Args:
        row: Its row of the catalogue.
        prepared: The image, with its encoded metadata.
        output: (K, h, w) or (K,) float32, on the network's grid.
    """

    row: Row
    prepared: Prepared
    output: Floats32


@dataclass(frozen=True, eq=False)
class Reading:
    """Reads samples and runs the network; only one batch is held at a time.

    Args:
        recipe: Says how to read the files.
        source: Where the files are.
        predictor: What is measured.
        progress: Called with images done and images in all.
        baselines: What cheap models say of the samples; None where there are none.
    """

    recipe: Recipe
    source: Source
    predictor: Predictor
    progress: Progress | None = None
    baselines: pd.DataFrame | None = None

    def samples(self, rows: pd.DataFrame) -> Iterator[Sample]:
        """Yield the rows' images as the network sees them, in this order.

        Raises:
            DataError: If a file cannot be read any more, or does not fit any more.
        """
        alignment = self.alignment()
        taken = meta_of(rows) if self.predictor.metadata_columns else [{}] * len(rows)
        for row, metadata in zip(_plain_rows(rows), taken, strict=True):
            yield Sample(row, self._prepare(row, metadata, alignment))

    def answers(self, rows: pd.DataFrame) -> Iterator[Answer]:
        """Yield what the network says about each row, in this order.

        Raises:
            DataError: If a file cannot be read any more, or does not fit any more.
        """
        for batch in _batches(self.samples(rows), self.recipe.evaluate.batch_size):
            images = np.stack([sample.prepared.network_input for sample in batch])
            outputs = self.predictor.run(images, _tables(batch))
            for sample, output in zip(batch, outputs, strict=True):
                yield Answer(sample.row, sample.prepared, output)

    def alignment(self) -> Alignment:
        """Return what reads the files of the samples, as `prepare` does."""
        orientation = self.predictor.orientation
        cut = None if orientation == "any" or self.recipe.data.page != "all" else orientation
        return Alignment(PageReader(self.source.read, cut), self.recipe.data.align)

    def images(self, rows: pd.DataFrame) -> Iterator[Image]:
        """Yield the rows' images as decoded, in this order.

        Raises:
            DataError: If a file cannot be read any more, or does not fit any more.
        """
        alignment = self.alignment()
        for row in _plain_rows(rows):
            yield self._image(row, alignment)

    def _image(self, row: Row, alignment: Alignment) -> Image:
        files = image_files(row["image"])
        alignment.reader.only(files)
        _check_unchanged(alignment.reader, row, files)
        return read_sample_image(
            alignment, files, self.recipe.data.channels, page=row["frame"], at_least=self.predictor.at_least
        )

    def _prepare(self, row: Row, metadata: dict[str, str], alignment: Alignment) -> Prepared:
        image = self._image(row, alignment)
        # Columns that are in the catalogue for groups alone stay out.
        taken = {name: metadata.get(name, "") for name in self.predictor.metadata_columns}
        try:
            return self.predictor.prepare(image, metadata=taken)
        except InputError as error:
            raise DataError(f"{next(filter(None, image_files(row['image'])), '?')}: {error}") from error


def _check_unchanged(reader: PageReader, row: Row, files: Sequence[str]) -> None:
    """Raise if a file is not the one that was prepared, or cannot be read."""
    hashes = [named(partial(reader.sha256, name), name) if name else "" for name in files]
    if row["sha256"] and not is_prepared(row, hashes):
        raise DataError(
            f"{next(filter(None, files), '?')} is another image than when it was prepared; restore it, or begin "
            "another run with the images as they are now"
        )


def counted_by(progress: Progress | None, total: int) -> Callable[[Iterable[T]], Iterator[T]]:
    """Return a function that passes items on and says how many have passed, of ``total`` over all its calls."""
    done = 0

    def count(items: Iterable[T]) -> Iterator[T]:
        nonlocal done
        for item in items:
            yield item
            done += 1
            if progress:
                progress(done, total)

    return count


def _plain_rows(rows: pd.DataFrame) -> list[Row]:
    return [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]


def _batches(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    batch: list[Sample] = []
    for sample in samples:
        batch.append(sample)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _tables(batch: list[Sample]) -> Floats32 | None:
    """The encoded metadata of a batch, (N, F); None where the network takes none."""
    rows = [sample.prepared.table_nf for sample in batch if sample.prepared.table_nf is not None]
    return np.concatenate(rows) if rows else None
