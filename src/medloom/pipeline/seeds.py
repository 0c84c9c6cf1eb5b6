"""Several seeds: trainings on the same data and split that differ by chance alone, and one of them as the bundle.

Each is a run directory in that of the whole. Which one is packaged is chosen by the metric that also picks the best
epoch, on validation; no metric on test takes part, so those of the chosen one stay honest.
"""

from __future__ import annotations

import shutil
from typing import Any

from medloom import training
from medloom.data.opening import Images
from medloom.errors import RecipeError
from medloom.evaluation import Part, seed_facts
from medloom.evaluation.fingerprint import FINGERPRINT
from medloom.evaluation.parts import evaluation_folder, read_summary
from medloom.events import Events, Noted
from medloom.files import write_json
from medloom.pipeline.derived import derived_run
from medloom.pipeline.graph import GRAPH
from medloom.pipeline.identity import is_trained
from medloom.pipeline.measuring import openings_of
from medloom.pipeline.metadata import read_encoding
from medloom.pipeline.runs import Run
from medloom.pipeline.stages.package import package_network
from medloom.recipe import Recipe
from medloom.reports.openings import TEST_OPENINGS

__all__ = ["finish_seeds", "refuse_one_training", "seed_run", "seed_runs"]

_OF_CHOSEN = (
    "metrics.jsonl",
    "baselines.csv",
    "appearance.json",
    FINGERPRINT,
    "table.json",
    GRAPH,
    "evaluation",
    "progress",
)
"""What the run of the whole has of the seed that is packaged, for its report and its bundle."""


def seed_runs(run: Run) -> list[Run]:
    """Return the run of each seed, without making it; empty if the recipe asks for one training.

    Args:
        run: The run of the whole.
    """
    first, count = run.recipe.train.seed, run.recipe.train.seeds
    seeds = range(first, first + count) if count > 1 else ()
    return [Run.planned(_of_seed(run.recipe, seed), run.folder / f"seed-{seed}") for seed in seeds]


def seed_run(whole: Run, seed: Run, images: Images) -> Run:
    """Make the run directory of a seed, on the data and the split of the whole.

    Args:
        whole: The run of the whole, prepared.
        seed: That of the seed, as planned.
        images: Folder or zip with the images.
    """
    return derived_run(whole.folder, seed.recipe, seed.folder, images)


def refuse_one_training(run: Run) -> None:
    """Raise if a run that is to have several seeds is one training.

    Raises:
        RecipeError: Saying what to do.
    """
    if is_trained(run.folder):
        raise RecipeError(
            f"train.seeds is {run.recipe.train.seeds}, and {run.folder} is a run of one training; take another name "
            "for several: --run NAME"
        )


def finish_seeds(run: Run, seeds: list[Run], *, part: Part = "test", events: Events | None = None) -> dict[str, Any]:
    """Take the spread over the seeds, and package the network of the one that is best on validation.

    Args:
        run: The run of the whole.
        seeds: Their runs, each trained and measured.
        part: On whom they were measured.
        events: Told what happens.

    Returns:
        The summary, as in ``summary.json``: that of the chosen seed, and ``seeds``.
    """
    events = events or Events()
    seeds = [Run.open(seed.folder) for seed in seeds]
    numbers = [seed.recipe.train.seed for seed in seeds]
    trained = dict(zip(numbers, (seed.facts("training.json", "train") for seed in seeds), strict=True))
    summaries = dict(zip(numbers, (read_summary(seed.folder, part) for seed in seeds), strict=True))
    facts = seed_facts(summaries, trained)
    events.emit(Noted(f"the spread over {len(seeds)} seeds, and the bundle of seed {facts['chosen']}"))
    chosen = seeds[numbers.index(facts["chosen"])]
    whole = Run(run.folder, _of_whole(run.recipe, chosen.recipe)).save()
    _take(chosen, whole)
    summary = {**summaries[facts["chosen"]], "seeds": facts}
    write_json(evaluation_folder(whole.folder, part) / "summary.json", summary)
    whole_training = {**trained[facts["chosen"]], "seconds": round(sum(one["seconds"] for one in trained.values()), 3)}
    seeds_training = [{"seed": seed, **one} for seed, one in trained.items()]
    write_json(whole.folder / "training.json", {**whole_training, "seeds": seeds_training})
    _note_openings(whole, seeds)
    network = training.load_best(chosen.folder, chosen.recipe)
    package_network(whole, network, [read_encoding(chosen)], summary, trained=chosen.folder, events=events)
    return summary


def _of_seed(recipe: Recipe, seed: int) -> Recipe:
    """The recipe of one training, which is tracked as a part of the whole."""
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": seed, "seeds": 1})})


def _of_whole(recipe: Recipe, chosen: Recipe) -> Recipe:
    """The recipe of the whole, with as many epochs and images in a step as its seeds were trained with."""
    found = {"epochs": chosen.train.epochs, "batch_size": chosen.train.batch_size}
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=found)})


def _take(chosen: Run, whole: Run) -> None:
    """Put what the report and the bundle need of the chosen seed into the run of the whole."""
    for name in _OF_CHOSEN:
        source, place = chosen.folder / name, whole.folder / name
        if place.is_dir():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, ignore=shutil.ignore_patterns("measured.json"))
        elif source.is_file():
            shutil.copyfile(source, place)


def _note_openings(whole: Run, seeds: list[Run]) -> None:
    """Each time that the test set was opened, by the seed whose network it was."""
    openings = [opening for seed in seeds for opening in openings_of(seed)]
    if openings:
        write_json(whole.folder / TEST_OPENINGS, {"openings": openings, "seeds": len(seeds)})
