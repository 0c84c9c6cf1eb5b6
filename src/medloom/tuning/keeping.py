"""Which models of a study stay on the disk: that of the best trial so far, and what a trial needs that goes on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from medloom.tuning.plan import Study
from medloom.tuning.storage import CONTINUES

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

__all__ = ["best_trial", "ranked_trials", "tidy"]

_FACTS = ("recipe.yaml", "metrics.jsonl", "training.json", "diagnosis.json")
"""What stays of every trial."""


def ranked_trials(study: Study, storage: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that came to their end, the best score first; of equal ones the earlier."""
    ended = [trial for trial in storage.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    sign = -1 if study.directions[0] == "maximize" else 1
    return sorted(ended, key=lambda trial: (sign * trial.values[0], trial.number))


def best_trial(study: Study, storage: optuna.Study) -> FrozenTrial | None:
    """Return the trial with the best score; None if none has come to its end."""
    ranked = ranked_trials(study, storage)
    return ranked[0] if ranked else None


def tidy(study: Study, storage: optuna.Study) -> None:
    """Remove the weights of every trial but the best one and those that go on. Hold the study's lock.

    With folds no trial has the model that is packaged, so none is kept.
    """
    known = storage.get_trials(deepcopy=False)
    best = best_trial(study, storage) if study.folds is None else None
    goes_on = {trial.user_attrs.get(CONTINUES) for trial in known if trial.state.name == "WAITING"}
    for trial in known:
        ended = trial.state.is_finished() and trial.number not in goes_on
        if ended and (best is None or trial.number != best.number):
            _strip(study.trial(trial.number))


def _strip(folder: Path) -> None:
    for path in [*folder.glob("*"), *folder.glob("fold-*/*")]:
        if path.name in _FACTS or path.name.startswith("fold-"):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
