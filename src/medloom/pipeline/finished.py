"""Whether a run is finished, so that the same command has nothing left to do.

A finished run says what it stands on and what it made, as hashes: no name of a patient, file or folder is kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medloom import __version__, data
from medloom.data.opening import Images
from medloom.errors import MedloomError
from medloom.events import Events, FileMade, Noted, Warned
from medloom.files import members_of, read_json, sha256_bytes, sha256_file, write_json
from medloom.pipeline.names import DISTILLED
from medloom.pipeline.result import RunResult
from medloom.pipeline.runs import Run

__all__ = ["FINISHED", "finished_result", "remember_finished"]

FINISHED = "finished.json"
"""What a finished run stands on and what it made."""

_PAGES = ("data_report.html", "report.html")
_SUMMARY = "evaluation/summary.json"
_FACTS = ("recipe.yaml", "catalogue.csv", "prepare.json", "training.json")
_LAST, _PREVIOUS = "checkpoints/last.safetensors", "checkpoints/previous.safetensors"
_OF_ONE_SPLIT = ("identity.json", "trained_on.csv")
"""What a run of folds has in each of them."""


def remember_finished(run: Run, images: Images) -> None:
    """Note that all stages of a run are done, and drop what only an unfinished run needs.

    Nothing is noted or dropped if a stage has made nothing. Of the checkpoints the best and the last one stay, and more
    epochs go on from the last; the one before it is for a training that is killed while it writes.

    Args:
        run: The run, with the recipe that was asked for.
        images: Folder or zip that it was made of.
    """
    made = [run.folder / name for name in (*_FACTS, _SUMMARY, run.bundle.name, *_PAGES)]
    if all(path.is_file() for path in made):
        made += [path for name in _OF_ONE_SPLIT if (path := run.folder / name).is_file()]
        outputs = {path.relative_to(run.folder).as_posix(): sha256_file(path) for path in made}
        write_json(run.folder / FINISHED, {**_basis(run, images), "outputs": outputs})
        for folder in (run.folder, run.folder / DISTILLED, *members_of(run.folder)):
            if (folder / _LAST).is_file():
                (folder / _PREVIOUS).unlink(missing_ok=True)


def finished_result(run: Run, images: Images, *, events: Events | None = None) -> RunResult | None:
    """Return the result of a run that is finished, or None if something is left to do.

    Something is left to do if the recipe, a file of the images, the version of Medloom, or a file that the run made is
    not what it was. Images are told by name, size and time of the last change.

    Args:
        run: The run, with the recipe that is asked for.
        images: Folder or zip with the images.
        events: Told that there is nothing to do, of the files that are there, and of warnings about the data.
    """
    if not _is_finished(run, images):
        return None
    prepared = run.facts("prepare.json", "prepare")
    result = RunResult(
        run.folder,
        prepared,
        run.facts("training.json", "train"),
        run.facts(_SUMMARY, "evaluate"),
        run.bundle,
        tuple(run.folder / page for page in _PAGES),
    )
    events = events or Events()
    events.emit(Noted(f"finished; nothing to do: {run.folder} holds the result of this recipe and these images"))
    for text in prepared.get("warnings", ()):
        events.emit(Warned(text))
    for path in (run.folder / _PAGES[0], run.folder / _SUMMARY, run.bundle, run.folder / _PAGES[1]):
        events.emit(FileMade(path))
    return result


def _is_finished(run: Run, images: Images) -> bool:
    try:
        known: dict[str, Any] = read_json(run.folder / FINISHED)
        outputs = known.pop("outputs")
        if known.get("recipe") != _recipe_hash(run) or known != _basis(run, images):
            return False
        return all(sha256_file(run.folder / name) == sha256 for name, sha256 in outputs.items())
    except (OSError, ValueError, KeyError, AttributeError, MedloomError):  # the stages say what is wrong
        return False


def _basis(run: Run, images: Images) -> dict[str, str]:
    return {"medloom": __version__, "recipe": _recipe_hash(run), "images": _images_hash(images)}


def _recipe_hash(run: Run) -> str:
    """Of the recipe as it is when the run is taken up, and of the split that it names.

    A file of weights is only the beginning of a training that is over. The order of keys counts: the first class of a
    mask is the background.
    """
    plain = Run.planned(run.recipe, run.folder).plain_result()
    split = run.recipe.split.file
    return sha256_bytes(json.dumps([plain, split and sha256_file(Path(split))]).encode())


def _images_hash(images: Images) -> str:
    with data.open_source(images) as source:
        return sha256_bytes(json.dumps([[name, source.stamp(name)] for name in source.names()]).encode())
