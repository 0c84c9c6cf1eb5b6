"""All stages in one go: of one split, or of every fold and their ensemble."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medloom.data.opening import Images
from medloom.errors import UserError
from medloom.evaluation.parts import Part
from medloom.events import Events, Listener, Noted
from medloom.jobs import Job, uri_of
from medloom.pipeline.distilled import check_student
from medloom.pipeline.finished import finished_result, remember_finished
from medloom.pipeline.fold_jobs import fold_job, fold_name, plan_slots
from medloom.pipeline.folds import finish_folds, fold_runs, is_measured, teach_one
from medloom.pipeline.forecast import fit_budget, forecast
from medloom.pipeline.members import Members, train_members
from medloom.pipeline.names import DISTILLED, RUNS
from medloom.pipeline.preflight import check_recipe
from medloom.pipeline.profiled import say_profile
from medloom.pipeline.result import RunResult
from medloom.pipeline.runs import Run
from medloom.pipeline.seeds import finish_seeds, refuse_one_training, seed_run, seed_runs
from medloom.pipeline.served import check_can_serve
from medloom.pipeline.sizing import sized, sized_alike
from medloom.pipeline.stages.evaluate import evaluate
from medloom.pipeline.stages.package import package
from medloom.pipeline.stages.prepare import prepare
from medloom.pipeline.stages.report import report
from medloom.pipeline.stages.train import reason_of, train
from medloom.pipeline.starting import started_run
from medloom.pipeline.tracked import tracked
from medloom.recipe import Recipe
from medloom.recipe.settings import Settings, setting_texts

__all__ = ["planned_jobs", "run", "run_stages"]


def run(
    recipe: str | Path | Recipe,
    *,
    data: str | Path | None = None,
    run: str | Path | None = None,
    settings: Settings = (),
    on_event: Listener | Sequence[Listener] = (),
    runs: Path = RUNS,
    workers: int | None = None,
    jobs: int | None = None,
    again: bool = False,
    hold_back_test: bool = False,
    preset: str = "good",
    budget_s: float | None = None,
) -> RunResult:
    """Prepare, train, evaluate, package and report in one go.

    Without images the recipe's data set is downloaded from Kaggle if credentials are there; otherwise phantom images
    are made, and every output says so. Stopped at any moment, the same call goes on. A finished run is returned as it
    is.

    Args:
        recipe: Name of a built-in recipe, path of a YAML file, or a recipe.
        data: Folder or zip with the images; what the recipe says by default.
        run: Name of the run, or a path with a slash; the recipe's name by default.
        settings: Values of the recipe to override: texts such as ``train.epochs=5``, or ``{"train.epochs": 5}``.
        on_event: Who is told what happens; a listener that returns a ``Stop`` ends the training.
        runs: Folder that holds the runs.
        workers: Processes that read images; one a core by default.
        jobs: Folds to train at a time; as many as there are GPUs for by default, else one.
        again: Do every stage of a finished run again; what is trained is kept.
        hold_back_test: Measure on validation alone; ``evaluate`` opens the test set when that is wanted.
        preset: How much work goes into it: ``quick``, ``good`` (the recipe as it is) or ``best`` (folds and an
            ensemble); ``settings`` win.
        budget_s: Seconds for all of it: so many epochs are trained as fit, at most those of the recipe.

    Returns:
        The run directory, the bundle, the metrics and the pages; ``stopped`` says why if it was stopped before.

    Raises:
        UserError: If what came in was wrong.
        MedloomError: If the work failed.

    Example:
        >>> import medloom
        >>> result = medloom.run("brain-mri-small", settings={"train.epochs": 2})  # doctest: +SKIP
        >>> result.summary["test"]["metrics"]["dice_foreground"]["value"]  # doctest: +SKIP
        0.81
    """
    events = Events([on_event] if callable(on_event) else list(on_event))
    begun_s = time.monotonic()
    with started_run(
        recipe, run, runs=runs, settings=setting_texts(settings), preset=preset, in_budget=budget_s is not None,
        images=data, events=events,
    ) as (started, images):  # fmt: skip
        done = None if again or hold_back_test else finished_result(started, images, events=events)
        return done or run_stages(
            started, images, workers=workers, jobs=jobs, hold_back_test=hold_back_test, events=events,
            ends_s=None if budget_s is None else begun_s + budget_s,
        )  # fmt: skip


def planned_jobs(run: Run, command: Sequence[str], images: str | Images | None, jobs: int | None) -> list[Job]:
    """Return the jobs that a run would be, without doing anything: one for each fold or seed that is left, or one.

    Args:
        run: The run, of which nothing need be there.
        command: The command that does the whole run.
        images: Folder, zip or URI of the images, where they are given.
        jobs: Folds at a time.
    """
    members = fold_runs(run) or seed_runs(run)
    left = [number for number, member in enumerate(members) if not is_measured(member)]
    inputs = () if images is None else (uri_of(str(images)),)
    if not members:
        return [Job(run.recipe.name, tuple(command), inputs, (uri_of(run.folder),))]
    slots, what = plan_slots(run.recipe, max(1, len(left)), jobs), "fold" if fold_runs(run) else "seed"
    return [fold_job(members[number], fold_name(number, len(members), what), slots[0]) for number in left]


def run_stages(
    run: Run,
    images: Images,
    *,
    workers: int | None = None,
    jobs: int | None = None,
    hold_back_test: bool = False,
    ends_s: float | None = None,
    events: Events | None = None,
) -> RunResult:
    """Do all stages of a run, of every fold or seed where there are several. One that is measured is not done again.

    Args:
        run: The run.
        images: Folder or zip with the images.
        workers: Processes that read images.
        jobs: Folds to train at a time.
        hold_back_test: Measure on validation alone.
        ends_s: When all is to be done, by ``time.monotonic``; None for as long as it takes.
        events: Told what happens.

    Raises:
        MedloomError: If the work failed, or a user's mistake is found.
    """
    events = events or Events()
    check_recipe(run, trains=True, events=events)
    check_student(run.recipe)
    folds = fold_runs(run)
    if folds and hold_back_test:
        raise UserError(
            "--hold-back-test: with split.folds every patient is tested by one of the folds, so there is no test set "
            "to hold back; leave out one of the two"
        )
    _check_budget(run, jobs, ends_s)
    distils = run.recipe.package.serve == DISTILLED
    with tracked(run, events) as told:
        work = _Work(images, workers, jobs, "validation" if hold_back_test else "test", told, ends_s, distils)
        several = work.in_seeds if run.recipe.train.seeds > 1 else work.one_split
        result = work.in_folds(run, folds) if folds else several(run)
    if result.stopped is None and not hold_back_test:
        remember_finished(run, images)
    return result


def _check_budget(run: Run, jobs: int | None, ends_s: float | None) -> None:
    """Refuse a budget that nothing would keep to."""
    if ends_s is not None and (jobs or 1) > 1:
        raise UserError(
            "--budget: with --jobs it is not foreseen how long several trainings take; leave out one of the two"
        )
    if ends_s is not None and run.recipe.train.strategy == "average":
        raise UserError(
            "--budget: how fast workers train together is not measured, so it is not known what fits; set "
            "train.strategy=single, or leave --budget out and set train.epochs"
        )
    if ends_s is not None and run.recipe.train.devices > 1:
        raise UserError(
            "--budget: how fast several processes train together is not measured, so it is not known what fits; set "
            "train.devices=1, or leave --budget out and set train.epochs"
        )
    if ends_s is not None and run.recipe.package.serve == DISTILLED:
        raise UserError(
            "--budget: with package.serve=distilled it is not foreseen how long the one network learns; leave out one "
            "of the two"
        )


@dataclass
class _Work:
    """What the stages of a run have in common, and what was set aside on the way."""

    images: Images
    workers: int | None
    jobs: int | None
    part: Part
    events: Events
    ends_s: float | None = None
    distils: bool = False
    set_aside: list[str] = field(default_factory=list)

    def one_split(self, run: Run) -> RunResult:
        """All stages of one split."""
        run = self.foreseen(sized(self.prepared(run), images=self.images, events=self.events))
        trained = train(run, images=self.images, baselines=self.part, events=self.events)
        if not trained.finished:
            return self.stopped(run, reason_of(trained))
        say_profile(run, self.events)
        summary = evaluate(run, part=self.part, images=self.images, events=self.events)
        package(run, events=self.events)
        return self.reported(run, summary)

    def in_folds(self, run: Run, folds: list[Run]) -> RunResult:
        """Every fold, then what they say together."""
        folds = sized_alike(folds)

        def ready(fold: Run) -> Run:
            prepared = self.prepared(fold)
            check_can_serve(run, prepared)
            run.save()
            return prepared

        if all(is_measured(fold) for fold in folds):  # whether the images are still those that they were trained on
            check_can_serve(run, self.prepared(folds[0]))
        stopped = self.all_of(Members("fold", folds, ready, self.images))
        if stopped is not None:
            return self.stopped(run, stopped)
        taught = teach_one(run, folds, images=self.images, events=self.events)
        if taught is not None and not taught.finished:
            return self.stopped(run, reason_of(taught))
        summary = finish_folds(run, folds, images=self.images, events=self.events)
        return self.reported(Run.open(run.folder), summary)

    def in_seeds(self, run: Run) -> RunResult:
        """Every seed on the same split, then how far apart they are."""
        refuse_one_training(run)
        whole = self.prepared(run)
        seeds = seed_runs(whole)
        stopped = self.all_of(Members("seed", seeds, lambda seed: seed_run(whole, seed, self.images), self.images))
        if stopped is not None:
            return self.stopped(run, stopped)
        return self.reported(whole, finish_seeds(whole, seeds, part=self.part, events=self.events))

    def all_of(self, members: Members) -> str | None:
        """Train and measure those members that are not yet; return why it was stopped before their end, if it was."""
        jobs = 1 if self.ends_s is not None else self.jobs  # the pace is that of one at a time
        return train_members(members, jobs=jobs, part=self.part, foresee=self.foreseen, events=self.events)

    def prepared(self, run: Run) -> Run:
        """Prepare a run; what was found out about its target is in the one that is returned."""
        found = prepare(run, self.images, workers=self.workers, events=self.events)
        self.set_aside += [text for text in found.set_aside if text not in self.set_aside]
        return Run.open(run.folder)

    def foreseen(self, run: Run, runs: int = 1) -> Run:
        """Say how long the training of a run will take, and fit it into the time that is left."""
        found = forecast(run, images=self.images, runs=runs, events=self.events)
        if self.distils:
            self.events.emit(
                Noted("the forecast is without the training of the one network that learns from the folds")
            )
        if self.ends_s is None or found is None:
            return run
        epochs = fit_budget(run.recipe.train.epochs, found, self.ends_s - time.monotonic())
        if epochs == run.recipe.train.epochs:
            return run
        self.events.emit(Noted(f"train.epochs: {epochs} instead of {run.recipe.train.epochs}, which fit the budget"))
        return run.with_epochs(epochs).save()

    def stopped(self, run: Run, reason: str) -> RunResult:
        return RunResult(run.folder, set_aside=tuple(self.set_aside), stopped=reason)

    def reported(self, run: Run, summary: Mapping[str, Any]) -> RunResult:
        pages = report(run, events=self.events)
        return RunResult(
            run.folder,
            run.facts("prepare.json", "prepare"),
            run.facts("training.json", "train"),
            summary,
            run.bundle,
            tuple(pages),
            tuple(self.set_aside),
        )
