"""What the network of a run was trained on: written when training begins, compared by every stage after it.

``trained_on.csv`` has a row for each sample, with its part, and ``identity.json`` what ``run_identity`` says of recipe,
pixels and labels. So a report cannot show as test patients those that were trained on, whatever became of the images
and of the catalogue in the meantime.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medloom import data
from medloom.data.identity import check_identity, run_identity, sample_changes
from medloom.errors import DataError
from medloom.files import members_of, read_json, sha256_file, write_json, write_text
from medloom.pipeline.metadata import read_encoding
from medloom.pipeline.runs import Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["begin_training", "check_data", "check_folds", "check_trained", "is_trained", "trained_counts"]

_IDENTITY = "identity.json"
_SAMPLES = "trained_on.csv"
_COLUMNS = ("sample_id", "patient_id", "frame", "sha256", "labels", "split", "fold")
_OF_NETWORK = (
    *("evaluation", "training.json", "diagnosis.json", "baselines.csv", "model.onnx", "model.tar.gz", "report.html"),
    *("profile.json", "profile", "tracking.json", "system.jsonl"),
)
"""What says something about a network that is not there any more when training begins anew."""

_ADVICE = (
    "Nothing was changed. Take another run for other data, --run NAME, or delete the checkpoints of this one to train "
    "it anew"
)


def is_trained(folder: Path) -> bool:
    """Whether a network of a run, or of a fold, has begun to learn."""
    return any((folder / "checkpoints").glob("*.safetensors"))


def begin_training(run: Run) -> None:
    """Write down what a run stands on, before its network learns from it, and remove what is left of another network.

    Nothing is done for a run that has begun and knows what it stands on.

    Raises:
        DataError: If the catalogue is not the one that was prepared.
    """
    trained = is_trained(run.folder)
    if trained and (run.folder / _IDENTITY).is_file():
        return
    catalogue = _catalogue(run)
    if not trained:
        for name in _OF_NETWORK:
            path = run.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    write_text(run.folder / _SAMPLES, catalogue[list(_COLUMNS)].to_csv(index=False, lineterminator="\n"))
    write_json(run.folder / _IDENTITY, _identity(run, catalogue))


def check_trained(run: Run, *, needed: bool = True) -> None:
    """Raise if what a run stands on is not what its network was trained on; of folds and seeds, each of their networks.

    A run whose network has not begun to learn passes.

    Args:
        run: The run.
        needed: Whether it must be known what was trained on.

    Raises:
        DataError: If samples, their parts, labels or pixels differ, or it is not known what was trained on.
        RecipeError: If a setting differs that decides about the weights.
    """
    folds = _trained_folds(run.folder)
    for folder in members_of(run.folder):
        if (folder / _SAMPLES).is_file() and is_trained(folder):
            check_trained(Run.open(folder))
    if folds:
        check_folds(folds)
        return
    catalogue = _catalogue(run) if (run.folder / "catalogue.csv").is_file() else None
    if not (run.folder / _IDENTITY).is_file():
        if needed and is_trained(run.folder):
            raise DataError(
                f"{run.folder} does not say which samples its network was trained on, because an earlier version of "
                "Medloom began it; `medloom train` with the images as they were then adds that"
            )
        return
    if catalogue is None:
        raise DataError(f"{run.folder} has no catalogue.csv any more; run `medloom prepare` with the same images")
    check_data(run.folder, catalogue)
    saved, now = read_json(run.folder / _IDENTITY), _identity(run, catalogue)
    check_identity(saved, now)


def check_data(folder: Path, catalogue: pd.DataFrame) -> None:
    """Raise if a catalogue has other samples, parts or labels than the network of a run was trained on.

    Args:
        folder: The run directory. Nothing is compared where it is not known what was trained on.
        catalogue: What the run is to stand on.

    Raises:
        DataError: Saying in counts what differs.
    """
    known = folder / _SAMPLES
    if known.is_file() and (changes := _changes(data.read_samples(known), catalogue)):
        raise DataError(
            f"{folder}: the data are not those that its network was trained on: {', '.join(changes)}. {_ADVICE}"
        )


def check_folds(folds: Sequence[Path], catalogue: pd.DataFrame | None = None) -> None:
    """Raise if folds do not stand on the same samples: a patient could be tested twice, or never.

    Args:
        folds: The folders of the folds.
        catalogue: That of a further fold, which is being prepared.

    Raises:
        DataError: Saying in counts what differs.
    """
    known = [data.read_samples(path) for folder in folds if (path := folder / _SAMPLES).is_file()]
    tables = known if catalogue is None else [*known, catalogue]
    for other in tables[1:]:
        first = tables[0].assign(split=tables[0]["fold"])
        if changes := _changes(first, other.assign(split=other["fold"])):
            raise DataError(
                f"{folds[0].parent}: the folds do not stand on the same data: {', '.join(changes)}. {_ADVICE}"
            )


def trained_counts(run: Run) -> Mapping[str, Any]:
    """Return patients and samples of each part as they were trained on; of folds, all that any of them learned from."""
    folds = _trained_folds(run.folder)
    prepared: Mapping[str, Any] = run.facts("prepare.json", "prepare")["counts"]
    if not folds:
        return prepared
    tables = [data.read_samples(folder / _SAMPLES) for folder in folds]
    learned = {
        (row.sample_id, row.patient_id) for table in tables for row in table.itertuples() if row.split == "train"
    }
    patients = {patient for _, patient in learned}
    known = prepared["train"]["patients"] is not None
    return {"folds": len(folds), "train": {"patients": len(patients) if known else None, "samples": len(learned)}}


def _trained_folds(folder: Path) -> list[Path]:
    """The folds of a run that have begun to learn."""
    folds = (path.parent for path in folder.glob(f"fold-*/{_SAMPLES}"))
    return sorted((fold for fold in folds if is_trained(fold)), key=lambda fold: int(fold.name.partition("-")[2]))


def _catalogue(run: Run) -> pd.DataFrame:
    """The catalogue of a run, if it is still the one that was prepared."""
    path = run.folder / "catalogue.csv"
    catalogue = data.read_catalogue(path)
    if sha256_file(path) != run.facts("prepare.json", "prepare")["catalogue_sha256"]:
        raise DataError(f"{path} is not what was prepared; run `medloom prepare` again, and give a split in split.file")
    return catalogue


def _identity(run: Run, catalogue: pd.DataFrame) -> dict[str, Any]:
    key = run.facts("prepare.json", "prepare")["store"]["key"]
    return run_identity(run.plain(), catalogue, key, read_encoding(run))


def _changes(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """What differs, in counts; also where it is only which samples are of one patient, or their order."""
    changes = sample_changes(before, after)
    columns = ["sample_id", "sha256"]
    if not changes and before[columns].to_numpy().tolist() != after[columns].to_numpy().tolist():
        return ["the patients, or the order of the samples"]
    return changes
