"""Segment many files: masks and overlays as PNG, masks of volumes as NIfTI, one table.

A bad file never stops the rest.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.errors import UserError
from medloom.files import write_bytes
from medloom.imaging import Volume, encode_png
from medloom.imaging.canonical import along
from medloom.imaging.nifti import write_nifti
from medloom.inference.answers.base import DIGITS, Rating
from medloom.inference.answers.figures import ClassFigures
from medloom.inference.answers.mask_volume import VolumePrediction
from medloom.inference.answers.masks import MaskPrediction, mask_png
from medloom.inference.inputs import Entry, read_input
from medloom.inference.metadata import Metadata
from medloom.inference.pictures import overlay
from medloom.inference.predictor import Predictor
from medloom.inference.prepared import Prepared
from medloom.inference.uncertainty import uncertain_slices, uncertainty_map
from medloom.inference.volumes import predict_pages, predict_volume, surrounded_pages, surrounded_slices
from medloom.inference.writers.base import (
    TABLE,
    FileResult,
    Given,
    Summary,
    foreign_inputs,
    has_siblings,
    prepare_file,
    write_rows,
)
from medloom.targets import Target

__all__ = ["MaskResult", "MaskWriter"]

Floats32 = NDArray[np.float32]

_FOREGROUND = "foreground"
_NAME_ERRORS = frozenset((errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ENOTDIR, errno.EISDIR, errno.EEXIST))
"""Of the one file; a full disk, or a folder that nobody may write to, concerns all of them."""


@dataclass(frozen=True)
class MaskResult:
    """One row of ``predictions.csv``.

    Args:
        file: Name of the image or volume.
        area_px: Foreground pixels, of all slices together for a volume; None if there is an error.
        area_mm2: Their area; None for a volume, and if the image does not say how large its pixels are.
        volume_ml: For a volume: its foreground in millilitres, or None if the file does not say how large its
            voxels are.
        slices: For a volume: how many it has.
        probability: Largest foreground probability of any pixel.
        foreground: ``yes`` or ``no``; empty if there is an error.
        mask: The mask, relative to the output folder: PNG, or for a volume NIfTI in its own geometry.
        overlay: The image with the mask's outline, relative to the output folder; empty for a volume.
        notes: What decoding did to the image that a careful reader should know, such as turn it.
        warnings: How the image is unlike those of the training, a sentence each.
        error: Why there is no prediction.
        uncertainty: How uncertain each pixel is, relative to the output folder; empty where that was not asked for.
        expected: How good the mask is to be expected, of a volume the least of its slices; None where the bundle cannot
            say.
        review: ``yes`` where a person is to look, of a volume the slices from 0; else ``no`` or empty.
        by_class: The figures of each foreground class, by its name; empty if there is an error.
    """

    file: str
    area_px: int | None = None
    area_mm2: float | None = None
    volume_ml: float | None = None
    slices: int | None = None
    probability: float | None = None
    foreground: str = ""
    mask: str = ""
    overlay: str = ""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""
    uncertainty: str = ""
    expected: float | None = None
    review: str = ""
    by_class: dict[str, ClassFigures] = field(default_factory=dict)

    @property
    def found(self) -> tuple[str, ...]:
        """Whether there is foreground, as it is counted."""
        return (_FOREGROUND,) if self.area_px else ()

    def plain(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        return {
            **self._cells(),
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "by_class": {name: found.plain() | _sizes(found) for name, found in self.by_class.items()},
        }

    def row(self, target: Target) -> dict[str, Any]:
        """Return the row of the table, with the columns of each class where there are several."""
        return {**self._cells(), **_class_cells(target, self.by_class)}

    def _cells(self) -> dict[str, Any]:
        said = {"notes": "; ".join(self.notes), "warnings": "; ".join(self.warnings)}
        more = {name: value for name in _WHERE_KNOWN if (value := getattr(self, name)) not in ("", None)}
        return {name: getattr(self, name) for name in _COLUMNS} | said | more


_WHERE_KNOWN = ("uncertainty", "expected", "review")
"""Columns that there are where one of the images has something in them."""

_COLUMNS = tuple(one.name for one in fields(MaskResult) if one.name not in ("by_class", *_WHERE_KNOWN))
_CLASS_COLUMNS = ("area_px", "area_mm2", "volume_ml", "probability")


@dataclass(frozen=True)
class MaskWriter:
    """Writes ``masks/``, ``overlays/`` and ``predictions.csv``.

    Where a model has several foreground classes, the table also has for each of them ``area_px_NAME``,
    ``area_mm2_NAME``, ``volume_ml_NAME`` and ``probability_NAME``, the largest probability of the class in any pixel.
    """

    def write(
        self, predictor: Predictor, given: Given, folder: Path, page: int | None, uncertainty: str = ""
    ) -> Sequence[MaskResult]:
        """Predict images one by one.

        A volume is a NIfTI file or a DICOM series: its mask is ``masks/NAME.nii.gz`` with the same affine and shape,
        and its voxels hold the values that the masks of the training data have. The uncertainty lies beside it, in
        ``uncertainty/``: of an image 8 bits of grey, 255 the most uncertain, of a volume float32 from 0 to 1.
        """
        names = _OutputNames()
        asked = _Asked(predictor, page, uncertainty)
        results = [_predict_file(asked, image, row, folder, names) for image, row in given]
        target = predictor.target
        rows = [result.row(target) for result in results]
        known = [name for name in _WHERE_KNOWN if any(name in row for row in rows)]
        write_rows(folder / TABLE, (*_COLUMNS, *known, *_class_cells(target, {})), rows)
        return results

    def summary(self, target: Target, results: Sequence[FileResult]) -> Summary:
        """Return in how many images there is foreground."""
        found = sum(bool(result.found) for result in results)
        what = target.foreground[0] if len(target.foreground) == 1 else _FOREGROUND
        return Summary({"with_foreground": found}, f", {found} with {what}", foreign_inputs(results))


@dataclass(frozen=True)
class _Asked:
    """What is asked of every image: the model, a page, and an uncertainty, empty for none."""

    predictor: Predictor
    page: int | None
    uncertainty: str

    def of_volume(self, volume: Volume, metadata: Metadata) -> tuple[VolumePrediction, Floats32 | None]:
        """Predict a volume."""
        found = VolumePrediction.of(predict_volume(self.predictor, volume, metadata))
        if not self.uncertainty:
            return found, None
        cut, _ = along(volume, self.predictor.orientation)
        seen = surrounded_slices(self.predictor, cut, metadata)
        return found, uncertain_slices(self.predictor, volume, seen, self.uncertainty)

    def of_pages(self, data: bytes, metadata: Metadata) -> tuple[VolumePrediction, Floats32 | None]:
        """Predict the pages of a file as the slices of a volume."""
        found = VolumePrediction.of(predict_pages(self.predictor, data, metadata))
        if not self.uncertainty:
            return found, None
        seen, count = surrounded_pages(self.predictor, data, metadata)
        return found, np.stack([uncertainty_map(self.predictor, seen(one), self.uncertainty) for one in range(count)])

    def of_image(self, prepared: Prepared) -> tuple[MaskPrediction, Floats32 | None]:
        """Predict an image."""
        found = MaskPrediction.of(self.predictor.answer([prepared])[0])
        return found, uncertainty_map(self.predictor, prepared, self.uncertainty) if self.uncertainty else None


def _predict_file(asked: _Asked, image: Entry, metadata: Metadata, folder: Path, names: _OutputNames) -> MaskResult:
    predictor, page = asked.predictor, asked.page
    found: VolumePrediction | None = None
    try:
        given = read_input(image, page=page, budget=predictor.budget)
        if isinstance(given, Volume):
            found, unsure = asked.of_volume(given, metadata)
        elif predictor.context and page is None and not has_siblings(image):
            found, unsure = asked.of_pages(given, metadata)
        else:
            prepared = prepare_file(predictor, image, given, metadata, page)
            prediction, unsure = asked.of_image(prepared)
    except (UserError, OSError) as error:
        return MaskResult(image.name, error=str(error))
    try:
        if found is not None:
            return _write_volume(found, image.name, folder, names.give(image, ".nii.gz"), unsure)
        return _write(prediction, prepared, image.name, folder, names.give(image, ".png"), unsure)
    except OSError as error:
        if error.errno not in _NAME_ERRORS:
            raise
        return MaskResult(image.name, error=f"a mask of this name cannot be written: {error.strerror}")


def _write_volume(found: VolumePrediction, file: str, folder: Path, name: str, unsure: Floats32 | None) -> MaskResult:
    mask, uncertainty = f"masks/{name}", "" if unsure is None else f"uncertainty/{name}"
    if unsure is not None:
        write_nifti(unsure, found.affine, folder / uncertainty)
    write_nifti(found.value_mask, found.affine, folder / mask)
    return MaskResult(
        notes=found.notes,
        uncertainty=uncertainty,
        file=file,
        area_px=found.area_px,
        volume_ml=found.volume_ml,
        slices=len(found.mask),
        probability=round(found.probability, DIGITS),
        foreground=_yes_no(found.has_foreground),
        mask=mask,
        warnings=found.warnings,
        by_class=found.by_class,
        expected=min((one.expected for one in found.ratings), default=None),
        review=" ".join(map(str, found.review)) or (_yes_no(False) if found.ratings else ""),
    )


def _write(
    prediction: MaskPrediction, prepared: Prepared, file: str, folder: Path, name: str, unsure: Floats32 | None
) -> MaskResult:
    mask, drawn, uncertainty = f"masks/{name}", f"overlays/{name}", "" if unsure is None else f"uncertainty/{name}"
    if unsure is not None:  # first: its path is the longest
        write_bytes(folder / uncertainty, encode_png(np.rint(255.0 * unsure).astype(np.uint8)))
    write_bytes(folder / drawn, encode_png(overlay(prepared.pixels, prediction.mask)))  # before it: likewise
    write_bytes(folder / mask, mask_png(prediction))
    return MaskResult(
        file=file,
        area_px=prediction.area_px,
        area_mm2=prediction.area_mm2,
        probability=round(prediction.probability, DIGITS),
        foreground=_yes_no(prediction.has_foreground),
        mask=mask,
        overlay=drawn,
        uncertainty=uncertainty,
        notes=prepared.image.notes,
        warnings=prediction.warnings,
        by_class=prediction.by_class,
        **_rated(prediction.quality),
    )


def _rated(rating: Rating | None) -> dict[str, Any]:
    return {} if rating is None else {"expected": rating.expected, "review": _yes_no(rating.review)}


def _class_cells(target: Target, by_class: Mapping[str, ClassFigures]) -> dict[str, Any]:
    """The columns of each class; none for one class, whose figures are those of the foreground."""
    if len(target.foreground) == 1:
        return {}
    found = {name: _sizes(one) | {"probability": round(one.probability, DIGITS)} for name, one in by_class.items()}
    return {
        f"{column}_{name}": found.get(name, {}).get(column) for name in target.foreground for column in _CLASS_COLUMNS
    }


def _sizes(found: ClassFigures) -> dict[str, Any]:
    return {"area_px": found.area_px, "area_mm2": found.area_mm2, "volume_ml": found.volume_ml}


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


class _OutputNames:
    """Gives each image a file name of its own below the output folder."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def give(self, image: Entry, ending: str) -> str:
        """Return the image's own relative path with ``ending``, without steps upwards, numbered if taken."""
        parts = [part for part in PurePosixPath(image.stem.replace("\\", "/")).parts if part not in ("/", "..")]
        stem = PurePosixPath(*parts) if parts else PurePosixPath("image")
        chosen, number = f"{stem}{ending}", 2
        while chosen.lower() in self._taken:
            chosen, number = f"{stem}-{number}{ending}", number + 1
        self._taken.add(chosen.lower())
        return chosen
