"""Who chooses the next settings, and who gives a trial up: Optuna's samplers and pruners by their names in a recipe."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from medloom.recipe import TuneConfig

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

__all__ = ["build_pruner", "build_sampler"]

_POPULATION = 10
"""Of NSGA-II; Optuna's 50 would be as many trials as most studies of trainings have."""


def build_sampler(config: TuneConfig, number: int) -> BaseSampler:
    """Return who chooses the settings of one trial.

    Its random numbers follow from the seed and the number of the trial, so a study that was stopped goes on as it would
    have, and processes that share one do not choose the same.

    Args:
        config: What the recipe says.
        number: Of the trial, from 0.
    """
    from optuna import samplers  # a second that only tuning pays

    digest = hashlib.sha256(f"{config.seed} {number}".encode()).digest()
    seed = int.from_bytes(digest[:4], "big")
    builders: dict[str, Callable[[], BaseSampler]] = {
        "tpe": lambda: samplers.TPESampler(n_startup_trials=config.startup_trials, seed=seed),
        "random": lambda: samplers.RandomSampler(seed=seed),
        "grid": lambda: samplers.RandomSampler(seed=seed),  # every trial of a grid is laid down when the study begins
        "gp": lambda: samplers.GPSampler(
            n_startup_trials=config.startup_trials, seed=seed, warn_independent_sampling=False
        ),
        "nsga2": lambda: samplers.NSGAIISampler(population_size=_POPULATION, seed=seed),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is experimental in Optuna
        return builders[config.sampler]()


def build_pruner(config: TuneConfig, steps: int) -> BasePruner:
    """Return who gives a trial up before its end.

    Args:
        config: What the recipe says.
        steps: Epochs of a trial, over all its folds.
    """
    from optuna import pruners

    builders: dict[str, Callable[[], BasePruner]] = {
        "median": lambda: pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, steps // 5)),
        "hyperband": lambda: pruners.HyperbandPruner(min_resource=1, max_resource=steps),
        "none": pruners.NopPruner,
    }
    return builders["none" if config.sampler == "nsga2" else config.pruner]()
