"""What a study is to do: written down when it begins, and the same whenever it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import yaml

from medloom.errors import RecipeError, UserError
from medloom.files import read_json, write_json, write_text
from medloom.pipeline.names import run_folder
from medloom.pipeline.runs import Run
from medloom.recipe import Recipe, load_recipe
from medloom.recipe.changes import changed
from medloom.registry import METRICS
from medloom.tuning.kinds import KINDS
from medloom.tuning.space import Space

__all__ = ["PREPARED", "STUDIES", "Study", "study_folder"]

STUDIES = Path("studies")
"""Where studies are kept unless someone says otherwise."""

PREPARED = "prepared"
"""Folder of what all trials share."""

_RECIPE = "study.yaml"
_FACTS = "study.json"

_MAY_CHANGE = (
    "description",
    "data.path",
    "data.origin.",
    "evaluate.",
    "package.",
    "train.device",
    "train.checkpoint_minutes",
    "tune.pruner",
    "tune.startup_trials",
    "tune.seed",
    "tune.price_per_hour",
)
"""Keys that leave the scores of the trials so far what they are."""


@dataclass(frozen=True)
class Study:
    """A study and its folder.

    ::

        studies/<name>/
            study.yaml       the recipe, with the space
            study.json       how settings are scored
            study.db         Optuna's storage (SQLite); optuna-dashboard opens it
            prepared/        the catalogue and facts that all trials share
            trials/0007/     what is left of a trial: recipe, epochs, facts; of the best one also its weights
            best/            the run of the best trial, with its bundle
            tuning.json      facts, and tuning_report.html

    Args:
        folder: Its directory.
        recipe: What is not searched, and the space.
        folds: Each setting is scored by so many folds of the training and validation patients; None: by the recipe's
            own split.
        fast: Whether it only shows that everything works.
    """

    folder: Path
    recipe: Recipe
    folds: int | None = None
    fast: bool = False

    @classmethod
    def begun(cls, folder: Path, recipe: Recipe, *, folds: int | None = None, fast: bool = False) -> Self:
        """Begin a study in a folder, or take up the one that is there.

        Raises:
            RecipeError: If the one that is there searches something else, or has another recipe.
            UserError: If the folder holds something else.
        """
        study = cls(folder, recipe, folds, fast)
        if (folder / _FACTS).is_file():
            _refuse_changes(cls.open(folder), study)
        elif folder.exists() and any(not path.name.startswith(".medloom-") for path in folder.iterdir()):
            raise UserError(f"--study {folder}: it is there, it is not empty and it is no study; choose another")
        return study

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a study that has begun.

        Raises:
            UserError: If it is none.
        """
        if not (folder / _FACTS).is_file():
            raise UserError(f"{folder} is no study: it has no {_FACTS}; `medloom tune RECIPE --study NAME` makes one")
        facts: Mapping[str, Any] = read_json(folder / _FACTS)
        return cls(folder, load_recipe(folder / _RECIPE), facts["folds"], facts["fast"])

    def save(self) -> Self:
        """Write down what is to be done."""
        plain = self.recipe.plain()
        plain["data"]["path"] = None
        write_text(self.folder / _RECIPE, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
        write_json(self.folder / _FACTS, {"folds": self.folds, "fast": self.fast})
        return self

    def resolved(self) -> Self:
        """Return the study with what its preparation found out about what is predicted."""
        found = Run.open(self.folder / PREPARED).recipe
        recipe = found.model_copy(update={"tune": self.recipe.tune})
        return replace(self, recipe=recipe)

    @property
    def is_known(self) -> bool:
        """Whether it is known what is predicted, or will be when the data are prepared."""
        return KINDS.get(self.recipe.target.kind) is not None

    @cached_property
    def space(self) -> Space:
        """What is searched."""
        return Space.of(self.recipe)

    @property
    def directions(self) -> list[str]:
        """Whether each objective is to be large or small: the score, and with ``nsga2`` the cost."""
        score = "maximize" if METRICS[self.recipe.train.monitor].larger_is_better else "minimize"
        return [score, "minimize"] if self.has_cost else [score]

    @property
    def has_cost(self) -> bool:
        """Whether there are two objectives."""
        return self.recipe.tune.sampler == "nsga2"

    @property
    def steps(self) -> int:
        """Epochs of a trial with the recipe's own number of them, over all folds."""
        return self.recipe.train.epochs * (self.folds or 1)

    @property
    def trials(self) -> Path:
        """Folder of the trials."""
        return self.folder / "trials"

    def trial(self, number: int) -> Path:
        """Folder of a trial."""
        return self.trials / f"{number:04d}"


def study_folder(name: str | Path, studies: Path = STUDIES) -> Path:
    """Return the folder of a study by its name, or by a path, which has a slash in it.

    Raises:
        UserError: If it is neither.
    """
    try:
        return run_folder(name, studies)
    except UserError as error:
        raise UserError(str(error).replace("--run", "--study", 1)) from error


def _refuse_changes(before: Study, after: Study) -> None:
    keys = changed(before.recipe.plain(), after.recipe.plain(), may=_MAY_CHANGE)
    keys += ["--folds"] if before.folds != after.folds else []
    keys += ["--fast"] if before.fast != after.fast else []
    if keys:
        raise RecipeError(
            f"{after.folder}: the study began otherwise, and its scores could not be compared: {', '.join(keys)} "
            "changed. Take another name: --study NAME"
        )
