"""Trainings on data that are prepared once: of each seed, share of the patients, or trial, without reading an image."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medloom import data
from medloom.data.opening import Images
from medloom.files import read_json, sha256_file, write_bytes, write_json
from medloom.pipeline.metadata import write_encoding
from medloom.pipeline.places import remember_images
from medloom.pipeline.runs import Run
from medloom.recipe import Recipe

__all__ = ["derived_run"]

_CATALOGUE, _PREPARED = "catalogue.csv", "prepare.json"


def derived_run(
    source: Path, recipe: Recipe, folder: Path, images: Images, *, catalogue: pd.DataFrame | None = None
) -> Run:
    """Make the run directory of a training on data that are prepared.

    Args:
        source: A prepared run directory.
        recipe: What is trained; nothing in it that decides about the pixels differs from the source's.
        folder: Where.
        images: Folder or zip with the images.
        catalogue: Those samples that it may see, with the part of each; None for all, as they are divided there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts = read_json(source / _PREPARED)
    if catalogue is None:
        write_bytes(folder / _CATALOGUE, (source / _CATALOGUE).read_bytes())
    else:
        data.write_catalogue(catalogue, folder / _CATALOGUE)
        facts |= data.recounted(catalogue, recipe.predicts(), facts["patient_source"]["status"])
    write_json(folder / _PREPARED, {**facts, "catalogue_sha256": sha256_file(folder / _CATALOGUE)})
    run = Run(folder, recipe).save()
    write_encoding(run, data.read_catalogue(folder / _CATALOGUE))
    remember_images(run, images)
    return run
