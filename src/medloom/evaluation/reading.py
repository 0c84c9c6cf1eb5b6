"""Samples of the catalogue, read from the source and run through the network batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.data import ClassMap, PageReader, Source, image_files, read_image, read_mask
from medloom.data.checks import Convert
from medloom.errors import DataError
from medloom.evaluation.cases import Case
from medloom.imaging import Image
from medloom.inference import Predictor, Prepared
from medloom.recipe import DataConfig

__all__ = ["Answer", "Sample", "answers", "read_sample"]


@dataclass(frozen=True, eq=False)
class Sample:
    """An image with its truth, as they are in the source.

    Args:
        row: Its row of the catalogue.
        image: Decoded, in its own geometry.
        truth: (H, W) uint8 class index.
    """

    row: dict[str, Any]
    image: Image
    truth: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Answer:
    """A sample with what the network says about it.

    Args:
        sample: The sample.
        prepared: The image as the network saw it.
        probabilities: (K, h, w) float32 on the network's grid.
    """

    sample: Sample
    prepared: Prepared
    probabilities: NDArray[np.float32]

    def case(self, predictor: Predictor) -> Case:
        """Bring the answer to the image's geometry, at the predictor's operating point."""
        prediction = predictor.finish(self.probabilities, self.prepared)
        return Case(
            sample_id=self.sample.row["sample_id"],
            patient_id=self.sample.row["patient_id"],
            split=self.sample.row["split"],
            truth=self.sample.truth,
            predicted=prediction.mask,
            probabilities=prediction.probabilities,
            spacing_mm=self.sample.image.spacing_mm,
        )


def read_sample(row: dict[str, Any], reader: PageReader, config: DataConfig, convert: Convert | None = None) -> Sample:
    """Read one sample; the truth is the mask file's, untouched by any resizing.

    Args:
        row: A row of the catalogue.
        reader: Reads its files.
        config: The recipe's ``data``.
        convert: Brings an image to the recipe's channels.

    Returns:
        The sample.

    Raises:
        DataError: If a file has changed since ``prepare`` so that it does not fit any more.
    """
    files, page = image_files(row["image"]), row["frame"]
    reader.only([*files, row["mask"]])
    image = read_image(reader, files, config, convert, page)
    truth = read_mask(reader, row["mask"], ClassMap(config.mask_values), page)
    if image.pixels.shape[:2] != truth.shape:
        raise DataError(f"{row['sample_id']}: image and mask differ in size; run `medloom prepare` again")
    return Sample(row, image, truth)


def answers(
    catalogue: pd.DataFrame, source: Source, predictor: Predictor, config: DataConfig, batch_size: int
) -> Iterator[Answer]:
    """Yield what the network says about each sample; only one batch is held at a time.

    Args:
        catalogue: The rows to read, in this order.
        source: Where the files are.
        predictor: Runs the network.
        config: The recipe's ``data``.
        batch_size: Images that go through the network at a time.

    Yields:
        One answer for each row.
    """
    rows = [{str(key): value for key, value in row.items()} for row in catalogue.to_dict("records")]
    reader = PageReader(source.read)
    for start in range(0, len(rows), batch_size):
        samples = [
            read_sample(row, reader, config, predictor.preprocess.to_input) for row in rows[start : start + batch_size]
        ]
        prepared = [predictor.prepare(sample.image, converted=True) for sample in samples]
        probabilities = predictor.run(np.stack([one.network_input for one in prepared]))
        yield from (Answer(*parts) for parts in zip(samples, prepared, probabilities, strict=True))
