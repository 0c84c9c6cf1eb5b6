"""The third stage: measure the best weights on patients that training never saw, when that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from medloom import data, evaluation, training
from medloom.evaluation.parts import Part, evaluation_folder
from medloom.events import Events, FileMade, StageBegun, StageEnded
from medloom.pipeline.graph import export
from medloom.pipeline.identity import check_trained
from medloom.pipeline.kept import kept_choice
from medloom.pipeline.measuring import measured_with, note_opening
from medloom.pipeline.metadata import read_encoding
from medloom.pipeline.places import find_images, find_store, in_use
from medloom.pipeline.runs import Run, refuse_members

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["evaluate"]


def evaluate(
    run: Run, *, part: Part = "test", images: str | Path | None = None, events: Events | None = None
) -> dict[str, Any]:
    """Choose the operating point on validation and measure the best weights on test, or on validation alone.

    Each time that the test set is opened is written down in the run. The metrics are those of the exported
    graph in the runtime that the bundle will serve with.

    Args:
        run: The run.
        part: ``validation`` leaves the test set closed and the metrics on it, where there are any, as they are.
        images: Folder or zip with the images; by default where they are known to be.
        events: Told of images done and images in all.

    Returns:
        The summary, as in ``summary.json`` of the evaluation.

    Raises:
        RecipeError: If the recipe asks for every fold.
        UserError: If the images are not known on this machine.
        DataError: If they, or the split, are not what was trained on.
    """
    events = events or Events()
    refuse_members(run.recipe)
    events.emit(StageBegun("evaluate", run.folder))
    check_trained(run)
    choice = kept_choice(run, part)
    catalogue = data.read_catalogue(run.folder / "catalogue.csv")
    where = find_images(run, images, events=events)
    network = training.load_best(run.folder, run.recipe)
    predictor = export(run, network, [read_encoding(run)], images=where, events=events)
    if part == "test":
        note_opening(run)
        _complete_baselines(run, catalogue, images, events)
    with in_use(where), data.open_source(where) as source:
        summary = evaluation.evaluate(
            run.recipe,
            catalogue,
            source,
            predictor,
            run.folder,
            part=part,
            over=_over(run),
            measured_with=measured_with(run),
            heatmap=network.heatmap,
            choice=choice,
            progress=events.progress("evaluate"),
        )
    events.emit(FileMade(evaluation_folder(run.folder, part) / "summary.json"))
    events.emit(StageEnded("evaluate", run.folder))
    return summary


def _complete_baselines(run: Run, catalogue: pd.DataFrame, images: str | Path | None, events: Events) -> None:
    """Let the cheap models say something of the test samples, too, where the training had left these alone."""
    known = evaluation.read_baselines(run.folder)
    tested = catalogue.loc[catalogue["split"] == "test", "sample_id"]
    if known is not None and not tested.isin(known["sample_id"]).all():
        evaluation.write_baselines(run.recipe, catalogue, find_store(run, images, events=events), run.folder)


def _over(run: Run) -> str:
    """What intervals are over; a run that was prepared by an earlier version does not say that patients are known."""
    source = run.facts("prepare.json", "prepare").get("patient_source", {})
    return "patients" if source.get("status") == "known" else "images"
