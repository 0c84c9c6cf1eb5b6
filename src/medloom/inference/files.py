"""Segment many files: masks and overlays as PNG, masks of volumes as NIfTI, one table.

A bad file never stops the rest.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.errors import UserError
from medloom.files import write_bytes
from medloom.imaging import Volume, encode_png
from medloom.imaging.nifti import write_nifti
from medloom.inference.base import Prepared
from medloom.inference.encoding import mask_png, overlay
from medloom.inference.inputs import Entry, SeriesFolder, read_input, without_suffix
from medloom.inference.predictor import Prediction, Predictor
from medloom.inference.volumes import VolumePrediction, predict_volume

__all__ = ["TABLE", "FileResult", "predict_files", "write_rows"]

TABLE = "predictions.csv"
"""Name of the table in the output folder."""


@dataclass(frozen=True)
class FileResult:
    """One row of ``predictions.csv``.

    Args:
        file: Name of the image or volume.
        area_px: Foreground pixels, of all slices together for a volume; None if there is an error.
        area_mm2: Their area; None for a volume, and if the image does not say how large its pixels are.
        volume_ml: For a volume: its foreground in millilitres, or None if the file does not say how large its
            voxels are.
        slices: For a volume: how many it has.
        probability: Largest lesion probability of any pixel.
        lesion: ``yes`` or ``no``; empty if there is an error.
        mask: The mask, relative to the output folder: PNG, or for a volume NIfTI in its own geometry.
        overlay: The image with the mask's outline, relative to the output folder; empty for a volume.
        error: Why there is no prediction.
    """

    file: str
    area_px: int | None = None
    area_mm2: float | None = None
    volume_ml: float | None = None
    slices: int | None = None
    probability: float | None = None
    lesion: str = ""
    mask: str = ""
    overlay: str = ""
    error: str = ""

    def plain(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return asdict(self)


def predict_files(
    predictor: Predictor,
    images: Sequence[Entry],
    folder: Path,
    *,
    page: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[FileResult]:
    """Predict images one by one and write ``masks/``, ``overlays/`` and ``predictions.csv``.

    A NIfTI file or a DICOM series is one volume: its mask is ``masks/NAME.nii.gz`` with the same affine and shape, the
    class index of each voxel.

    Args:
        predictor: The model.
        images: What to predict.
        folder: Where to write.
        page: Page of files that have several; None predicts all slices of a NIfTI file.
        progress: Called with how many are done and how many there are.

    Returns:
        One result for each image, in order; a bad image has an ``error``.
    """
    names = _OutputNames()
    results = []
    for done, image in enumerate(images, start=1):
        results.append(_predict_file(predictor, image, folder, names, page))
        if progress:
            progress(done, len(images))
    columns = [field.name for field in fields(FileResult)]
    write_rows(folder / TABLE, columns, map(asdict, results))
    return results


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a CSV atomically; None becomes an empty cell, and a byte of a file's name that is no UTF-8 ``\\udcXX``."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, text.getvalue().encode(errors="backslashreplace"))


def _predict_file(
    predictor: Predictor, image: Entry, folder: Path, names: _OutputNames, page: int | None
) -> FileResult:
    try:
        given = read_input(image, page=page, budget=predictor.budget)
        if isinstance(given, Volume):
            found = predict_volume(predictor, given)
        else:
            prepared = predictor.prepare(given, page=page)
            prediction = predictor.finish(predictor.run(prepared.network_input[None])[0], prepared)
    except (UserError, OSError) as error:
        return FileResult(image.name, error=str(error))
    if isinstance(given, Volume):
        return _write_volume(found, given.affine, image.name, folder, names.give(image, ".nii.gz"))
    return _write(prediction, prepared, image.name, folder, names.give(image, ".png"))


def _write_volume(
    found: VolumePrediction, affine: NDArray[np.float64], file: str, folder: Path, name: str
) -> FileResult:
    mask = f"masks/{name}"
    write_nifti(found.mask, affine, folder / mask)
    return FileResult(
        file=file,
        area_px=found.area_px,
        volume_ml=found.volume_ml,
        slices=len(found.mask),
        probability=round(found.probability, 6),
        lesion="yes" if found.has_lesion else "no",
        mask=mask,
    )


def _write(prediction: Prediction, prepared: Prepared, file: str, folder: Path, name: str) -> FileResult:
    mask, drawn = f"masks/{name}", f"overlays/{name}"
    write_bytes(folder / mask, mask_png(prediction))
    write_bytes(folder / drawn, encode_png(overlay(prepared.pixels, prediction.mask)))
    return FileResult(
        file=file,
        area_px=prediction.area_px,
        area_mm2=prediction.area_mm2,
        probability=round(prediction.probability, 6),
        lesion="yes" if prediction.has_lesion else "no",
        mask=mask,
        overlay=drawn,
    )


class _OutputNames:
    """Gives each image a file name of its own below the output folder."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def give(self, image: Entry, ending: str) -> str:
        """Return the image's own relative path with ``ending``, without steps upwards, numbered if taken."""
        name = image.name if isinstance(image, SeriesFolder) else without_suffix(image.name)
        parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..")]
        stem = PurePosixPath(*parts) if parts else PurePosixPath("image")
        chosen, number = f"{stem}{ending}", 2
        while chosen.lower() in self._taken:
            chosen, number = f"{stem}-{number}{ending}", number + 1
        self._taken.add(chosen.lower())
        return chosen
