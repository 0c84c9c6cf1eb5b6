"""The third stage: measure the best weights on patients that training never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medloom import data, evaluation, training
from medloom.events import Events, FileMade, StageBegun, StageEnded
from medloom.pipeline.graph import export
from medloom.pipeline.identity import check_trained
from medloom.pipeline.metadata import read_encoding
from medloom.pipeline.places import find_images, in_use
from medloom.pipeline.runs import Run

__all__ = ["evaluate"]


def evaluate(run: Run, *, images: str | Path | None = None, events: Events | None = None) -> dict[str, Any]:
    """Choose the operating point on validation and measure the best weights on test.

    The metrics are those of the exported graph in the runtime that the bundle will serve with.

    Args:
        run: The run.
        images: Folder or zip with the images; by default where they are known to be.
        events: Told of images done and images in all.

    Returns:
        The summary, as in ``evaluation/summary.json``.

    Raises:
        UserError: If the images are not known on this machine.
        DataError: If they, or the split, are not what was trained on.
    """
    events = events or Events()
    events.emit(StageBegun("evaluate", run.folder))
    check_trained(run)
    catalogue = data.read_catalogue(run.folder / "catalogue.csv")
    where = find_images(run, images, events=events)
    network = training.load_best(run.folder, run.recipe)
    predictor = export(run, network, [read_encoding(run)], images=where, events=events)
    with in_use(where), data.open_source(where) as source:
        summary = evaluation.evaluate(
            run.recipe,
            catalogue,
            source,
            predictor,
            run.folder,
            heatmap=network.heatmap,
            progress=events.progress("evaluate"),
        )
    events.emit(FileMade(run.folder / "evaluation" / "summary.json"))
    events.emit(StageEnded("evaluate", run.folder))
    return summary
