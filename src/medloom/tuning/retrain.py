"""The best settings trained once more on the training and the validation patients together, and packaged.

Nobody is left to pick an epoch, an operating point or a calibration by. So it is trained for as many epochs as the best
one of the winner, and keeps the winner's point and calibration; the bundle and the report say so.
"""

from __future__ import annotations

import shutil

import numpy as np

from medloom import data, pipeline, training
from medloom.data.opening import Images
from medloom.errors import RecipeError, TrainingError
from medloom.evaluation.appearance import APPEARANCE
from medloom.evaluation.fingerprint import FINGERPRINT
from medloom.evaluation.parts import read_summary
from medloom.events import Events
from medloom.files import read_json, write_json
from medloom.pipeline.graph import export
from medloom.pipeline.kept import keep_point, kept_note
from medloom.pipeline.metadata import read_encoding
from medloom.pipeline.stages.package import package_network
from medloom.recipe import Recipe, with_values
from medloom.tuning.finish import BEST
from medloom.tuning.plan import Study
from medloom.wording import counted

__all__ = ["RETRAINED", "check_can_retrain", "retrain_best", "retrained_facts"]

RETRAINED = "retrained"
"""The run of the best settings on training and validation patients together."""

_OF = "of_best.json"


def check_can_retrain(recipe: Recipe) -> None:
    """Raise if a training without validation patients is not what the trials were.

    Raises:
        RecipeError: Naming the key.
    """
    if recipe.train.schedule.name == "plateau":
        raise RecipeError(
            "train.schedule.name=plateau follows the validation patients, and with --retrain there are none; take "
            "cosine or none"
        )
    if recipe.package.precision != "fp32":
        raise RecipeError(
            f"package.precision={recipe.package.precision}: what that costs is measured on validation patients, and "
            "with --retrain there are none; take fp32"
        )


def retrain_best(study: Study, images: Images, *, events: Events) -> pipeline.Run:
    """Train the best settings on training and validation patients together, and package that.

    Args:
        study: A study whose best trial is packaged.
        images: Folder or zip with the images.
        events: Told what happens; who listens may ask for an end.

    Returns:
        The run, ``retrained`` in the study; its test set is still closed.

    Raises:
        TrainingError: If the training was asked to stop.
    """
    best = pipeline.Run.open(study.folder / BEST)
    check_can_retrain(best.recipe)
    run = _begun(study, best, images)
    if run.bundle.is_file():
        return run
    trained = pipeline.train(run, images=images, baselines="none", validates=False, events=events)
    if not trained.finished:
        raise TrainingError("the training on all patients was asked to stop; the same command goes on")
    summary = read_summary(best.folder, "validation")
    keep_point(run, summary, _text(best, run))
    network, tables = training.load_best(run.folder, run.recipe), [read_encoding(run)]
    export(run, network, tables, images=images, events=events)
    package_network(run, network, tables, summary, events=events)
    pipeline.report(run, events=events)
    return run


def _begun(study: Study, best: pipeline.Run, images: Images) -> pipeline.Run:
    """The run on all patients but those who test, which begins anew where another trial has become the best."""
    folder, facts = study.folder / RETRAINED, best.facts("training.json", "train")
    of = {"trial": read_json(best.folder / "of_trial.json"), "epochs": facts["best_epoch"]}
    if (folder / _OF).is_file() and read_json(folder / _OF) == of:
        return pipeline.Run.open(folder)
    shutil.rmtree(folder, ignore_errors=True)
    catalogue = data.read_catalogue(best.folder / "catalogue.csv")
    joined = catalogue.assign(split=np.where(catalogue["split"] == "validation", "train", catalogue["split"]))
    changes = {"train.epochs": facts["best_epoch"], "train.early_stopping": {"patience": None}}
    run = pipeline.derived_run(best.folder, with_values(best.recipe, changes), folder, images, catalogue=joined)
    shutil.copytree(best.folder / "data_report", folder / "data_report", dirs_exist_ok=True)
    for name in (APPEARANCE, FINGERPRINT):  # the bundle leaves out of them what is of another network
        if (best.folder / name).is_file():
            shutil.copyfile(best.folder / name, folder / name)
    write_json(folder / _OF, of)
    return run


def _text(best: pipeline.Run, run: pipeline.Run) -> str:
    learned = run.facts("prepare.json", "prepare")["counts"]["train"]
    whom = [counted(learned["patients"], "patient")] if learned["patients"] is not None else []
    whom.append(counted(learned["samples"], "image"))
    epochs = counted(run.recipe.train.epochs, "epoch")
    return (
        f"This network was trained again on training and validation patients together ({', '.join(whom)}), for "
        f"{epochs}, the best epoch of the same settings when validation patients were left out. Nobody was left to "
        "choose by: the weights are those of the last epoch, and operating point and calibration are those of that "
        "earlier network. Metrics on validation are of that earlier network, too; only the test patients can measure "
        "this one."
    )


def retrained_facts(run: pipeline.Run) -> dict[str, object]:
    """Return what the facts of a study say of the training on all patients."""
    learned = run.facts("prepare.json", "prepare")["counts"]["train"]
    return {"epochs": run.recipe.train.epochs, "learned_from": learned, "text": kept_note(run)}
