"""Images of the catalogue with their metadata, read from the source as a network for labels takes them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.data import PageReader, Source, image_files, meta_of, read_image
from medloom.inference import LabelPredictor
from medloom.recipe import DataConfig

__all__ = ["Floats", "read_inputs"]

Floats = NDArray[np.float32]


def read_inputs(
    rows: pd.DataFrame, source: Source, predictor: LabelPredictor, config: DataConfig, batch_size: int
) -> Iterator[tuple[Floats, Floats | None]]:
    """Yield what the network takes, batch by batch; only one batch is held at a time.

    Args:
        rows: The rows of the catalogue, in this order.
        source: Where the files are.
        predictor: Says how to prepare the images and to encode the metadata.
        config: The recipe's ``data``.
        batch_size: Images in a batch.

    Yields:
        Images ``(N, C, h, w)`` and encoded metadata ``(N, F)``, or None where the network takes none.

    Raises:
        DataError: If a file cannot be read any more.
    """
    reader = PageReader(source.read)
    meta, places = meta_of(rows), list(zip(rows["image"], rows["frame"], strict=True))

    def network_input(cell: str, page: int) -> Floats:
        files = image_files(cell)
        reader.only(files)
        image = read_image(reader, files, config, predictor.preprocess.to_input, page, predictor.at_least)
        return predictor.prepare(image, converted=True).network_input

    for start in range(0, len(rows), batch_size):
        batch = slice(start, start + batch_size)
        images = np.stack([network_input(*place) for place in places[batch]])
        yield images, predictor.encode([_columns(row, predictor) for row in meta[batch]])


def _columns(row: dict[str, str], predictor: LabelPredictor) -> dict[str, str]:
    """What the model takes of a sample's metadata; columns for groups alone stay out."""
    return {name: row.get(name, "") for name in predictor.metadata_columns}
