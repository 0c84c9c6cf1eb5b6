"""The trials of a study in Optuna's SQLite file, which several processes use at a time and which survives all of them.

A trial that is running has a file that its process holds locked, and a heartbeat in the storage for processes on other
machines. Whoever looks next for something to do finds trials whose process is gone, marks them as lost, and lays down
the same settings again.
"""

from __future__ import annotations

import os
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medloom.extras import require
from medloom.locks import holding, is_held
from medloom.recipe import Parameter
from medloom.tuning.plan import Study
from medloom.tuning.samplers import build_pruner, build_sampler
from medloom.tuning.space import Values, label_of, labels_of

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial

__all__ = [
    "AGAIN",
    "CAUSE",
    "CONTINUES",
    "HELD",
    "LOST",
    "beating",
    "counted_trials",
    "find_lost",
    "first_settings",
    "labelled",
    "lay_down",
    "lose",
    "next_trial",
    "opened",
    "quiet",
    "suggested",
]

DATABASE = "study.db"
HELD = ".medloom-trial.json"
"""File of a trial that its process holds."""

LOST = "lost"
CAUSE = "cause"
CONTINUES = "continues"
AGAIN = "again"
KILLED = "its process was killed, most likely for want of memory"

_TIMES = 2
"""How often settings are tried again whose process was killed."""

_BEAT_S = 30
_GRACE_S = 240
_WAIT_S = 120
"""For a storage that another process writes into."""


def opened(study: Study) -> optuna.Study:
    """Open the storage of a study; make it if it is not there."""
    library = require("optuna", "tune")
    library.logging.set_verbosity(library.logging.ERROR)
    study.folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        storage = library.storages.RDBStorage(
            f"sqlite:///{(study.folder / DATABASE).absolute()}",
            engine_kwargs={"connect_args": {"timeout": _WAIT_S}},
            heartbeat_interval=_BEAT_S,
            grace_period=_GRACE_S,
        )
        made: optuna.Study = library.create_study(
            storage=storage,
            study_name=study.folder.name,
            directions=study.directions,
            pruner=build_pruner(study.recipe.tune, study.steps),
            load_if_exists=True,
        )
    return made


def lay_down(study: Study, storage: optuna.Study) -> None:
    """Lay down what is tried before anything is chosen: the recipe as it is, or every setting of a grid."""
    if storage.get_trials(deepcopy=False):
        return
    with quiet():
        for values in first_settings(study):
            storage.enqueue_trial(labelled(values))


def first_settings(study: Study) -> list[Values]:
    """Return what is tried before anything is chosen; see ``lay_down``."""
    if study.recipe.tune.sampler == "grid":
        import random

        settings = study.space.grid(study.recipe.tune.grid_points)
        random.Random(study.recipe.tune.seed).shuffle(settings)  # noqa: S311 - no secret
        return settings
    own = study.space.own()
    return [] if own is None else [own]


def next_trial(study: Study, storage: optuna.Study) -> Trial:
    """Return a new trial: one that was laid down, else one whose settings will be chosen. Hold the study's lock."""
    storage.sampler = build_sampler(study.recipe.tune, len(storage.get_trials(deepcopy=False)))
    with quiet():
        trial = storage.ask()
    trial.set_user_attr("host", socket.gethostname())
    trial.set_user_attr("process", os.getpid())
    return trial


def suggested(study: Study, trial: Trial) -> Values:
    """Return the settings of a trial."""

    def choose(key: str, parameter: Parameter) -> Any:  # noqa: ANN401 - whatever the key takes
        if parameter.integer:
            return trial.suggest_int(key, *parameter.integer, step=int(parameter.step or 1))
        if parameter.log_uniform:
            return trial.suggest_float(key, *parameter.log_uniform, log=True)
        if parameter.uniform:
            return trial.suggest_float(key, *parameter.uniform, step=parameter.step)
        labels = labels_of(parameter)
        return labels[trial.suggest_categorical(key, list(labels))]

    with quiet():
        return study.space.chosen(choose)


def find_lost(study: Study, storage: optuna.Study) -> None:
    """Mark the trials whose process is gone, and lay their settings down again. Hold the study's lock."""
    with quiet():
        require("optuna", "tune").storages.fail_stale_trials(storage)  # of other machines
    for trial in storage.get_trials(deepcopy=False):
        if trial.state.name == "RUNNING" and _is_gone(study, trial):
            lose(storage, trial.number)


def lose(storage: optuna.Study, number: int, *, asked: bool = False) -> None:
    """Take a trial back that did not come to its end; it goes on as another.

    One whose process is killed again and again is recorded as failed: it may be what needs too much memory.

    Args:
        storage: Of the study.
        number: Of the trial.
        asked: Whether someone asked the study to stop.
    """
    trial = storage.get_trials(deepcopy=False)[number]
    again = trial.user_attrs.get(AGAIN, 0) + 1
    known = {LOST: True} if again <= _TIMES or asked else {CAUSE: KILLED}
    for name, value in known.items():
        storage._storage.set_trial_user_attr(trial._trial_id, name, value)
    storage.tell(number, state=_state("FAIL"))
    if LOST in known:
        with quiet():
            storage.enqueue_trial(trial.params, user_attrs={CONTINUES: number, AGAIN: again - asked})


def counted_trials(storage: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that came to an end or are under way: not those that wait or were lost."""
    known = storage.get_trials(deepcopy=False)
    return [trial for trial in known if trial.state.name != "WAITING" and not trial.user_attrs.get(LOST)]


@contextmanager
def beating(storage: optuna.Study, trial: Trial) -> Iterator[None]:
    """Tell other machines, as long as the block goes on, that the trial does."""
    ended = threading.Event()

    def beat() -> None:
        while True:
            storage._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
            if ended.wait(_BEAT_S):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _is_gone(study: Study, trial: FrozenTrial) -> bool:
    """Whether the process of a trial on this machine has ended; without locks, and elsewhere, the heartbeat tells."""
    if trial.user_attrs.get("host") != socket.gethostname():
        return "host" not in trial.user_attrs  # killed right after it was made
    return not is_held(study.trial(trial.number) / HELD) and _has_locks(study.folder)


def _has_locks(folder: Path) -> bool:
    with holding(folder / ".medloom-probe.json", {}):
        return is_held(folder / ".medloom-probe.json")


def labelled(values: Values) -> dict[str, Any]:
    """Return values as Optuna keeps them."""
    return {key: label_of(value) for key, value in values.items()}


def _state(name: str) -> Any:  # noqa: ANN401 - Optuna's enumeration
    return require("optuna", "tune").trial.TrialState[name]


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's warnings, of what is experimental in it and of heartbeats that are not its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
