"""Folders of true and of predicted masks, measured as a run of Medloom would be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from medloom.data import Source, open_source, patient_pseudonyms
from medloom.data.checks import FILE_ERRORS, UnfitError, explain
from medloom.data.layouts.base import list_images
from medloom.data.sources import FolderSource, is_zip
from medloom.errors import DataError, UserError
from medloom.evaluation.driver import write_measured
from medloom.evaluation.external.label_files import LabelMap, on_one_grid, read_labels
from medloom.evaluation.external.scores import NO_PATIENTS
from medloom.evaluation.external.values import Meaning, as_classes, meaning_of, values_in
from medloom.evaluation.family import Choice, Facts
from medloom.evaluation.masks import Case, Masks, evaluate_cases
from medloom.imaging import strip_suffix
from medloom.targets import Target
from medloom.wording import counted

__all__ = ["evaluate_masks"]

Progress = Callable[[int, int], None]

_SUFFIXES = ("_mask", "-mask", "_seg", "_label", "_labels")
_AS_STORED = (
    "{} of the masks were compared as they are stored: only one file of the pair says where it lies in the patient."
)
_NEED_PROBABILITIES = ("roc_auc", "average_precision")


@dataclass(frozen=True)
class _Pair:
    """A true and a predicted mask.

    Args:
        truth: Name of the true mask.
        predicted: Name of the predicted one.
        patient: Pseudonym of the patient.
    """

    truth: str
    predicted: str
    patient: str


def evaluate_masks(
    labels: Path,
    predictions: Path,
    folder: Path,
    *,
    classes: Sequence[str] = (),
    patient_pattern: str | None = None,
    resamples: int = 1000,
    partial: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure predicted masks against true ones and write ``cases.csv``, ``patients.csv`` and ``summary.json``.

    Masks belong together by their path without the ending, or by their name alone; an ending such as ``_mask`` is
    left out. Volumes are compared where their voxels lie in the patient, whatever the order in which they are stored;
    a volume is one case, and distances in it go through all of its slices. A folder whose masks hold 0 and one other
    value has one class, whatever that value is; otherwise a value means the same class on both sides. Distances are
    in mm where the files say how large a pixel is, else in pixels. Images are numbered in the order of the true masks'
    names.

    Args:
        labels: Folder or zip with the true masks, or one file: NIfTI, DICOM SEG, PNG, TIFF, DICOM or NPY.
        predictions: The same of the predicted masks. Two single files belong together whatever their names.
        folder: Where to write.
        classes: Names of the classes, the background first, or ``NAME=VALUE`` with the value in the masks.
        patient_pattern: Regular expression whose first group finds the patient in the name of a true mask.
        resamples: Resamples of the patients for the 95 % intervals.
        partial: Whether masks without a partner are left out with a warning; otherwise they are problems.
        progress: Called with masks done and masks in all.

    Returns:
        The summary, with ``warnings``.

    Raises:
        DataError: With everything that is wrong in both folders.
    """
    _check_pattern(patient_pattern)
    with _opened(labels) as true, _opened(predictions) as guessed:
        left_out: list[str] | None = [] if partial else None
        pairs = _pairs(true, guessed, patient_pattern, left_out)
        meaning = _understood(pairs, true, guessed, tuple(classes))
        found = _cases(pairs, true, guessed, meaning, progress)
        table = evaluate_cases(found, meaning.names)
    masks, choice = Masks(Target("masks", meaning.names)), Choice({}, "as the masks say")
    summary = masks.summary(table, choice, resamples, "patients" if patient_pattern else "images")
    _drop_probabilities(summary["test"])
    summary["warnings"] = [*([] if patient_pattern else [NO_PATIENTS]), *meaning.warnings, *(left_out or ())]
    write_measured(folder, masks, table, summary)
    return summary


class _OneFile(FolderSource):
    """A file that its user named, as if nothing else were in its folder."""

    def __init__(self, file: Path) -> None:
        super().__init__(file.parent)
        self._name = file.name

    def names(self) -> list[str]:
        return [self._name]


def _opened(path: Path) -> Source:
    return _OneFile(path) if path.is_file() and not is_zip(path) else open_source(path)


def _drop_probabilities(test: Facts) -> None:
    """Leave out what needs probabilities, which masks do not have."""
    del test["baselines"]["plain"]
    for part in (test, *test["per_target"].values()):
        for name in _NEED_PROBABILITIES:
            part["metrics"].pop(name, None)


def _check_pattern(pattern: str | None) -> None:
    try:
        groups = re.compile(pattern or "()").groups
    except re.error as error:
        raise UserError(f"--patient-pattern is no regular expression: {error}") from error
    if groups < 1:
        raise UserError("--patient-pattern has no group; expected one around the patient, such as person([0-9]+)_")


def _pairs(true: Source, guessed: Source, pattern: str | None, left_out: list[str] | None) -> list[_Pair]:
    """Which masks belong together; what has no partner is reported, all of it, or left out and counted."""
    sides = [_masks(source) for source in (true, guessed)]
    if not set(sides[0]) & set(sides[1]):
        sides = [_by_name(side) for side in sides]
    first, second = sides
    if isinstance(true, _OneFile) and isinstance(guessed, _OneFile):
        second = dict(zip(first, second.values(), strict=False))
    problems = [f"{name}: no predicted mask" for key, name in first.items() if key not in second]
    without = [f"{name}: no true mask" for key, name in second.items() if key not in first]
    if left_out is None:
        problems += without
    else:
        left_out += [f"{counted(len(problems), 'true mask')} left out: no mask was predicted."] if problems else []
        left_out += [f"{counted(len(without), 'predicted mask')} left out: there is no true one."] if without else []
        first, problems = {key: name for key, name in first.items() if key in second}, []
    patients = {key: _patient(name, pattern, problems) for key, name in first.items()}
    if problems or not first:
        raise DataError("true and predicted masks do not fit together", problems or ["there is no true mask"])
    pseudonyms = patient_pseudonyms(patients.values())
    return [_Pair(name, second[key], pseudonyms[patients[key]]) for key, name in first.items()]


def _masks(source: Source) -> dict[str, str]:
    """Names of the masks by what identifies them; where some are called masks, the others are images."""
    stems = {name: strip_suffix(name) for name in list_images(source.names(), source.read)}
    for suffix in _SUFFIXES:
        called = {name: stem.removesuffix(suffix) for name, stem in stems.items() if stem.endswith(suffix)}
        if called:
            stems = called
            break
    found: dict[str, str] = {}
    twice = [name for name, stem in stems.items() if found.setdefault(stem, name) != name]
    if twice:
        raise DataError(
            "several files differ in their ending alone", [f"{name}: its name comes twice" for name in twice]
        )
    return found


def _by_name(side: dict[str, str]) -> dict[str, str]:
    """By the file's name without folders, unless two share it."""
    short = {PurePosixPath(key).name: name for key, name in side.items()}
    return short if len(short) == len(side) else side


def _patient(name: str, pattern: str | None, problems: list[str]) -> str:
    if pattern is None:
        return name
    found = re.search(pattern, name)
    if found is None:
        problems.append(f"{name}: the pattern finds no patient in it")
        return ""
    return str(found[1])


def _understood(pairs: Sequence[_Pair], true: Source, guessed: Source, classes: tuple[str, ...]) -> Meaning:
    """What the pixel values of either side mean; reads everything once and reports."""
    problems: list[str] = []
    seen: tuple[set[int], set[int]] = (set(), set())
    as_stored = 0
    for pair in pairs:
        maps = [_try(source, name, problems) for source, name in ((true, pair.truth), (guessed, pair.predicted))]
        for found, values in zip(maps, seen, strict=True):
            values.update(() if found is None else values_in(found.values))
        truth, predicted = maps
        if truth is not None and predicted is not None:
            _check_fit(pair, truth, predicted, problems)
            as_stored += (truth.grid is None) != (predicted.grid is None)
    if problems:
        raise DataError(f"{len(problems)} masks cannot be measured", problems)
    meaning = meaning_of(*seen, classes)
    return replace(meaning, warnings=(*meaning.warnings, _AS_STORED.format(as_stored))) if as_stored else meaning


def _try(source: Source, name: str, problems: list[str]) -> LabelMap | None:
    try:
        return read_labels(source.read(name))
    except FILE_ERRORS as error:
        problems.append(f"{name}: {explain(error, name)[1]}")
        return None


def _check_fit(pair: _Pair, truth: LabelMap, predicted: LabelMap, problems: list[str]) -> None:
    try:
        on_one_grid(truth, predicted)
    except UnfitError as error:
        problems.append(f"{pair.truth}: {error}")


def _cases(
    pairs: Sequence[_Pair], true: Source, guessed: Source, meaning: Meaning, progress: Progress | None
) -> Iterator[Case]:
    for done, pair in enumerate(pairs, start=1):
        truth, predicted = on_one_grid(read_labels(true.read(pair.truth)), read_labels(guessed.read(pair.predicted)))
        values, spacing_mm = predicted.used
        yield Case(
            sample_id=f"{pair.patient}-{done:03d}",
            patient_id=pair.patient,
            split="test",
            truth=as_classes(truth.used[0], meaning.true),
            predicted=as_classes(values, meaning.predicted),
            spacing_mm=spacing_mm,
        )
        if progress:
            progress(done, len(pairs))
