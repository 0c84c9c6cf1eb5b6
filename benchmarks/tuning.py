"""Trials an hour of a study beside a plain Optuna loop over the same training.

    python benchmarks/tuning.py [--rounds 3] [--trials 6]

Both search the learning rate of the same small recipe on the same phantom images, prepared once, in one process, with
Optuna's random sampler and without a pruner. The plain loop keeps its trials in memory and calls the training and
nothing else; the study also keeps them in SQLite with a heartbeat, so that any of them can be killed, makes a run
directory of each, and decides after each which model stays. They take turns; the ratio is of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import optuna

from machine import describe
from medloom import pipeline, training
from medloom.data import read_catalogue
from medloom.data.opening import Images
from medloom.events import Events
from medloom.recipe import Recipe, load_recipe, with_values
from medloom.tuning import Limits, begun_study, work

SETTINGS = [
    *("data.path=null", "data.kaggle=null", "data.phantom.patients=12", "data.phantom.size=96"),
    *("preprocess.size=[96,96]", "train.epochs=3", "train.device=cpu", "train.precision=32", "train.compile=false"),
    *("tune.preset=auto", "tune.space={train.optimizer.lr: {log_uniform: [1e-4, 1e-2]}}"),
    *("tune.sampler=random", "tune.pruner=none"),
]
KEY, LOW, HIGH = "train.optimizer.lr", 1e-4, 1e-2


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=6)
    options = parser.parse_args()
    print(describe("torch", "lightning", "optuna"))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    recipe = load_recipe("brain-mri-small", SETTINGS)
    with tempfile.TemporaryDirectory() as scratch:
        images = pipeline.resolve_images(recipe)
        prepared = pipeline.Run(Path(scratch) / "prepared", recipe)
        pipeline.prepare(prepared, images)
        plain_trials(prepared, Path(scratch) / "first", 1)  # warms up
        found = [
            (
                plain_trials(prepared, Path(scratch) / f"plain-{turn}", options.trials),
                study_trials(recipe, images, Path(scratch) / f"study-{turn}", options.trials),
            )
            for turn in range(options.rounds)
        ]
    plain, study = (statistics.median(one[side] for one in found) for side in (0, 1))
    print(f"plain Optuna loop  {3600 * options.trials / plain:8.0f} trials/hour")
    print(f"medloom study      {3600 * options.trials / study:8.0f} trials/hour, ratio {plain / study:.3f}")
    print(f"{options.trials} trials of 3 epochs, {options.rounds} rounds in turn")


def plain_trials(prepared: pipeline.Run, folder: Path, trials: int) -> float:
    """Seconds of a loop as one would write it."""
    run = pipeline.Run.open(prepared.folder)
    catalogue, store = read_catalogue(run.folder / "catalogue.csv"), pipeline.find_store(run)

    def objective(trial: optuna.Trial) -> float:
        recipe = with_values(run.recipe, {KEY: trial.suggest_float(KEY, LOW, HIGH, log=True)})
        place = folder / str(trial.number)
        place.mkdir(parents=True)
        return training.train(recipe, catalogue, store, place).best_metric

    begun = time.perf_counter()
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=trials)
    return time.perf_counter() - begun


def study_trials(recipe: Recipe, images: Images, folder: Path, trials: int) -> float:
    """Seconds of the trials of a study; its preparation is not counted, as that of the loop is not."""
    with begun_study(recipe, folder, images=images, events=Events()) as (study, where):
        begun = time.perf_counter()
        work(study, where, Limits(trials))
        return time.perf_counter() - begun


if __name__ == "__main__":
    main()
