"""What is known of a study, as plain JSON types: ``tuning.json``, from which its report is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medloom.files import read_json, write_json
from medloom.recipe import Parameter
from medloom.recipe.reference import yaml_text
from medloom.registry import METRICS
from medloom.tuning.confirm import confirmed_scores
from medloom.tuning.keeping import best_trial, ranked_trials
from medloom.tuning.luck import luck_facts
from medloom.tuning.plan import PREPARED, Study
from medloom.tuning.space import Values, label_of, labels_of
from medloom.tuning.storage import CAUSE, LOST, quiet

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

__all__ = ["FACTS", "price_facts", "write_facts"]

FACTS = "tuning.json"

_STATES = {"COMPLETE": "complete", "PRUNED": "given up", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}
_ENOUGH = 4
"""Trials from which something can be said of what is important."""


def write_facts(study: Study, storage: optuna.Study, retrained: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Write down what is known of a study, and return it.

    Args:
        study: The study.
        storage: Its trials.
        retrained: What is known of the training of its best settings on all patients but those who test.
    """
    facts = {**_facts(study, storage), "retrained": None if retrained is None else dict(retrained)}
    write_json(study.folder / FACTS, facts)
    return facts


def _facts(study: Study, storage: optuna.Study) -> dict[str, Any]:
    metric, config = METRICS[study.recipe.train.monitor], study.recipe.tune
    known = [trial for trial in storage.get_trials(deepcopy=False) if trial.state.name != "WAITING"]
    trials = [_trial(study, trial) for trial in known]
    best, ended = best_trial(study, storage), ranked_trials(study, storage)
    return {
        "name": study.folder.name,
        "recipe": study.recipe.name,
        "phantom": _prepared(study)["phantom"],
        "monitor": study.recipe.train.monitor,
        "meaning": metric.summary,
        "larger_is_better": metric.larger_is_better,
        "sampler": config.sampler,
        "pruner": "none" if study.has_cost else config.pruner,
        "cost": config.cost if study.has_cost else None,
        "folds": study.folds,
        "fast": study.fast,
        "validation": _prepared(study)["counts"]["validation"],
        "parameters": [_parameter(key, parameter) for key, parameter in study.space.parameters.items()],
        "trials": trials,
        "seconds": round(sum(trial["seconds"] for trial in trials), 3),
        "price": price_facts(config.price_per_hour, _busy_seconds(known)),
        "best": None if best is None else _trial(study, best),
        "own": _own(study, trials),
        "front": [trial.number for trial in storage.best_trials] if study.has_cost else [],
        "importances": _importances(storage, ended),
        "luck": None if best is None else _luck(study, best, len(ended)),
    }


def price_facts(price: str | None, seconds: float) -> dict[str, Any] | None:
    """Return what so long a use of a machine costs; None where no price is known.

    Args:
        price: Of an hour, with its currency, as ``tune.price_per_hour``.
        seconds: How long it was used.

    Example:
        >>> price_facts("2.50 EUR", 7200)
        {'per_hour': 2.5, 'currency': 'EUR', 'seconds': 7200, 'total': 5.0}
    """
    if price is None:
        return None
    amount, _, currency = price.partition(" ")
    total = round(float(amount) * seconds / 3600, 4)
    return {"per_hour": float(amount), "currency": currency, "seconds": seconds, "total": total}


def _busy_seconds(trials: Sequence[FrozenTrial]) -> float:
    """For how long machines did trials: several at a time on one machine count once."""
    busy = 0.0
    for host in {trial.user_attrs.get("host") for trial in trials}:
        spans = sorted(
            (trial.datetime_start.timestamp(), trial.datetime_complete.timestamp())
            for trial in trials
            if trial.user_attrs.get("host") == host and trial.datetime_start and trial.datetime_complete
        )
        until = 0.0
        for begun, ended in spans:
            busy += max(0.0, ended - max(begun, until))
            until = max(until, ended)
    return round(busy, 3)


def _prepared(study: Study) -> Mapping[str, Any]:
    facts: Mapping[str, Any] = read_json(study.folder / PREPARED / "prepare.json")
    return facts


def _parameter(key: str, parameter: Parameter) -> dict[str, Any]:
    choices = None if parameter.choices is None else [yaml_text(value) for value in parameter.choices]
    ends = None if parameter.ends is None else list(parameter.ends)
    return {"key": key, "log": parameter.log_uniform is not None, "ends": ends, "choices": choices}


def _trial(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    facts, values = trial.user_attrs.get("facts", {}), trial.user_attrs.get("values", {})
    lost = bool(trial.user_attrs.get(LOST))
    duration = trial.duration
    scores = list(trial.values or ()) if trial.state.name == "COMPLETE" else []
    return {
        "number": trial.number,
        "state": "taken up again" if lost else _STATES[trial.state.name],
        "score": scores[0] if scores else None,
        "cost": scores[1] if len(scores) > 1 else None,
        "values": values,
        "shown": {key: _shown(value) for key, value in values.items()},
        "positions": _positions(study, values),
        "seconds": 0.0 if duration is None else round(duration.total_seconds(), 3),
        "best_epochs": facts.get("best_epochs", []),
        "epochs": facts.get("epochs"),
        "folds": facts.get("folds", []),
        "cause": trial.user_attrs.get(CAUSE),
    }


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else yaml_text(value)


def _positions(study: Study, values: Values) -> dict[str, float]:
    """Where each value stands on an axis: a number itself, a choice by its place."""
    places = {}
    for key, value in values.items():
        parameter = study.space.parameters[key]
        labels = list(labels_of(parameter))
        places[key] = float(labels.index(label_of(value)) if parameter.choices is not None else value)
    return places


def _own(study: Study, trials: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The trial of the recipe as it is, if there was one."""
    own = study.space.own()
    return next((one for one in trials if own is not None and one["values"] == own and one["score"] is not None), None)


def _importances(storage: optuna.Study, ended: list[FrozenTrial]) -> dict[str, float]:
    """Share of each key in how the score varies (PED-ANOVA, Watanabe et al. 2023); empty of too few trials."""
    if len(ended) < _ENOUGH or len({trial.values[0] for trial in ended}) < _ENOUGH:
        return {}
    from optuna.importance import get_param_importances

    with quiet():
        found = get_param_importances(storage, target=lambda trial: float(trial.values[0]))
    return {key: round(float(share), 4) for key, share in found.items()}


def _luck(study: Study, best: FrozenTrial, tried: int) -> dict[str, Any] | None:
    again = confirmed_scores(study, best.number)
    larger = METRICS[study.recipe.train.monitor].larger_is_better
    return luck_facts(float(best.values[0]), again, tried, larger_is_better=larger) if again else None
