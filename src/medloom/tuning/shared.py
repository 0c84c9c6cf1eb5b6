"""What all trials share: the catalogue, the split, the pixel store and the folds, prepared once.

A trial that searches the preprocessing gets data of its own, once for all trials with the same. The split is that of
the study in each of them.
"""

from __future__ import annotations

import json
from pathlib import Path

from medloom import data, pipeline
from medloom.data.opening import Images
from medloom.errors import DataError
from medloom.events import Events
from medloom.files import read_json, sha256_bytes, sha256_file, write_json
from medloom.locks import sole
from medloom.recipe import Recipe
from medloom.tuning.plan import PREPARED, Study

__all__ = ["data_folder", "prepare_study", "trial_run"]

_SECTIONS = ("data", "preprocess")
"""What decides about the pixel store."""


def prepare_study(study: Study, images: Images, *, workers: int | None, events: Events) -> None:
    """Prepare the data of a study as its recipe says, and divide the folds; nothing is done that is done already."""
    _prepared(study, study.recipe, images, workers, events)


def trial_run(
    study: Study, recipe: Recipe, folder: Path, fold: int | None, images: Images, events: Events
) -> pipeline.Run:
    """Make the run directory of a trial, or of a fold of it.

    Args:
        study: The study.
        recipe: With the settings of the trial.
        folder: Where.
        fold: Which fold; None for the recipe's own split.
        images: Where the images are, should the trial need data of its own.
        events: Told of the preparation then.
    """
    source = _prepared(study, recipe, images, None, events)
    return pipeline.derived_run(source if fold is None else _fold_folder(source, fold), recipe, folder, images)


def _prepared(study: Study, recipe: Recipe, images: Images, workers: int | None, events: Events) -> Path:
    """The folder with the data of a recipe; made once, by the process that needs it first."""
    folder = data_folder(study, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    with sole(folder):
        if not (folder / "folds.json").is_file():
            pipeline.prepare(pipeline.Run(folder, recipe), images, workers=workers, events=events)
            _check_split(study.folder / PREPARED, folder)
            _divide(folder, recipe, study.folds)
            write_json(folder / "folds.json", {"folds": study.folds})
    return folder


def data_folder(study: Study, recipe: Recipe) -> Path:
    """Return the folder with the catalogue and the facts of the data of a recipe, which trials with the same share."""
    plain, base = recipe.plain(), study.recipe.plain()
    own = {section: {**plain[section], "path": None} for section in _SECTIONS}
    if own == {section: {**base[section], "path": None} for section in _SECTIONS}:
        return study.folder / PREPARED
    return study.folder / f"{PREPARED}-{sha256_bytes(json.dumps(own, sort_keys=True).encode())[:12]}"


def _check_split(base: Path, folder: Path) -> None:
    """Raise if other data divide the patients otherwise, so that scores could not be compared."""
    columns = ["sample_id", "patient_id", "split"]
    first, second = (data.read_catalogue(one / "catalogue.csv")[columns].to_numpy().tolist() for one in (base, folder))
    if first != second:
        raise DataError(f"{folder}: with this preprocessing other samples are trained on or validated")


def _divide(folder: Path, recipe: Recipe, folds: int | None) -> None:
    """Write the catalogue and the facts of each fold."""
    if folds is None:
        return
    catalogue = data.read_catalogue(folder / "catalogue.csv")
    strata = data.strata_of(catalogue, pipeline.Run.open(folder).recipe.target.kind)
    facts = read_json(folder / "prepare.json")
    rule = data.SplitRule.of(recipe.split)
    for number, fold in enumerate(data.validation_folds(catalogue, rule, folds, strata)):
        place = _fold_folder(folder, number)
        place.mkdir(exist_ok=True)
        data.write_catalogue(fold, place / "catalogue.csv")
        write_json(place / "prepare.json", {**facts, "catalogue_sha256": sha256_file(place / "catalogue.csv")})


def _fold_folder(folder: Path, number: int) -> Path:
    return folder / f"fold-{number}"
