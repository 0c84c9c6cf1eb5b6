"""The fingerprint of a run's images and network, made from some of them as serving will see them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom.evaluation.appearance import some
from medloom.evaluation.reading import Reading, tables_of
from medloom.files import read_json, write_json
from medloom.inference.appearance import ellipsoid, mahalanobis
from medloom.inference.fingerprint import (
    FALSE_ALARMS,
    MOST_DIRECTIONS,
    Embedding,
    Fingerprint,
    Measured,
    Reference,
    grouped,
    probe_features,
)
from medloom.inference.measures import MEASURE_NAMES, MEASURES, measure
from medloom.metrics import alarm_threshold

__all__ = ["FINGERPRINT", "Known", "fit_fingerprint", "read_fingerprint", "write_fingerprint"]

Floats64 = NDArray[np.float64]

FINGERPRINT = "fingerprint.json"
"""Its name in a run directory."""

_FEWEST_IMAGES, _FEWEST_PATIENTS, _FOLDS = 30, 5, 5
_FEWEST_HELD_OUT = 20
"""With fewer validation images there is no threshold: less than one in 20 false alarms could not be promised."""

_MOST_SAMPLES, _SAMPLE_DIGITS = 200, 2
_IMAGES_OF_A_DIRECTION = 5
_MOST_BINS, _FEWEST_BINS, _PATIENTS_OF_A_BIN = 10, 3, 5
_NEXT_TO_NOTHING, _LEAST_BESIDE = 1e-9, 0.05


def write_fingerprint(run_dir: Path, reading: Reading, catalogue: pd.DataFrame) -> None:
    """Make the fingerprint of training images, with those of validation for the threshold; none of too few.

    Args:
        run_dir: The run directory.
        reading: Reads the images as serving will, and runs the network that is going to be served.
        catalogue: The catalogue, all splits.
    """
    looking = replace(reading, predictor=replace(reading.predictor, looks=True), progress=None)
    probe = probe_features(reading.predictor)
    train, held_out = (
        _known(looking, some(catalogue[catalogue["split"] == part]), embeds=probe is not None)
        for part in ("train", "validation")
    )
    found = fit_fingerprint(train, held_out, probe)
    if found is None:
        (run_dir / FINGERPRINT).unlink(missing_ok=True)
    else:
        write_json(run_dir / FINGERPRINT, found.plain())


def read_fingerprint(run_dir: Path) -> Fingerprint | None:
    """Return the fingerprint of a run; None where there is none."""
    path = run_dir / FINGERPRINT
    return Fingerprint.from_plain(read_json(path)) if path.is_file() else None


def _known(reading: Reading, rows: pd.DataFrame, *, embeds: bool) -> Known:
    """Measure images, and take what the network makes of them, batch by batch."""
    measured, features = [np.empty((0, MEASURES))], []
    for batch in reading.batches(rows):
        measured.append(np.stack([measure(one.prepared) for one in batch]))
        images = np.stack([one.prepared.network_input for one in batch])
        found = reading.predictor.run_with_features(images, tables_of(batch))[1] if embeds else None
        features += [] if found is None else [found.astype(np.float64)]
    whole = np.concatenate(features) if features else None
    return Known(np.concatenate(measured), whole, rows["patient_id"].to_numpy())


@dataclass(frozen=True, eq=False)
class Known:
    """What a fingerprint is made of.

    Args:
        measured: ``(N, F)``.
        features: ``(N, E)``; None where the network has no such layer.
        patients: ``(N,)`` whose images they are.
    """

    measured: Floats64
    features: Floats64 | None
    patients: NDArray[Any]


def fit_fingerprint(
    train: Known, held_out: Known, probe: Floats64 | None, rate: float = FALSE_ALARMS
) -> Fingerprint | None:
    """Make the fingerprint; None from too few images to say anything.

    Args:
        train: Training images: what is usual, in which directions images differ.
        held_out: Validation images, which decide from when on an image is set apart.
        probe: ``(1, E)`` features of the made-up image.
        rate: The wanted share of false alarms; with fewer than 99 validation images it is larger.
    """
    patients = len(np.unique(np.concatenate([train.patients, held_out.patients])))
    few = len(train.measured) < _FEWEST_IMAGES or len(np.unique(train.patients)) < _FEWEST_PATIENTS
    if few or len(held_out.measured) < _FEWEST_HELD_OUT:
        return None
    folds = _folds(train.patients)
    measured = _fit_measured(train.measured, folds)
    embedding = None
    if train.features is not None and held_out.features is not None and probe is not None:
        embedding = _fit_embedding(train.features, folds, held_out, probe)
    unscaled = Fingerprint(
        len(train.measured),
        len(held_out.measured),
        patients,
        _references(np.concatenate([train.measured, held_out.measured]), patients),
        measured,
        embedding,
        1.0,
        rate,
    )
    scores = [one.score for one in unscaled.novelties(held_out.measured, held_out.features)]
    threshold, false_alarms = alarm_threshold(scores, rate)
    return replace(unscaled, threshold=threshold, false_alarms=false_alarms)


def _references(measured: Floats64, patients: int) -> tuple[Reference, ...]:
    bins = min(max(patients // _PATIENTS_OF_A_BIN, _FEWEST_BINS), _MOST_BINS)
    return tuple(Reference.of(name, measured[:, at], bins) for at, name in MEASURE_NAMES.items())


def _folds(patients: NDArray[Any]) -> NDArray[np.int64]:
    """To which of five parts each image belongs, those of a patient to one."""
    names, index = np.unique(patients, return_inverse=True)
    folds: NDArray[np.int64] = np.random.default_rng(0).permutation(len(names))[index] % _FOLDS
    return folds


def _fit_measured(rows: Floats64, folds: NDArray[np.int64]) -> Measured:
    parts = [mahalanobis(rows[folds == one], *ellipsoid(rows[folds != one])) for one in np.unique(folds)]
    centre, precision = ellipsoid(rows)
    return Measured(centre, precision, float(np.median(np.concatenate(parts))))


def _fit_embedding(features: Floats64, folds: NDArray[np.int64], held_out: Known, probe: Floats64) -> Embedding:
    parts = []
    for one in np.unique(folds):
        embedded, away = _directions(features[folds != one]).embed(features[folds == one])
        parts.append(np.stack([np.linalg.norm(embedded, axis=1), away]))
    along, beyond = np.median(np.concatenate(parts, axis=1), axis=1).tolist()
    found = _directions(features)
    least = _LEAST_BESIDE * float(np.sqrt(len(found.centre)))  # a remainder of rounding errors says nothing
    found = replace(found, usual=(max(along, _NEXT_TO_NOTHING), max(beyond, least)))
    sample = found.embed(np.asarray(held_out.features))[0][_one_of_each(held_out.patients)]
    return replace(found, sample=np.round(sample, _SAMPLE_DIGITS), probe=found.embed(probe)[0][0])


def _directions(features: Floats64) -> Embedding:
    """The main directions of features, each group brought to one scale; what never changes gets the scale of others."""
    rows = grouped(features)
    scale = rows.std(axis=0)
    scale = np.maximum(scale, 0.05 * float(np.median(scale)) + _NEXT_TO_NOTHING)
    centre = rows.mean(axis=0)
    _, lengths, axes = np.linalg.svd((rows - centre) / scale, full_matrices=False)
    most = max(min(MOST_DIRECTIONS, len(rows) // _IMAGES_OF_A_DIRECTION, rows.shape[1] // 2), 1)
    spread = np.maximum(lengths[:most] / np.sqrt(max(len(rows) - 1, 1)), _NEXT_TO_NOTHING)
    none = np.empty((0, most))
    return Embedding(features.shape[1], centre, scale, axes[:most], spread, (1.0, 1.0), none, np.empty(0))


def _one_of_each(patients: NDArray[Any]) -> NDArray[np.int64]:
    """Places of one image of each patient, drawn evenly, at most 200 of them, in no order that says anything."""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(patients))
    _, first = np.unique(np.asarray(patients)[order], return_index=True)
    places: NDArray[np.int64] = rng.permutation(order[first])[:_MOST_SAMPLES]
    return places
