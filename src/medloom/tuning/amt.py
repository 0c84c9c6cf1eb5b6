"""A study whose settings SageMaker's own tuner chooses: it searches there, and what it found is a study as any other.

The tuner (Automatic Model Tuning) takes the flat part of a space: ranges and choices that do not depend on each other.
Its trainings come back as trials of the study, so the best is packaged, the report is written, and the study may go on
with Optuna.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from medloom.backends.api import State
from medloom.backends.sagemaker.account import Account
from medloom.backends.sagemaker.calls import check
from medloom.backends.sagemaker.jobs import job_facts
from medloom.backends.sagemaker.note import Note
from medloom.backends.sagemaker.place import Place
from medloom.backends.sagemaker.recipes import SentRecipe, written_recipe
from medloom.backends.sagemaker.training import Training
from medloom.backends.sagemaker.tuner import Search, TunerTrial, follow_search, search_call, search_trials
from medloom.data.opening import Images
from medloom.errors import MedloomError, RecipeError, UserError
from medloom.events import Events, Noted
from medloom.extras import require
from medloom.files import read_json
from medloom.recipe import Parameter
from medloom.recipe.loading import written_values
from medloom.registry import METRICS
from medloom.tuning.keeping import best_trial, tidy
from medloom.tuning.plan import Study
from medloom.tuning.sagemaker import FROM_THERE, fetch_trained
from medloom.tuning.shared import trial_run
from medloom.tuning.space import Space, Values
from medloom.tuning.storage import CAUSE, counted_trials, labelled, opened, quiet, suggested
from medloom.tuning.trial import PlaceError, facts_of_trained
from medloom.tuning.worker import Limits
from medloom.wording import one_line

if TYPE_CHECKING:
    import optuna

__all__ = ["AmtSearch", "ranges_of", "search_of", "values_of"]

KIND = "tuning"

_WAY_OUT = "leave out --tuner amt: then Optuna chooses here, and each trial is a training job there all the same"
_STRATEGIES = {"tpe": "Bayesian", "gp": "Bayesian", "random": "Random", "grid": "Grid"}
_PRUNERS = {"median": True, "none": False}
_MOST_CHOICES = 30
_SMALL = ("metrics.jsonl", "training.json", "diagnosis.json")
"""What is fetched of every trial; of the best one all."""

_JOB, _JOBS, _DONE = "job", "tuning_jobs", "tuned_for"
_NEAR = 1e-5
"""The lines from which SageMaker reads metrics have six decimals."""


def ranges_of(space: Space, points: int | None = None) -> dict[str, list[dict[str, Any]]]:
    """Return a space as SageMaker's tuner takes it.

    Args:
        space: What is searched.
        points: Of a grid: so many values of each range; None for no grid.

    Raises:
        RecipeError: If it holds what the tuner cannot search; the message says the way out.

    Example:
        >>> from medloom.recipe import load_recipe
        >>> ranges_of(Space.of(load_recipe("chest-xray")))["ContinuousParameterRanges"][0]["ScalingType"]
        'Logarithmic'
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for key, parameter in space.parameters.items():
        _refuse_dependent(key, parameter, space.parameters)
        choices = _choices(key, parameter, space, points)
        if choices is not None:
            kind, said = "Categorical", {"Name": key, "Values": list(choices)}
        else:
            low, high = parameter.ends or (0.0, 0.0)
            kind = "Integer" if parameter.integer else "Continuous"
            scale = "Logarithmic" if parameter.log_uniform else "Linear"
            said = {"Name": key, "MinValue": json.dumps(low), "MaxValue": json.dumps(high), "ScalingType": scale}
        found.setdefault(f"{kind}ParameterRanges", []).append(said)
    return found


def _refuse_dependent(key: str, parameter: Parameter, parameters: Mapping[str, Parameter]) -> None:
    if parameter.when:
        raise RecipeError(f"tune.space.{key}: SageMaker's tuner knows no `when`; {_WAY_OUT}")
    within = [other for other in parameters if key.startswith(f"{other}.")]
    if within:
        raise RecipeError(f"tune.space.{key}: is inside {within[0]}, which SageMaker's tuner cannot know; {_WAY_OUT}")


def _choices(key: str, parameter: Parameter, space: Space, points: int | None) -> dict[str, Any] | None:
    """Values by their texts, of what is a choice there: ranges with a step, too, for the tuner knows no steps."""
    if parameter.choices is not None:
        values: Sequence[Any] = parameter.choices
    elif points is not None or parameter.step is not None:
        values = space.points(key, points or 2)
    else:
        return None
    if len(values) > _MOST_CHOICES:
        steps = "" if parameter.choices is not None else "; leave out step, or make it larger"
        raise RecipeError(
            f"tune.space.{key}: {len(values)} values; SageMaker's tuner takes {_MOST_CHOICES} at most{steps}"
        )
    return {_text(value): value for value in values}


def _text(value: object) -> str:
    """A value as hyper-parameters have it."""
    return value if isinstance(value, str) else json.dumps(value)


def values_of(space: Space, tuned: Mapping[str, str], points: int | None = None) -> Values:
    """Return the values of a trial from the texts that the tuner chose.

    Args:
        space: What is searched.
        tuned: Texts by key.
        points: As in ``ranges_of``.

    Raises:
        UserError: If one is missing, or none of the choices: it was another space.
    """

    def choose(key: str, parameter: Parameter) -> Any:  # noqa: ANN401 - anything a recipe can hold
        choices = _choices(key, parameter, space, points)
        try:
            if choices is not None:
                return choices[tuned[key]]
            return round(float(tuned[key])) if parameter.integer else float(tuned[key])
        except (KeyError, ValueError) as error:
            raise UserError(f"{key}: the tuner chose {tuned.get(key)!r}, which this space does not have") from error

    return space.chosen(choose)


def search_of(
    study: Study, like: Training, place: Place, trials: int, at_a_time: int, patience: int | None = None
) -> tuple[Search, SentRecipe]:
    """Return the search of a study, and its recipe, which has to be sent before; nothing is done.

    Args:
        study: The study.
        like: Image, machine and longest time of its trainings, and the images.
        place: Where.
        trials: How many at most.
        at_a_time: How many at once.
        patience: It ends after so many in a row that are not better.

    Raises:
        RecipeError: If the tuner cannot search so.
    """
    config, space = study.recipe.tune, study.space
    if config.sampler not in _STRATEGIES:
        raise RecipeError(f"tune.sampler: SageMaker's tuner has no {config.sampler}; {_WAY_OUT}")
    if config.pruner not in _PRUNERS:
        raise RecipeError(
            f"tune.pruner: SageMaker's tuner has no {config.pruner}; take median or none: --set tune.pruner=median. "
            f"Or {_WAY_OUT}"
        )
    is_grid = config.sampler == "grid"
    ranges = ranges_of(space, config.grid_points if is_grid else None)
    size = math.prod(len(one["Values"]) for one in ranges.get("CategoricalParameterRanges", []))
    if is_grid and size > trials:
        raise RecipeError(
            f"tune.sampler: the grid has {size} settings, and SageMaker's tuner tries all: --trials {size}"
        )
    run = f"{study.folder.name}-search"
    values = written_values(study.recipe)
    values.get("data", {}).pop("path", None)
    sent = written_recipe(yaml.safe_dump(values, sort_keys=False), run, place)
    common = replace(like, run=run, settings={}, channels={**like.channels, **sent.channels})
    larger = METRICS[study.recipe.train.monitor].larger_is_better
    search = Search(
        common, ranges, larger, None if is_grid else trials, at_a_time, _STRATEGIES[config.sampler], config.seed,
        _PRUNERS[config.pruner], patience,
    )  # fmt: skip
    return search, sent


@dataclass(frozen=True)
class AmtSearch:
    """Does the trials of a study there, chosen there; given to ``tune`` as ``elsewhere``.

    Args:
        account: The account.
        place: Where in it.
        like: What all trainings have in common.
        at_a_time: How many at once.
        patience: The search ends after so many in a row that are not better.
        detach: Whether the end is not waited for.
    """

    account: Account
    place: Place
    like: Training
    at_a_time: int
    patience: int | None = None
    detach: bool = False

    def __call__(self, study: Study, images: Images, limits: Limits, events: Events) -> str | None:
        """Search until there are enough trials; return why it stopped before, as ``work`` does.

        Raises:
            PlaceError: If AWS refuses, or the images there are others.
        """
        storage = opened(study)
        if storage.user_attrs.get(_DONE, 0) >= limits.trials:
            return None
        try:
            return self._searched(study, storage, images, limits, events)
        except UserError as error:
            raise error if isinstance(error, RecipeError) else PlaceError(str(error)) from error

    def _searched(
        self, study: Study, storage: optuna.Study, images: Images, limits: Limits, events: Events
    ) -> str | None:
        name = self._taken_up(study, storage) or self._begun(study, storage, limits, events)
        if self.detach:
            return f"{name} goes on there"
        facts = follow_search(self.account, name, lambda text: events.emit(Noted(text)))
        self._record(study, storage, search_trials(self.account, name), images, events)
        if facts.status.state == State.CANCELLED:
            return f"{name} was stopped there"
        storage.set_user_attr(_DONE, limits.trials)
        return None

    def _taken_up(self, study: Study, storage: optuna.Study) -> str | None:
        """The search of the study that goes on, or that ended while nobody looked."""
        note = Note.read(study.folder)
        if note is None or note.kind != KIND:
            return None
        goes_on = not job_facts(self.account, note.job, KIND).status.ended
        known = {trial.user_attrs.get(_JOB) for trial in storage.get_trials(deepcopy=False)}
        return (
            note.job if goes_on or any(one.job not in known for one in search_trials(self.account, note.job)) else None
        )

    def _begun(self, study: Study, storage: optuna.Study, limits: Limits, events: Events) -> str:
        left = limits.trials - len(counted_trials(storage))
        if left <= 0:
            raise UserError(f"{study.folder}: it has {limits.trials} trials already; more: --trials")
        search, sent = search_of(study, self.like, self.place, left, self.at_a_time, self.patience)
        parents = tuple(storage.user_attrs.get(_JOBS, []))
        search = replace(search, parents=parents if search.strategy != "Grid" else ())
        call = check(search_call(search, self.place))
        sent.upload(self.account, self.place)
        self.account.send(call, "the search cannot begin")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        run = search.like.run
        Note(search.name, self.place.region, self.place.bucket, self.place.prefix, run, now, KIND).save(study.folder)
        storage.set_user_attr(_JOBS, [*parents, search.name])
        events.emit(Noted(f"begun: {search.name} in {self.place.region}, {left} trials at most"))
        return search.name

    def _record(
        self, study: Study, storage: optuna.Study, trials: Sequence[TunerTrial], images: Images, events: Events
    ) -> None:
        """Make trials of the study of the trainings there, and bring the model of the best one."""
        known = {trial.user_attrs.get(_JOB) for trial in storage.get_trials(deepcopy=False)}
        for one in trials:
            if one.job not in known and one.state != "running":
                self._add(study, storage, one, images, events)
        best = best_trial(study, storage)
        if best is not None and _JOB in best.user_attrs:
            folder = study.trial(best.number)
            if not (folder / "checkpoints").is_dir():
                self._fetch(best.user_attrs[_JOB], folder, FROM_THERE, best.user_attrs["values"])
        tidy(study, storage)

    def _add(self, study: Study, storage: optuna.Study, one: TunerTrial, images: Images, events: Events) -> None:
        points = study.recipe.tune.grid_points if study.recipe.tune.sampler == "grid" else None
        values = values_of(study.space, one.tuned, points)
        folder = study.trial(len(storage.get_trials(deepcopy=False)))
        known: dict[str, Any] = {"values": values, _JOB: one.job, "host": one.job}
        score = None
        if one.state == "complete":
            trial_run(study, study.space.recipe_of(values), folder, None, images, events)
            self._fetch(one.job, folder, _SMALL, values)
            trained = read_json(folder / "training.json")
            score = _score(one, trained)
            known["facts"] = {**facts_of_trained([trained]), _JOB: one.job}
        elif one.state == "failed":
            known[CAUSE] = one_line(one.reason, 300) or "its job failed"
        storage.add_trial(_frozen(study, one, values, score, known))
        shown = "" if score is None else f", {study.recipe.train.monitor} {score:.4f}"
        events.emit(Noted(f"{one.job}: {one.state}{shown}"))

    def _fetch(self, job: str, folder: Path, names: Sequence[str], values: Values) -> None:
        """Fetch what a training wrote: below the checkpoints of its job, in the folder of its own name."""
        said = job_facts(self.account, job).plain["CheckpointConfig"]["S3Uri"]
        fetch_trained(self.account, f"{said.rstrip('/')}/{job}", folder, names, values)


def _score(one: TunerTrial, trained: Mapping[str, Any]) -> float:
    """The metric of the best epoch, as the training wrote it; the tuner judged by the same."""
    found = trained["best_metric"]
    if found is None:
        raise MedloomError(f"{one.job}: no epoch has the metric")
    if one.score is None or not math.isclose(one.score, float(found), rel_tol=_NEAR, abs_tol=_NEAR):
        raise MedloomError(f"{one.job}: the tuner judged it by {one.score}, and its best epoch has {found}")
    return float(found)


def _frozen(
    study: Study, one: TunerTrial, values: Values, score: float | None, known: Mapping[str, Any]
) -> optuna.trial.FrozenTrial:
    """A training there as a trial that has ended, with its own times."""
    library = require("optuna", "tune")
    states = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    fixed = library.trial.FixedTrial(labelled(values))
    suggested(study, fixed)
    with quiet():
        trial = library.trial.create_trial(
            state=library.trial.TrialState[states[one.state]],
            value=score,
            params=fixed.params,
            distributions=fixed.distributions,
            user_attrs=dict(known),
        )
    if one.begun is not None and one.ended is not None:  # Optuna's times are those of the clock on the wall
        trial.datetime_start = one.begun.astimezone().replace(tzinfo=None)
        trial.datetime_complete = one.ended.astimezone().replace(tzinfo=None)
    made: optuna.trial.FrozenTrial = trial
    return made
