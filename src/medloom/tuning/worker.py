"""One process of a study: takes the next trial, does it, writes down how it ended, until there are enough.

Any number of them may share a study. What must not happen twice is done by one at a time, under a lock of the folder of
the trials: choosing a trial, and deciding which models are kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medloom.data.opening import Images
from medloom.errors import TrainingError
from medloom.events import Events, Noted
from medloom.locks import holding, sole
from medloom.tuning.keeping import best_trial, tidy
from medloom.tuning.plan import Study
from medloom.tuning.storage import (
    CAUSE,
    CONTINUES,
    HELD,
    beating,
    counted_trials,
    find_lost,
    lose,
    next_trial,
    opened,
    suggested,
)
from medloom.tuning.trial import Outcome, TrialTraining, cause_of, ends_study, run_trial

if TYPE_CHECKING:
    import optuna
    from optuna.trial import Trial

__all__ = ["Limits", "cost_of", "work"]

_HOPELESS = 5
"""So many trials fail in a row, and none before them came to its end: then no other is begun."""


@dataclass(frozen=True)
class Limits:
    """When a study is done.

    Args:
        trials: How many come to an end, those of earlier calls included.
        ends_at: No trial begins after this, seconds since 1970; None for as long as it takes.
    """

    trials: int
    ends_at: float | None = None


def work(
    study: Study, images: Images, limits: Limits, *, events: Events | None = None, train: TrialTraining = run_trial
) -> str | None:
    """Do trials until there are enough of them.

    Args:
        study: A prepared study.
        images: Folder or zip with the images.
        limits: How many, and until when.
        events: Told of everything; who listens may ask for an end.
        train: Trains with the settings of a trial; here by default.

    Returns:
        Why it stopped before there were enough, where someone asked it to; else None.

    Raises:
        TrainingError: If every trial fails.
        DiskFullError: If there is no room.
    """
    worker = _Worker(study, opened(study), images, events or Events(), train)
    while True:
        with worker.claimed(limits) as trial:
            if trial is None:
                return None
            stopped = worker.done(trial)
        if stopped:
            return "asked to stop"


def cost_of(study: Study, facts: Mapping[str, Any]) -> list[float]:
    """Return what is to be small beside a good score, where a study looks for that."""
    return [float(facts[study.recipe.tune.cost])] if study.has_cost else []


@dataclass
class _Worker:
    study: Study
    storage: optuna.Study
    images: Images
    events: Events
    train: TrialTraining

    @contextmanager
    def claimed(self, limits: Limits) -> Iterator[Trial | None]:
        """Take the next trial, and hold it as long as the block goes on; None if there are enough."""
        self.study.trials.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            with sole(self.study.trials):
                find_lost(self.study, self.storage)
                self._refuse_hopeless()
                trial = self._next(limits)
                if trial is not None:
                    folder = self._folder(trial)
                    held.enter_context(holding(folder / HELD, {}))
            yield trial

    def done(self, trial: Trial) -> bool:
        """Do a trial and write down how it ended; return whether someone asked for an end."""
        number, folder = trial.number, self.study.trial(trial.number)
        try:
            with beating(self.storage, trial):
                values = suggested(self.study, trial)
                trial.set_user_attr("values", values)
                self.events.emit(Noted(f"trial {number}: {_said(values)}"))
                recipe = self.study.space.recipe_of(values)
                report = self._report(trial)
                outcome = self.train(self.study, recipe, folder, self.images, report, events=self.events)
        except Exception as error:
            if ends_study(error):
                lose(self.storage, number, asked=True)
                raise
            self._failed(trial, error)
            return False
        except BaseException:  # someone stops the command
            lose(self.storage, number, asked=True)
            raise
        return self._ended(trial, outcome)

    def _next(self, limits: Limits) -> Trial | None:
        if limits.ends_at is not None and time.time() >= limits.ends_at:
            return None
        waits = any(trial.state.name == "WAITING" for trial in self.storage.get_trials(deepcopy=False))
        is_grid = self.study.recipe.tune.sampler == "grid"
        if len(counted_trials(self.storage)) >= limits.trials or (is_grid and not waits):
            return None
        return next_trial(self.study, self.storage)

    def _folder(self, trial: Trial) -> Path:
        """The folder of a trial; of one that goes on with another, that one's."""
        folder = self.study.trial(trial.number)
        before = trial.user_attrs.get(CONTINUES)
        if before is not None and self.study.trial(before).is_dir() and not folder.exists():
            self.study.trial(before).rename(folder)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _report(self, trial: Trial) -> Any:  # noqa: ANN401 - a Report
        if self.study.has_cost:  # Optuna prunes by one objective
            return lambda score, step: False

        def report(score: float, step: int) -> bool:
            trial.report(score, step)
            return bool(trial.should_prune())

        return report

    def _ended(self, trial: Trial, outcome: Outcome) -> bool:
        if outcome.state == "stopped":
            lose(self.storage, trial.number, asked=True)
            return True
        trial.set_user_attr("facts", outcome.facts)
        with sole(self.study.trials):
            if outcome.state == "pruned":
                self._tell(trial, None, "PRUNED")
                self.events.emit(Noted(f"trial {trial.number}: given up, {self._score(outcome.score)}"))
                return False
            before = best_trial(self.study, self.storage)
            self._tell(trial, [outcome.score, *cost_of(self.study, outcome.facts)], "COMPLETE")
            after = best_trial(self.study, self.storage)
        best = "  best so far" if after is not None and (before is None or before.number != after.number) else ""
        self.events.emit(Noted(f"trial {trial.number}: {self._score(outcome.score)}{best}"))
        return False

    def _failed(self, trial: Trial, error: Exception) -> None:
        trial.set_user_attr(CAUSE, cause_of(error))
        with sole(self.study.trials):
            self._tell(trial, None, "FAIL")
        self.events.emit(Noted(f"trial {trial.number}: failed: {cause_of(error)}"))

    def _tell(self, trial: Trial, values: list[float] | None, state: str) -> None:
        """Write down how a trial ended, and keep only what is needed of all of them. Hold the study's lock."""
        from optuna.trial import TrialState

        self.storage.tell(trial, values, TrialState[state])
        tidy(self.study, self.storage)

    def _score(self, score: float) -> str:
        return f"{self.study.recipe.train.monitor} {score:.4f}"

    def _refuse_hopeless(self) -> None:
        ended = [trial for trial in counted_trials(self.storage) if trial.state.is_finished()]
        failed = [trial.user_attrs.get(CAUSE, "") for trial in ended if trial.state.name == "FAIL"]
        if len(failed) >= _HOPELESS and len(failed) == len(ended):
            causes = ", ".join(dict.fromkeys(failed))
            raise TrainingError(
                f"{self.study.folder}: the first {len(failed)} trials failed, so no other is begun: {causes}. "
                "Look at the space, or train with one setting: medloom run"
            )


def _said(values: dict[str, Any]) -> str:
    from medloom.recipe.reference import yaml_text

    shown = {key: f"{value:.4g}" if isinstance(value, float) else yaml_text(value) for key, value in values.items()}
    return ", ".join(f"{key}={text}" for key, text in shown.items())
