"""Explaining the answers of a bundle: to images that are named, or to some validation images of the run it lies in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from medloom import data, explanation
from medloom.errors import UserError
from medloom.evaluation.reading import Reading
from medloom.events import Events
from medloom.explanation import Seen
from medloom.inference import Predictor
from medloom.pipeline.names import EXPLANATION
from medloom.pipeline.places import find_images, in_use
from medloom.pipeline.runs import Run

__all__ = ["explanation_folder", "validation_images"]

_RECIPE = "recipe.yaml"
_ON_VALIDATION = "validation"


def explanation_folder(bundle: Path, *, named: bool) -> Path:
    """Return where explanations are written unless someone says otherwise.

    Args:
        bundle: The bundle.
        named: Whether the images are files of the user's, whose names stay out of the run.
    """
    return Path(EXPLANATION) if named else bundle.parent / EXPLANATION


@contextmanager
def validation_images(
    bundle: Path, predictor: Predictor, count: int, *, events: Events | None = None
) -> Iterator[Iterator[Seen]]:
    """Give some validation images of the run that a bundle lies in, answered; the test set stays closed.

    Args:
        bundle: The bundle.
        predictor: That of the bundle.
        count: How many images, evenly drawn; in a run of folds, from those of the first fold.
        events: Told if images have to be looked for.

    Raises:
        UserError: If the bundle lies in no run, or its images are not known on this machine.
    """
    if not (bundle.parent / _RECIPE).is_file():
        raise UserError(f"{bundle} lies in no run, whose validation images could be explained: name images")
    run = Run.open(bundle.parent)
    catalogue = data.read_catalogue(run.folder / "catalogue.csv")
    rows = catalogue[catalogue["split"] == _ON_VALIDATION]
    places = np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))
    where = find_images(run, None, events=events or Events())
    with in_use(where), data.open_source(where) as source:
        reading = Reading(run.recipe, source, replace(predictor, strict=False), catalogue=catalogue)
        metadata = data.meta_of(rows)
        samples = reading.samples(rows.iloc[places])
        yield (
            explanation.seen_of(predictor, str(one.row["sample_id"]), one.prepared, _told(predictor, metadata[place]))
            for place, one in zip(places, samples, strict=True)
        )


def _told(predictor: Predictor, row: dict[str, str]) -> dict[str, str]:
    return {name: row.get(name, "") for name in predictor.metadata_columns}
