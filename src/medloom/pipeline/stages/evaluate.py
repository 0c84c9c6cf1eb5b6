"""The third stage: measure the best weights on patients that training never saw, when that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medloom import data, evaluation, training
from medloom.data.opening import Images
from medloom.evaluation.parts import Part, evaluation_folder
from medloom.events import Events, FileMade, Noted, StageBegun, StageEnded
from medloom.pipeline.graph import Exported, export
from medloom.pipeline.identity import check_trained
from medloom.pipeline.kept import kept_choice
from medloom.pipeline.measuring import drawn_over, measured_with, newest_measured, note_opening
from medloom.pipeline.metadata import read_encoding
from medloom.pipeline.places import find_images, find_store, in_use
from medloom.pipeline.runs import Run, refuse_members

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["evaluate", "measure_again"]


def evaluate(
    run: Run, *, part: Part = "test", images: str | Images | None = None, events: Events | None = None
) -> dict[str, Any]:
    """Choose the operating point on validation and measure the best weights on test, or on validation alone.

    Each time that the test set is opened is written down in the run. The metrics are those of the exported
    graph in the runtime and the precision that the bundle will serve with; what that precision costs beside float32 is
    measured on validation first.

    Args:
        run: The run.
        part: ``validation`` leaves the test set closed and the metrics on it, where there are any, as they are.
        images: Folder or zip with the images; by default where they are known to be.
        events: Told of images done and images in all.

    Returns:
        The summary, as in ``summary.json`` of the evaluation.

    Raises:
        RecipeError: If the recipe asks for every fold.
        UserError: If the images are not known on this machine, or the runtime cannot execute the precision here.
        MedloomError: If that precision loses more than the recipe allows.
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
    exported = export(run, network, [read_encoding(run)], images=where, events=events)
    beside: dict[str, Any] = {"agreement": list(exported.agreement)}
    if exported.computed:
        beside["precision"] = _what_it_costs(run, exported, catalogue, where, events)
    if part == "test":
        note_opening(run)
        _complete_baselines(run, catalogue, images, events)
    with in_use(where), data.open_source(where) as source:
        summary = evaluation.evaluate(
            run.recipe,
            catalogue,
            source,
            exported.predictor,
            run.folder,
            part=part,
            over=drawn_over(run),
            measured_with=measured_with(run),
            heatmap=network.heatmap,
            choice=choice,
            beside=beside,
            progress=events.progress("evaluate"),
        )
    events.emit(FileMade(evaluation_folder(run.folder, part) / "summary.json"))
    events.emit(StageEnded("evaluate", run.folder))
    return summary


def measure_again(run: Run, *, images: str | Images | None = None, events: Events | None = None) -> bool:
    """Measure a run whose metrics are of another precision or runtime than its recipe asks for, on the same part.

    Args:
        run: A run that was measured; nothing is done where that is still so.
        images: Folder or zip with the images; by default where they are known to be.
        events: Told of images done and images in all.

    Returns:
        Whether it was measured again.

    Raises:
        RecipeError: If it is a run of folds or seeds.
        UserError: As ``evaluate``.
        MedloomError: As ``evaluate``.
    """
    refuse_members(run.recipe)
    found = newest_measured(run)
    if found.changed:
        evaluate(run, part=found.part, images=images, events=events)
    return bool(found.changed)


def _what_it_costs(
    run: Run, exported: Exported, catalogue: pd.DataFrame, where: Images, events: Events
) -> dict[str, Any]:
    """Compare the precision that is served with float32 on validation; raise if it loses too much."""
    name, limit = run.recipe.package.precision, run.recipe.package.precision_limit
    events.emit(Noted(f"package.precision={name}: {exported.computed} What it costs is measured on validation"))
    with in_use(where), data.open_source(where) as source:
        reading = evaluation.Reading(
            run.recipe,
            source,
            exported.predictor,
            baselines=evaluation.read_baselines(run.folder),
            catalogue=catalogue,
        )
        found = evaluation.measure_loss(reading, exported.exact, exported.predictor, over=drawn_over(run))
    evaluation.check_loss(found, name, limit)
    facts = {"name": name, "computed": exported.computed, **found, "limit": limit}
    return {**facts, "calibrated_on": exported.calibrated_on}


def _complete_baselines(run: Run, catalogue: pd.DataFrame, images: str | Images | None, events: Events) -> None:
    """Let the cheap models say something of the test samples, too, where the training had left these alone."""
    known = evaluation.read_baselines(run.folder)
    tested = catalogue.loc[catalogue["split"] == "test", "sample_id"]
    if known is not None and not tested.isin(known["sample_id"]).all():
        evaluation.write_baselines(run.recipe, catalogue, find_store(run, images, events=events), run.folder)
