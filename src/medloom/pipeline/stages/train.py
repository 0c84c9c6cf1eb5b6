"""The second stage: fit the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from medloom import data, evaluation, training
from medloom.data.opening import Images
from medloom.events import Events, StageBegun, StageEnded
from medloom.pipeline.forecast import foreseen_micro_batch
from medloom.pipeline.identity import begin_training, check_trained, is_trained
from medloom.pipeline.metadata import read_encoding
from medloom.pipeline.places import find_store
from medloom.pipeline.runs import Run, refuse_members
from medloom.pipeline.sizing import sized
from medloom.training import Teachers, TrainResult

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["reason_of", "train"]


def train(
    run: Run,
    *,
    images: str | Images | None = None,
    teachers: Teachers | None = None,
    baselines: Literal["test", "validation", "none"] = "test",
    validates: bool = True,
    events: Events | None = None,
) -> TrainResult:
    """Train, or go on where the run was stopped; write ``checkpoints/``, ``metrics.jsonl``, ``training.json``.

    Args:
        run: The run.
        images: Folder or zip with the images, for a pixel store that is not on this machine.
        teachers: Networks whose answers are learned in the place of the truth.
        baselines: What the cheap models beside the network say something of: validation and ``test``; ``validation``
            alone, so that no test sample is read; or ``none``.
        validates: Else all epochs are trained without validation samples, and the last one is taken.
        events: Told of batches and epochs; who listens may ask for an end.

    Returns:
        The best epoch, and whether the training was finished or asked to stop.

    Raises:
        TrainingError: If training had to stop, such as for a loss that is not finite.
        RecipeError: If the recipe asks for every fold, or cannot be trained here.
        DataError: If training began with other data.
        UserError: If the pixel store is neither here nor can be built again.
    """
    events = events or Events()
    refuse_members(run.recipe)
    events.emit(StageBegun("train", run.folder))
    run = sized(run, images=images, events=events)
    trained = is_trained(run.folder)
    if trained:
        check_trained(run, needed=False)
    store = find_store(run, images, events=events)
    if not trained:
        begin_training(run)
    catalogue = data.read_catalogue(run.folder / "catalogue.csv")
    result = training.train(
        run.recipe, catalogue, store, run.folder, tables=read_encoding(run), teachers=teachers, validates=validates,
        micro_batch=foreseen_micro_batch(run), events=events,
    )  # fmt: skip
    if trained:  # an earlier version may have begun it; that its data are the same was checked by its checkpoint
        begin_training(run)
    if result.finished:
        _write_baselines(run, catalogue, store, baselines)
    events.emit(StageEnded("train", run.folder))
    return result


def _write_baselines(run: Run, catalogue: pd.DataFrame, store: data.PixelStore, of: str) -> None:
    if of != "none":
        seen = catalogue if of == "test" else catalogue[catalogue["split"] != "test"]
        evaluation.write_baselines(run.recipe, seen, store, run.folder)


def reason_of(result: TrainResult) -> str:
    """Return why a training ended before its last epoch."""
    return result.stop_reason or "asked to stop"
