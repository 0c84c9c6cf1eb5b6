"""One trial: a training, or one for each fold, whose score is that of its best epoch."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from medloom import pipeline
from medloom.data.opening import Images
from medloom.errors import DiskFullError, MedloomError, NonFiniteLossError, RecipeError, UserError
from medloom.events import EpochEnded, Event, Events, Listener, RuleFired, Stop
from medloom.files import is_disk_full, read_json
from medloom.recipe import Recipe
from medloom.registry import METRICS
from medloom.tuning.plan import Study
from medloom.tuning.shared import trial_run

__all__ = [
    "Outcome",
    "PlaceError",
    "Report",
    "TrialTraining",
    "cause_of",
    "ends_study",
    "facts_of_trained",
    "run_trial",
]

Report = Callable[[float, int], bool]
"""Told the best score so far and the epoch, counted over all folds; returns whether the trial is given up."""

PRUNED = "given up: its best epoch so far is worse than that of other trials"

_NO_MEMORY = re.compile(r"out of memory|not enough memory|can't allocate|cannot allocate", re.IGNORECASE)


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Args:
        state: ``complete``; ``pruned``; ``stopped``, if someone asked for an end and it can go on.
        score: Metric of the best epoch, or the mean over folds; NaN if there is none.
        facts: What is kept of it, as plain JSON types.
    """

    state: Literal["complete", "pruned", "stopped"]
    score: float = math.nan
    facts: dict[str, Any] = field(default_factory=dict)


class TrialTraining(Protocol):
    """Trains with the settings of a trial somewhere, as ``run_trial`` does here."""

    def __call__(
        self,
        study: Study,
        recipe: Recipe,
        folder: Path,
        images: Images,
        report: Report,
        *,
        events: Events | None = None,
    ) -> Outcome:
        """Train; the arguments are those of ``run_trial``."""


def run_trial(
    study: Study, recipe: Recipe, folder: Path, images: Images, report: Report, *, events: Events | None = None
) -> Outcome:
    """Train with the settings of a trial, or go on where that was stopped.

    Args:
        study: The study.
        recipe: With the settings of the trial.
        folder: Of the trial.
        images: Folder or zip with the images.
        report: Told after every epoch.
        events: Told of everything.

    Raises:
        MedloomError: If the training failed; so do other exceptions, of settings with which no network can be trained.
    """
    folds: list[int | None] = [None] if study.folds is None else list(range(study.folds))
    watch = _Watch(recipe, report)
    listeners = list(events.listeners) if events else []
    for fold in folds:
        place = folder if fold is None else folder / f"fold-{fold}"
        run = trial_run(study, recipe, place, fold, images, events or Events())
        run = pipeline.sized(run, images=images, events=events)
        watch.begin_fold(place)
        result = pipeline.train(
            run, images=images, baselines="none", events=Events([watch, *map(_without_findings, listeners)])
        )
        facts = read_json(place / "training.json")
        if not result.finished:
            return Outcome("pruned" if watch.pruned else "stopped", watch.score, _facts(watch, [facts]))
        watch.end_fold(result.best_metric, facts)
    if math.isnan(watch.score):
        raise MedloomError(f"no epoch has the metric {recipe.train.monitor}")
    return Outcome("complete", watch.score, _facts(watch, watch.trained))


def cause_of(error: BaseException) -> str:
    """Say why a trial failed, in words that hold no name of a sample or file.

    Example:
        >>> cause_of(MemoryError()), cause_of(NonFiniteLossError(7, ["s1"], None))
        ('out of memory', 'the loss of step 7 was not finite')
    """
    if isinstance(error, NonFiniteLossError):
        return f"the loss of step {error.step} was not finite"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or _NO_MEMORY.search(str(error)):
        return "out of memory"
    if isinstance(error, RecipeError):
        return str(error).splitlines()[0]
    return type(error).__name__


class PlaceError(UserError):
    """The place where trials run refuses them, so that no other would fare better: rights, images, a version."""


def ends_study(error: BaseException) -> bool:
    """Whether an error is not the fault of a trial's settings, so that no other would fare better."""
    return isinstance(error, DiskFullError | PlaceError) or is_disk_full(error)


class _Watch:
    """Follows the best epoch of a trial over its folds, and asks for an end where the trial is given up."""

    def __init__(self, recipe: Recipe, report: Report) -> None:
        self._monitor = METRICS[recipe.train.monitor].column or recipe.train.monitor
        self._larger = METRICS[recipe.train.monitor].larger_is_better
        self._epochs, self._report = recipe.train.epochs, report
        self._best = math.nan
        self.scores: list[float] = []
        self.trained: list[dict[str, Any]] = []
        self.pruned = False

    @property
    def score(self) -> float:
        """Mean of the best epochs of the folds, of the one that is under way as far as it is."""
        known = [*self.scores, *([] if math.isnan(self._best) else [self._best])]
        return sum(known) / len(known) if known else math.nan

    def begin_fold(self, folder: Path) -> None:
        """Begin a fold, or go on with it from the epochs that it has."""
        self._best = math.nan
        for line in _lines(folder / "metrics.jsonl"):
            self._see(line.get(self._monitor))

    def end_fold(self, best: float, facts: dict[str, Any]) -> None:
        self._best = math.nan
        self.scores.append(best)
        self.trained.append(facts)

    def __call__(self, event: Event) -> Stop | None:
        if isinstance(event, RuleFired) and event.ends:
            self.pruned = True  # the rules of the recipe give it up, nobody else
        if not isinstance(event, EpochEnded):
            return None
        self._see(event.metrics.get(self._monitor))
        if math.isnan(self.score):
            return None
        self.pruned = self._report(self.score, len(self.scores) * self._epochs + event.epoch)
        return Stop(PRUNED) if self.pruned else None

    def _see(self, value: float | None) -> None:
        if value is not None and not math.isnan(value):
            better = math.isnan(self._best) or (value > self._best if self._larger else value < self._best)
            self._best = value if better else self._best


def _without_findings(listener: Listener) -> Listener:
    """Leave out what rules find: in a study many settings are bad on purpose. Each trial keeps it in its file."""
    return lambda event: None if isinstance(event, RuleFired) else listener(event)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


def _facts(watch: _Watch, trained: list[dict[str, Any]]) -> dict[str, Any]:
    return {**facts_of_trained(trained), "folds": watch.scores if len(watch.scores) > 1 else []}


def facts_of_trained(trained: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what is kept of the trainings of a trial, one or one for each fold."""
    return {
        "best_epochs": [one["best_epoch"] for one in trained],
        "epochs": sum(one["epochs"] for one in trained),
        "seconds": round(sum(one["seconds"] for one in trained), 3),
        "parameters": trained[0]["parameters"],
        "folds": [],
        "device": trained[0]["device"],
    }
