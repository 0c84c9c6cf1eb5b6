"""A learning curve: trainings on growing shares of the training patients, all measured on the same other patients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from medloom import data
from medloom.data.opening import Images
from medloom.errors import RecipeError, UserError
from medloom.evaluation import KINDS, Part, curve_facts
from medloom.evaluation import Point as CurvePoint
from medloom.evaluation.parts import evaluation_folder, read_summary
from medloom.evaluation.tables import read_cases
from medloom.events import Events, FileMade, Listener
from medloom.files import read_json, write_json, write_text
from medloom.pipeline.derived import derived_run
from medloom.pipeline.identity import check_data
from medloom.pipeline.members import Members, train_members
from medloom.pipeline.names import run_folder
from medloom.pipeline.places import in_use, resolve_images
from medloom.pipeline.preflight import check_recipe
from medloom.pipeline.result import PageResult
from medloom.pipeline.runs import Run
from medloom.pipeline.stages.prepare import prepare
from medloom.pipeline.starting import loaded_recipe
from medloom.pipeline.writing import OURS, writing
from medloom.recipe import Recipe
from medloom.reports.learning_curve import CURVE_FACTS, write_learning_curve_report

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CURVES", "SHARES", "LearningCurve", "learning_curve"]

CURVES = Path("curves")
"""Where learning curves are kept unless someone says otherwise."""

SHARES = (0.1, 0.25, 0.5, 1.0)
"""Shares of the training patients by default: as many as a law of three parameters needs."""

_ASKED = "curve.json"
_PREPARED = "prepared"
_TABLE = "learning_curve.csv"


class LearningCurve(PageResult):
    """What the trainings of a learning curve gave; ``facts`` are those of ``learning_curve.json``."""

    folder_key = "curve"


@dataclass(frozen=True)
class _Training:
    """One training of a curve."""

    share: float
    repeat: int
    catalogue: pd.DataFrame
    run: Run


def learning_curve(
    recipe: str | Path | Recipe,
    *,
    shares: Sequence[float] = SHARES,
    repeats: int = 1,
    same_steps: bool = False,
    hold_back_test: bool = False,
    curve: str | Path | None = None,
    data: str | Path | None = None,
    settings: Sequence[str] = (),
    curves: Path = CURVES,
    workers: int | None = None,
    jobs: int | None = None,
    on_event: Listener | Sequence[Listener] = (),
) -> LearningCurve:
    """Train on growing shares of the training patients, and say what more patients would bring.

    Each share lies within the next larger one, is drawn by patient and stratified as the split is. Validation and test
    patients are the same throughout. Stopped at any moment, the same call goes on.

    Args:
        recipe: Name of a built-in recipe, path of a YAML file, or a recipe.
        shares: Of the training patients, above 0, at most 1; at least two.
        repeats: So many trainings of each share, with other seeds and other patients in it.
        same_steps: A smaller share is trained for more epochs, so that every training takes as many steps as that of
            the largest share; else all are trained for the recipe's epochs.
        hold_back_test: Measure on validation and leave the test patients alone.
        curve: Name of the curve, or a path with a slash; the recipe's name by default.
        data: Folder or zip with the images.
        settings: Values of the recipe to override.
        curves: Folder that holds learning curves.
        workers: Processes that read images; one a core by default.
        jobs: Trainings at a time; as many as there are GPUs for by default, else one.
        on_event: Who is told what happens.

    Returns:
        What was found: ``learning_curve.json``, beside it ``learning_curve.csv`` and a page.

    Raises:
        UserError: If what came in was wrong.
        MedloomError: If the work failed.

    Example:
        >>> from medloom.pipeline import learning_curve
        >>> learning_curve("chest-xray", repeats=3).facts["metrics"]["roc_auc"]["text"]  # doctest: +SKIP
        'Twice as many patients (356) would bring ROC AUC to about 0.981 ...'
    """
    events = Events([on_event] if callable(on_event) else list(on_event))
    asked = _checked(shares, repeats, same_steps=same_steps)
    loaded = loaded_recipe(recipe, settings, events=events)
    _refuse_several(loaded)
    folder = _curve_folder(curve or loaded.name, curves)
    part: Part = "validation" if hold_back_test else "test"
    _refuse_other(folder, asked)
    with writing(folder, "learning-curve"):
        images = resolve_images(loaded, data, events=events)
        with in_use(images):
            whole = Run(folder / _PREPARED, loaded)
            check_recipe(whole, trains=True, events=events)
            write_json(folder / _ASKED, asked)
            prepare(whole, images, workers=workers, events=events)
            found = _Curve(folder, Run.open(whole.folder), images, asked, part, events)
            stopped = found.train(jobs)
            return LearningCurve(folder, stopped=stopped) if stopped else found.finish()


@dataclass(frozen=True)
class _Curve:
    """A learning curve whose data are prepared."""

    folder: Path
    whole: Run
    images: Images
    asked: dict[str, Any]
    part: Part
    events: Events

    def train(self, jobs: int | None) -> str | None:
        """Train and measure what is not measured yet; return why it was stopped before its end, if it was."""
        found = {one.run.folder: one for one in self.trainings()}
        for one in found.values():
            check_data(one.run.folder, one.catalogue)

        def ready(run: Run) -> Run:
            catalogue = found[run.folder].catalogue
            return derived_run(self.whole.folder, run.recipe, run.folder, self.images, catalogue=catalogue)

        members = Members("training", [one.run for one in found.values()], ready, self.images)
        return train_members(members, jobs=jobs, part=self.part, events=self.events)

    def trainings(self) -> Iterator[_Training]:
        """Every training, by rising share within each repeat."""
        catalogue, recipe = data.read_catalogue(self.whole.folder / "catalogue.csv"), self.whole.recipe
        strata, rule = data.strata_of(catalogue, recipe.target.kind), data.SplitRule.of(recipe.split)
        for repeat in range(self.asked["repeats"]):
            drawn = replace(rule, seed=rule.seed + repeat)
            parts = data.training_shares(catalogue, drawn, self.asked["shares"], strata)
            most = _trained_on(parts[-1]).sum()
            for share, part in zip(self.asked["shares"], parts, strict=True):
                longer = most / _trained_on(part).sum() if self.asked["same_steps"] else 1.0
                run = Run.planned(_of_one(recipe, repeat, longer), self.folder / f"share-{share:g}-{repeat}")
                yield _Training(share, repeat, part, run)

    def finish(self) -> LearningCurve:
        """Put what was measured together, and write the table and the page."""
        points = [self._point(one) for one in self.trainings()]
        summary = read_summary(next(self.trainings()).run.folder, self.part)
        family = KINDS[self.whole.recipe.target.kind](self.whole.recipe.predicts())
        resamples, over = self.whole.recipe.evaluate.bootstrap, summary["interval"]["over"]
        facts = {
            "name": self.folder.absolute().name,
            "recipe": self.whole.recipe.name,
            "phantom": bool(self.whole.facts("prepare.json", "prepare")["phantom"]),
            "part": self.part,
            "same_steps": self.asked["same_steps"],
            "measured_on": summary[self.part]["counts"],
            **curve_facts(family, points, resamples, over),
        }
        write_json(self.folder / CURVE_FACTS, facts)
        write_text(self.folder / _TABLE, self._table(points).to_csv(index=False, lineterminator="\n"))
        page = write_learning_curve_report(self.folder)
        for path in (self.folder / CURVE_FACTS, self.folder / _TABLE, page):
            self.events.emit(FileMade(path))
        return LearningCurve(self.folder, read_json(self.folder / CURVE_FACTS), page)

    def _point(self, one: _Training) -> CurvePoint:
        cases = read_cases(evaluation_folder(one.run.folder, self.part) / "cases.csv")
        learned = one.run.facts("prepare.json", "learning-curve")["counts"]["train"]
        patients, samples = learned["patients"], learned["samples"]
        return CurvePoint(one.share, one.repeat, patients, samples, cases[cases["split"] == self.part])

    def _table(self, points: Sequence[CurvePoint]) -> pd.DataFrame:
        """A row for each headline of each training, with its interval over patients."""
        rows = []
        for one, point in zip(self.trainings(), points, strict=True):
            summary, seed = read_summary(one.run.folder, self.part), one.run.recipe.train.seed
            size = {"share": one.share, "repeat": one.repeat, "seed": seed, "patients": point.patients}
            for name in summary["headlines"]:
                if name in (metrics := summary[self.part]["metrics"]):
                    values = {key: metrics[name].get(key) for key in ("value", "low", "high", "n")}
                    rows.append({**size, "samples": point.samples, "metric": name, **values})
        return pd.DataFrame(rows)


def _trained_on(catalogue: pd.DataFrame) -> NDArray[Any]:
    return (catalogue["split"] == "train").to_numpy()


def _of_one(recipe: Recipe, repeat: int, longer: float) -> Recipe:
    """The recipe of a training, with its own seed and, if so asked, more epochs."""
    epochs = max(1, round(recipe.train.epochs * longer))
    train = recipe.train.model_copy(update={"seed": recipe.train.seed + repeat, "epochs": epochs})
    return recipe.model_copy(update={"train": train})


def _checked(shares: Sequence[float], repeats: int, *, same_steps: bool) -> dict[str, Any]:
    """What is asked for, in order."""
    wrong = [share for share in shares if not 0 < share <= 1]
    if wrong:
        raise UserError(f"--shares {wrong[0]:g}: expected shares of the training patients, above 0 and at most 1")
    asked = sorted(set(shares))
    if len(asked) < 2:
        raise UserError("--shares: a curve has at least two shares, such as 0.1 0.25 0.5 1")
    return {"shares": asked, "repeats": repeats, "same_steps": same_steps}


def _refuse_several(recipe: Recipe) -> None:
    if recipe.split.folds is not None and recipe.split.fold is None:
        raise RecipeError("split.folds: a learning curve has one split, whose test patients measure every training")
    if recipe.train.seeds > 1:
        raise RecipeError("train.seeds: a learning curve takes several seeds with --repeats; leave it out")


def _curve_folder(name: str | Path, curves: Path) -> Path:
    try:
        return run_folder(name, curves)
    except UserError as error:
        raise UserError(str(error).replace("--run", "--curve", 1)) from error


def _refuse_other(folder: Path, asked: dict[str, Any]) -> None:
    """Refuse a folder that holds something else, or a curve with other shares."""
    if (folder / _ASKED).is_file():
        before = read_json(folder / _ASKED)
        unlike = [key for key in ("shares", "same_steps") if before[key] != asked[key]]
        if unlike:
            raise UserError(
                f"{folder}: the curve began with other {' and '.join(unlike)}: {before[unlike[0]]}, and its shares lie "
                "within each other; take another name: --curve NAME"
            )
    elif folder.exists() and any(not path.name.startswith(OURS) for path in folder.iterdir()):
        raise UserError(f"--curve {folder}: it is there, it is not empty and it is no learning curve; choose another")
