"""``train.batch_size: auto`` becomes a number, measured on this machine, before anything that needs one begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from medloom import data
from medloom.data.opening import Images
from medloom.events import Events, Noted
from medloom.files import read_json, write_json
from medloom.pipeline.identity import is_trained
from medloom.pipeline.metadata import read_encoding
from medloom.pipeline.places import find_store
from medloom.pipeline.runs import Run
from medloom.wording import counted, size_text

__all__ = ["BATCH_SIZE", "sized", "sized_alike"]

BATCH_SIZE = "batch_size.json"
"""What was measured where the recipe left the size of a step open."""


def sized(run: Run, *, images: str | Images | None = None, trainings: int = 1, events: Events | None = None) -> Run:
    """Return a run with a number of images in a step, and write it into its recipe.

    Nothing is measured where the recipe says a number, or where the training has begun: it keeps the number that it
    began with.

    Args:
        run: A prepared run.
        images: Folder or zip with the images, for a pixel store that is not on this machine.
        trainings: So many trainings share the memory.
        events: Told what was found.

    Raises:
        NoMemoryError: If not even the smallest step finds room.
        UserError: If the recipe or the data cannot be trained.
    """
    if run.recipe.train.batch_size != "auto":
        return run
    known = run.folder / BATCH_SIZE
    if is_trained(run.folder) and known.is_file():
        return run.with_batch_size(int(read_json(known)["images"])).save()
    from medloom.training.sizing import SHARE, find_batch_size  # brings torch

    events = events or Events()
    events.emit(Noted("train.batch_size: auto: steps of more and more images are taken to see what finds room"))
    catalogue = data.read_catalogue(run.folder / "catalogue.csv")
    store = find_store(run, images, events=events)
    found = find_batch_size(run.recipe, catalogue, store, tables=read_encoding(run), trainings=trainings)
    write_json(known, asdict(found))
    peak = dict(found.tried)[found.images] or 0
    limit = "" if found.limit_bytes is None else f", {SHARE:.0%} of what is there are {size_text(found.limit_bytes)}"
    events.emit(
        Noted(
            f"train.batch_size: {counted(found.images, 'image')} in a step, which take {size_text(peak)} of "
            f"{'the GPU' if found.device == 'cuda' else 'memory'}{limit}; train.optimizer.lr stays "
            f"{run.recipe.train.optimizer.lr:g}: it is not scaled with the size of a step"
        )
    )
    return run.with_batch_size(found.images).save()


def sized_alike(runs: Sequence[Run]) -> list[Run]:
    """Return the folds of a run with the size of a step that one of them has, where it is left open in others."""
    sizes = [run.recipe.train.batch_size for run in runs if run.recipe.train.batch_size != "auto"]
    return [run.with_batch_size(int(sizes[0])) for run in runs] if sizes else list(runs)
