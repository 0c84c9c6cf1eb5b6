"""Segment many files: masks and overlays as PNG, masks of volumes as NIfTI, one table.

A bad file never stops the rest.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from medloom.files import write_soon
from medloom.imaging import Image, Volume, encode_png
from medloom.imaging.canonical import along
from medloom.imaging.nifti import write_nifti
from medloom.inference.answers.base import DIGITS, Rating
from medloom.inference.answers.figures import ClassFigures
from medloom.inference.answers.mask_volume import VolumePrediction
from medloom.inference.answers.masks import MaskPrediction, mask_png
from medloom.inference.inputs import Entry, read_input
from medloom.inference.metadata import Metadata
from medloom.inference.pictures import overlay
from medloom.inference.prepared import Prepared
from medloom.inference.uncertainty import uncertain_slices, uncertainty_map
from medloom.inference.volumes import predict_pages, predict_volume, surrounded_pages, surrounded_slices
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
from medloom.inference.writers.forms import write_forms
from medloom.registry import FORMS
from medloom.targets import Target

__all__ = ["MaskResult", "MaskWriter"]

Floats32 = NDArray[np.float32]

_FOREGROUND = "foreground"
_NAME = "wrong_name"
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
        code: Why there is no prediction, in one word.
        forms: Further forms of the answer by name, relative to the output folder.
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
    code: str = ""
    forms: dict[str, str] = field(default_factory=dict)
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
        return {name: getattr(self, name) for name in _COLUMNS} | said | more | self.forms


_WHERE_KNOWN = ("uncertainty", "expected", "review", "code")
"""Columns that there are where one of the images has something in them."""

_COLUMNS = tuple(one.name for one in fields(MaskResult) if one.name not in ("by_class", "forms", *_WHERE_KNOWN))
_CLASS_COLUMNS = ("area_px", "area_mm2", "volume_ml", "probability")


@dataclass(frozen=True)
class MaskWriter:
    """Writes ``masks/``, ``overlays/`` and ``predictions.csv``.

    Where a model has several foreground classes, the table also has for each of them ``area_px_NAME``,
    ``area_mm2_NAME``, ``volume_ml_NAME`` and ``probability_NAME``, the largest probability of the class in any pixel.
    """

    writes_files: ClassVar[bool] = True
    takes_pages_apart: ClassVar[bool] = False

    def predict(self, asked: Asked, image: Entry, metadata: Metadata, name: str) -> Sequence[MaskResult]:
        """Predict an image.

        A volume is a NIfTI file or a DICOM series: its mask is ``masks/NAME.nii.gz`` with the same affine and shape,
        and its voxels hold the values that the masks of the training data have. The uncertainty lies beside it, in
        ``uncertainty/``: of an image 8 bits of grey, 255 the most uncertain, of a volume float32 from 0 to 1.
        """
        try:
            answered = _answered(asked, image, metadata)
        except FOR_ONE_FILE as error:
            return [self.failed(image, asked.page, error)]
        return self.write(answered, asked.folder, name)

    def write(self, answered: Answered, folder: Path, name: str) -> Sequence[MaskResult]:
        """Write the mask and what is beside it."""
        try:
            forms = write_forms(answered.forms, folder, name)
            found = (_write_volume if answered.answer.volume else _write_image)(answered, folder, name)
            return [replace(found, forms=forms)]
        except OSError as error:
            if error.errno not in _NAME_ERRORS:
                raise
            said = f"a mask of this name cannot be written: {error.strerror}"
            return [MaskResult(answered.file, error=said, code=_NAME)]

    def failed(self, image: Entry, page: int | None, error: Exception) -> MaskResult:
        """Return the result of an image that there is no prediction for."""
        del page
        return MaskResult(image.name, error=str(error), code=code_of(error))

    def columns(self, target: Target, known: Collection[str]) -> Sequence[str]:
        """Return the columns of the table."""
        more = (name for name in (*_WHERE_KNOWN, *FORMS) if name in known)
        return (*_COLUMNS, *more, *_class_cells(target, {}))

    def row(self, result: FileResult, target: Target) -> dict[str, Any]:
        """Return the cells of a result."""
        return cast(MaskResult, result).row(target)

    def summary(self, target: Target, tally: Tally) -> Summary:
        """Return in how many images there is foreground."""
        what = target.foreground[0] if len(target.foreground) == 1 else _FOREGROUND
        found = tally.with_something
        return Summary({"with_foreground": found}, f", {found} with {what}", tally.warnings)


def _of_volume(asked: Asked, volume: Volume, metadata: Metadata) -> tuple[VolumePrediction, Floats32 | None]:
    predictor = asked.predictor
    found = VolumePrediction.of(predict_volume(predictor, volume, metadata))
    if not asked.uncertainty:
        return found, None
    cut, _ = along(volume, predictor.orientation)
    seen = surrounded_slices(replace(predictor, strict=False), cut, metadata)  # the whole has been judged
    return found, uncertain_slices(predictor, volume, seen, asked.uncertainty)


def _of_pages(asked: Asked, data: bytes, metadata: Metadata) -> tuple[VolumePrediction, Floats32 | None]:
    """Predict the pages of a file as the slices of a volume."""
    predictor = asked.predictor
    found = VolumePrediction.of(predict_pages(predictor, data, metadata))
    if not asked.uncertainty:
        return found, None
    seen, count = surrounded_pages(replace(predictor, strict=False), data, metadata)
    return found, np.stack([uncertainty_map(predictor, seen(one), asked.uncertainty) for one in range(count)])


def _of_image(asked: Asked, prepared: Prepared) -> tuple[MaskPrediction, Floats32 | None]:
    predictor = asked.predictor
    found = MaskPrediction.of(predictor.answer([prepared])[0])
    return found, uncertainty_map(predictor, prepared, asked.uncertainty) if asked.uncertainty else None


def _answered(asked: Asked, image: Entry, metadata: Metadata) -> Answered:
    predictor, page = asked.predictor, asked.page
    given = read_input(image, page=page, budget=predictor.budget, reader=predictor.volume_decoder)
    if isinstance(given, Volume):
        volume, unsure = _of_volume(asked, given, metadata)
        return Answered(image.name, volume, unsure=unsure, forms=_forms(asked, image, volume))
    if predictor.context and page is None and not has_siblings(image):
        volume, unsure = _of_pages(asked, given, metadata)
        return Answered(image.name, volume, unsure=unsure, forms=_forms(asked, image, volume))
    prepared = prepare_file(predictor, image, given, metadata, page)
    found, unsure = _of_image(asked, prepared)
    drawn = encode_png(overlay(prepared.pixels, found.mask)) if asked.overlays else b""
    return Answered(image.name, found, page, drawn, unsure, _forms(asked, image, found, prepared.image))


def _forms(
    asked: Asked, image: Entry, answer: MaskPrediction | VolumePrediction, decoded: Image | None = None
) -> dict[str, bytes]:
    """Further forms of an answer, before anything of it is written."""
    if asked.forms is None:
        return {}
    return asked.forms.encoded(asked.predictor, image, answer, image=decoded, page=asked.page)


def _write_volume(answered: Answered, folder: Path, name: str) -> MaskResult:
    found, unsure = VolumePrediction.of(answered.answer), answered.unsure
    mask, uncertainty = f"masks/{name}.nii.gz", "" if unsure is None else f"uncertainty/{name}.nii.gz"
    if unsure is not None:
        write_nifti(unsure, found.affine, folder / uncertainty)
    write_nifti(found.value_mask, found.affine, folder / mask)
    return MaskResult(
        notes=found.notes,
        uncertainty=uncertainty,
        file=answered.file,
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


def _write_image(answered: Answered, folder: Path, name: str) -> MaskResult:
    prediction, unsure = MaskPrediction.of(answered.answer), answered.unsure
    mask, drawn = f"masks/{name}.png", f"overlays/{name}.png" if answered.overlay else ""
    uncertainty = "" if unsure is None else f"uncertainty/{name}.png"
    if unsure is not None:  # first: its path is the longest
        write_soon(folder / uncertainty, encode_png(np.rint(255.0 * unsure).astype(np.uint8)))
    if drawn:  # before the mask: likewise
        write_soon(folder / drawn, answered.overlay)
    write_soon(folder / mask, mask_png(prediction))
    return MaskResult(
        file=answered.file,
        area_px=prediction.area_px,
        area_mm2=prediction.area_mm2,
        probability=round(prediction.probability, DIGITS),
        foreground=_yes_no(prediction.has_foreground),
        mask=mask,
        overlay=drawn,
        uncertainty=uncertainty,
        notes=prediction.notes,
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
