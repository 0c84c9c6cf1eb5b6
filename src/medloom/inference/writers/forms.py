"""Further forms of answers as files: ``FORM/NAME`` beside the masks and the table, such as ``seg/NAME.dcm``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from medloom.errors import DataError, DecodeError
from medloom.files import write_soon
from medloom.imaging import Image
from medloom.imaging.dicom_sources import Sources, read_source_series
from medloom.inference.answers import Prediction, VolumeAnswer
from medloom.inference.forms import Algorithm, Made, encode, forms_for, suffix
from medloom.inference.inputs import Entry, ImageFile
from medloom.inference.predictor import Predictor
from medloom.registry import FORMS, check_name
from medloom.targets import Target

__all__ = ["FormFiles", "check_forms", "write_forms"]


@dataclass(frozen=True)
class FormFiles:
    """Which forms of each answer are written.

    Args:
        names: Of ``medloom.registry.FORMS``.
        algorithm: Which model gives the answers.
    """

    names: tuple[str, ...]
    algorithm: Algorithm

    def check(self, target: Target) -> None:
        """Refuse forms that no answer of this target has.

        Raises:
            UserError: If there is no such form, or only for other targets.
        """
        check_forms(self.names, target)

    def encoded(
        self,
        predictor: Predictor,
        entry: Entry,
        answer: Prediction | VolumeAnswer,
        *,
        image: Image | None = None,
        page: int | None = None,
        plane: int | None = None,
    ) -> dict[str, bytes]:
        """Return each form of an answer, before any is written: one that cannot be made leaves nothing behind.

        Args:
            predictor: What gave the answer.
            entry: The input that it is to.
            answer: The answer.
            image: The image as decoded, where it is one.
            page: Which frame of the file was predicted.
            plane: Which slice of a volume the answer is to, where it is to one alone.

        Raises:
            FormError: If the answer has no such form, with the reason.
        """
        read = partial(_sources, predictor, entry, whole=answer.volume or plane is not None, page=page, plane=plane)
        more = {"model": {"name": self.algorithm.name, "phantom": self.algorithm.phantom}}
        made = Made(answer, predictor.target, self.algorithm, image, read, more, frozenset(self.names))
        return {name: encode(made, name) for name in self.names}


def check_forms(names: Sequence[str], target: Target) -> None:
    """Refuse forms that no answer of this target has.

    Args:
        names: Of ``medloom.registry.FORMS``.
        target: What is predicted.

    Raises:
        UserError: If there is no such form, or only for other targets.
    """
    there = {*forms_for(target.kind, volume=False, dicom=True), *forms_for(target.kind, volume=True, dicom=True)}
    for name in names:
        check_name("form", name, FORMS)
        check_name("form of such an answer", name, [one for one in FORMS if one in there])


def write_forms(encoded: Mapping[str, bytes], folder: Path, name: str) -> dict[str, str]:
    """Write forms of one answer, and return where each lies, relative to the output folder.

    Args:
        encoded: From ``FormFiles.encoded``.
        folder: The output folder.
        name: What the files are called, without an ending.
    """
    places = {form: f"{form}/{name}{suffix(form)}" for form in encoded}
    for form, place in places.items():
        write_soon(folder / place, encoded[form])
    return places


def _sources(predictor: Predictor, entry: Entry, *, whole: bool, page: int | None, plane: int | None) -> Sources | None:
    if isinstance(entry, ImageFile):
        found = predictor.source_reader(entry.read(), page=page, whole=whole, budget=predictor.budget)
    else:
        try:
            found = read_source_series(entry.read(), series=entry.series, budget=predictor.budget)
        except DataError as error:
            raise DecodeError("unsupported", error.summary) from error
    if found is None or plane is None:
        return found
    return replace(found, frames=found.frames[plane : plane + 1], step_mm=None)
