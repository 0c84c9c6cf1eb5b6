"""Folders of true and of predicted masks, measured as a run of Medloom would be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.data import Source, open_source, patient_pseudonyms
from medloom.data.checks import FILE_ERRORS, UnfitError, explain, value_plane
from medloom.errors import DataError, UserError
from medloom.evaluation.driver import write_measured
from medloom.evaluation.external.scores import NO_PATIENTS
from medloom.evaluation.family import Choice, Facts
from medloom.evaluation.masks import Case, Masks, evaluate_cases
from medloom.imaging import FILE_BUDGET, FORMATS_BY_SUFFIX, decode
from medloom.targets import Target

__all__ = ["evaluate_masks"]

Progress = Callable[[int, int], None]
Mask = NDArray[np.uint8]

_SUFFIXES = ("_mask", "-mask", "_seg", "_label", "_labels")
_MOST_CLASSES = 255
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


@dataclass(frozen=True)
class _Classes:
    """What pixel values mean.

    Args:
        names: Names of the classes, the background first.
        true: Class index of each value in the true masks.
        predicted: The same for the predicted ones.
    """

    names: tuple[str, ...]
    true: dict[int, int]
    predicted: dict[int, int]


def evaluate_masks(
    labels: Path,
    predictions: Path,
    folder: Path,
    *,
    classes: Sequence[str] = (),
    patient_pattern: str | None = None,
    resamples: int = 1000,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure predicted masks against true ones and write ``cases.csv``, ``patients.csv`` and ``summary.json``.

    Masks belong together by their path without the ending, or by their name alone; an ending such as ``_mask`` is
    left out. A folder whose masks hold 0 and one other value has one class, whatever that value is; otherwise pixel
    values are class indices. Distances are in pixels. Images are numbered in the order of the true masks' names.

    Args:
        labels: Folder or zip with the true masks: PNG, TIFF or NPY.
        predictions: Folder or zip with the predicted masks.
        folder: Where to write.
        classes: Names of the classes, the background first.
        patient_pattern: Regular expression whose first group finds the patient in the name of a true mask.
        resamples: Resamples of the patients for the 95 % intervals.
        progress: Called with masks done and masks in all.

    Returns:
        The summary, with ``warnings``.

    Raises:
        DataError: With everything that is wrong in both folders.
    """
    _check_pattern(patient_pattern)
    with open_source(labels) as true, open_source(predictions) as guessed:
        pairs = _pairs(true, guessed, patient_pattern)
        meaning = _understood(pairs, true, guessed, tuple(classes))
        table = evaluate_cases(_cases(pairs, true, guessed, meaning, progress), meaning.names)
    masks, choice = Masks(Target("masks", meaning.names)), Choice({}, "as the masks say")
    summary = masks.summary(table, choice, resamples, "patients" if patient_pattern else "images")
    _drop_probabilities(summary["test"])
    summary["warnings"] = [] if patient_pattern else [NO_PATIENTS]
    write_measured(folder, masks, table, summary)
    return summary


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


def _pairs(true: Source, guessed: Source, pattern: str | None) -> list[_Pair]:
    """Which masks belong together; what has no partner is reported, all of it."""
    sides = [_masks(source) for source in (true, guessed)]
    if not set(sides[0]) & set(sides[1]):
        sides = [_by_name(side) for side in sides]
    first, second = sides
    problems = [f"{name}: no predicted mask" for key, name in first.items() if key not in second]
    problems += [f"{name}: no true mask" for key, name in second.items() if key not in first]
    patients = {key: _patient(name, pattern, problems) for key, name in first.items()}
    if problems or not first:
        raise DataError("true and predicted masks do not fit together", problems or ["there is no true mask"])
    pseudonyms = patient_pseudonyms(patients.values())
    return [_Pair(name, second[key], pseudonyms[patients[key]]) for key, name in first.items()]


def _masks(source: Source) -> dict[str, str]:
    """Names of the masks by what identifies them; where some are called masks, the others are images."""
    stems = {
        name: str(PurePosixPath(name).with_suffix(""))
        for name in source.names()
        if PurePosixPath(name).suffix.lower() in FORMATS_BY_SUFFIX
    }
    for suffix in _SUFFIXES:
        called = {stem.removesuffix(suffix): name for name, stem in stems.items() if stem.endswith(suffix)}
        if called:
            return called
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


def _understood(pairs: Sequence[_Pair], true: Source, guessed: Source, classes: tuple[str, ...]) -> _Classes:
    """What the pixel values of either side mean; reads everything once and reports."""
    problems: list[str] = []
    values: tuple[set[int], set[int]] = (set(), set())
    for pair in pairs:
        masks = [_try(source, name, problems) for source, name in ((true, pair.truth), (guessed, pair.predicted))]
        for mask, seen in zip(masks, values, strict=True):
            seen.update(() if mask is None else np.unique(mask).tolist())
        a, b = masks
        if a is not None and b is not None and a.shape != b.shape:
            problems.append(f"{pair.truth}: {a.shape[0]}x{a.shape[1]}, its prediction {b.shape[0]}x{b.shape[1]}")
    if problems:
        raise DataError(f"{len(problems)} masks cannot be measured", problems)
    return _meaning(values, classes)


def _meaning(values: tuple[set[int], set[int]], classes: tuple[str, ...]) -> _Classes:
    if len(classes) in (0, 2) and all(len(seen - {0}) <= 1 for seen in values):
        first, second = ({value: int(value != 0) for value in seen | {0}} for seen in values)
        return _Classes(classes or ("background", "foreground"), first, second)
    largest = max(values[0] | values[1])
    if min(values[0] | values[1]) < 0 or largest > _MOST_CLASSES or (classes and largest >= len(classes)):
        wanted = f"0 to {(len(classes) or _MOST_CLASSES + 1) - 1}"
        raise DataError(f"masks hold values other than the class indices {wanted}; name the classes with --classes")
    names = classes or ("background", *(f"class {index}" for index in range(1, largest + 1)))
    identity = {value: value for value in range(len(names))}
    return _Classes(names, identity, identity)


def _try(source: Source, name: str, problems: list[str]) -> NDArray[np.int64] | None:
    try:
        return _read(source, name)
    except FILE_ERRORS as error:
        problems.append(f"{name}: {explain(error, name)[1]}")
        return None


def _read(source: Source, name: str) -> NDArray[np.int64]:
    plane = value_plane(decode(source.read(name), budget=FILE_BUDGET))
    whole = plane.astype(np.int64)
    if (whole != plane).any():
        raise UnfitError("values", "fractions; expected class values")
    return whole


def _cases(
    pairs: Sequence[_Pair], true: Source, guessed: Source, meaning: _Classes, progress: Progress | None
) -> Iterator[Case]:
    for done, pair in enumerate(pairs, start=1):
        truth, predicted = (
            _as_classes(_read(source, name), values)
            for source, name, values in ((true, pair.truth, meaning.true), (guessed, pair.predicted, meaning.predicted))
        )
        each = np.eye(len(meaning.names), dtype=np.float32)[predicted].transpose(2, 0, 1)
        probabilities = each[1:] if len(meaning.names) == 2 else each
        yield Case(f"{pair.patient}-{done:03d}", pair.patient, "test", truth, predicted, probabilities)
        if progress:
            progress(done, len(pairs))


def _as_classes(mask: NDArray[np.int64], values: dict[int, int]) -> Mask:
    table = np.zeros(max(values) + 1, np.uint8)
    table[list(values)] = list(values.values())
    classes: Mask = table[mask]
    return classes
