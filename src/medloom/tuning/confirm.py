"""The settings of the best trial once more, with other seeds: what they are worth without the luck of being chosen."""

from __future__ import annotations

import shutil
from pathlib import Path

from medloom.data.opening import Images
from medloom.events import Events, Noted
from medloom.files import read_json, write_json
from medloom.recipe import with_values
from medloom.tuning.finish import settings_of
from medloom.tuning.plan import Study
from medloom.tuning.trial import run_trial

__all__ = ["confirm", "confirmed_scores"]

_FOLDER = "confirm"
_SCORE = "score.json"


def confirm(study: Study, number: int, images: Images, seeds: int, *, events: Events) -> str | None:
    """Train with the settings of a trial and so many other seeds; what was trained before is not trained again.

    Args:
        study: The study.
        number: The trial.
        images: Folder or zip with the images.
        seeds: How many.
        events: Told of everything; who listens may ask for an end.

    Returns:
        Why it stopped before its end; None if it did not.
    """
    recipe = settings_of(study, number)
    for place in range(1, seeds + 1):
        folder = _folder(study, number, place)
        if (folder / _SCORE).is_file():
            continue
        seeded = with_values(recipe, {"train.seed": recipe.train.seed + place})
        events.emit(Noted(f"best settings with seed {seeded.train.seed}: {place} of {seeds}"))
        outcome = run_trial(study, seeded, folder, images, lambda score, step: False, events=events)
        if outcome.state != "complete":
            return "asked to stop"
        shutil.rmtree(folder)
        write_json(folder / _SCORE, {"seed": seeded.train.seed, "score": outcome.score})
    return None


def confirmed_scores(study: Study, number: int) -> list[float]:
    """Return the scores of a trial's settings with other seeds."""
    found = sorted((study.folder / _FOLDER).glob(f"{number:04d}-*/{_SCORE}"))
    return [float(read_json(path)["score"]) for path in found]


def _folder(study: Study, number: int, place: int) -> Path:
    return study.folder / _FOLDER / f"{number:04d}-{place:02d}"
