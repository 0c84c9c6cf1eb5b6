"""Samples of the catalogue, read from the source and run through the network batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.data import Alignment, PageReader, Source, image_files, meta_of, read_sample_image
from medloom.data.catalogue import is_prepared
from medloom.data.checks import named
from medloom.data.context import Surroundings, rows_beside
from medloom.data.kinds import truth_of
from medloom.errors import DataError, InputError
from medloom.imaging import Image
from medloom.inference import Prediction, Predictor, Prepared
from medloom.inference.stacks import Surrounded
from medloom.recipe import Recipe

__all__ = ["Answer", "Progress", "Reading", "Row", "Sample", "counted_by", "tables_of"]

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
        told: What a model elsewhere answered, in the geometry of the image; ``output`` is then of it, and no network's.
    """

    row: Row
    prepared: Prepared
    output: Floats32
    told: Prediction | None = None


@dataclass(frozen=True, eq=False)
class Reading:
    """Reads samples and runs the network; only one batch is held at a time.

    Args:
        recipe: Says how to read the files.
        source: Where the files are.
        predictor: What is measured.
        progress: Called with images done and images in all.
        baselines: What cheap models say of the samples; None where there are none.
        catalogue: The whole catalogue, for the slices beside those that are measured; needed where the predictor has
            context.
    """

    recipe: Recipe
    source: Source
    predictor: Predictor
    progress: Progress | None = None
    baselines: pd.DataFrame | None = None
    catalogue: pd.DataFrame | None = None

    def samples(self, rows: pd.DataFrame) -> Iterator[Sample]:
        """Yield the rows' images as the network sees them, in this order.

        Raises:
            DataError: If a file cannot be read any more, or does not fit any more.
        """
        alignment = self.alignment()
        if self.predictor.context:
            seen = self._surrounded(alignment)
            yield from (Sample(row, seen(self._places[str(row["sample_id"])])) for row in _plain_rows(rows))
            return
        for row, metadata in zip(_plain_rows(rows), self._metadata(rows), strict=True):
            yield Sample(row, self._prepare(row, metadata, alignment))

    def answers(self, rows: pd.DataFrame) -> Iterator[Answer]:
        """Yield what the network says about each row, in this order.

        Raises:
            DataError: If a file cannot be read any more, or does not fit any more.
        """
        for batch in self.batches(rows):
            images = np.stack([sample.prepared.network_input for sample in batch])
            outputs = self.predictor.run(images, tables_of(batch))
            for sample, output in zip(batch, outputs, strict=True):
                yield Answer(sample.row, sample.prepared, output)

    def batches(self, rows: pd.DataFrame) -> Iterator[list[Sample]]:
        """Yield the samples of the rows, in this order, as many at a time as the recipe's evaluation takes.

        Raises:
            DataError: If a file cannot be read any more, or does not fit any more.
        """
        return _batches(self.samples(rows), self.recipe.evaluate.batch_size)

    def alignment(self) -> Alignment:
        """Return what reads the files of the samples, as `prepare` does."""
        orientation = self.predictor.orientation
        cut = None if orientation == "any" or self.recipe.data.page != "all" else orientation
        classes = truth_of(self.recipe).class_map(self.recipe)
        return Alignment(PageReader(self.source.read, cut, classes.values if classes else None), self.recipe.data.align)

    def images(self, rows: pd.DataFrame) -> Iterator[Image]:
        """Yield the rows' images as decoded, in this order.

        Raises:
            DataError: If a file cannot be read any more, or does not fit any more.
        """
        alignment = self.alignment()
        for row in _plain_rows(rows):
            yield self._image(row, alignment)

    def _metadata(self, rows: pd.DataFrame) -> list[dict[str, str]]:
        return meta_of(rows) if self.predictor.metadata_columns else [{}] * len(rows)

    @cached_property
    def _whole(self) -> pd.DataFrame:
        """Every sample, for those that are seen beside others."""
        if self.catalogue is None:
            raise ValueError("the slices beside others are looked for in a catalogue, and there is none")
        return self.catalogue

    @cached_property
    def _places(self) -> dict[str, int]:
        return {str(sample): place for place, sample in enumerate(self._whole["sample_id"])}

    def _surrounded(self, alignment: Alignment) -> Surrounded:
        """Return what prepares a row of the whole catalogue with those that the catalogue says are beside it."""
        rows, metadata = _plain_rows(self._whole), self._metadata(self._whole)

        def places_of(samples: Sequence[str]) -> NDArray[np.int64]:
            return np.array([self._places[sample] for sample in samples], np.int64)

        index = rows_beside(self._whole, places_of, len(rows), self.predictor.context)
        if index is None:
            raise ValueError("the predictor has no context")
        beside = Surroundings(index, np.zeros(len(rows), np.bool_), 0)  # what is missing was said by `prepare`
        return Surrounded(lambda place: self._prepare(rows[place], metadata[place], alignment), beside)

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
            return self.predictor.prepare_slice(image, metadata=taken)
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


def tables_of(batch: Sequence[Sample]) -> Floats32 | None:
    """Return the encoded metadata of a batch, (N, F); None where the network takes none."""
    rows = [sample.prepared.table_nf for sample in batch if sample.prepared.table_nf is not None]
    return np.concatenate(rows) if rows else None
