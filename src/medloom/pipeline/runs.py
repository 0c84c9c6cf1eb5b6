"""A run directory: its recipe, its files, and where images and caches are."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from medloom import __version__
from medloom.errors import DataError, RecipeError, UserError
from medloom.files import read_json, sha256_bytes, write_text
from medloom.recipe import PhantomConfig, Recipe, parse_recipe

__all__ = ["Progress", "Run", "cache_dir", "environment", "resolve_data"]

Progress = Callable[[int, int], None]

_PACKAGES = (
    "torch",
    "lightning",
    "monai",
    "timm",
    "numpy",
    "onnxruntime",
    "openvino",
    "tifffile",
    "imagecodecs",
    "pillow",
    "pydicom",
    "nibabel",
)
_CHANGEABLE = (
    "description",
    "evaluate",
    "package",
    "data.path",
    "train.epochs",
    "train.device",
    "train.checkpoint_minutes",
)
"""Keys that may change between two commands on a run that has begun to train."""

_PHANTOM_LAYOUTS = {"brain-mri": "lgg-mri", "chest-xray": "folder-classes", "melanoma": "csv"}
"""The layout that each kind of phantom is written in."""


@dataclass(frozen=True)
class Run:
    """A run directory with its recipe.

    Args:
        folder: The directory.
        recipe: The resolved recipe, as ``recipe.yaml`` in it says.
    """

    folder: Path
    recipe: Recipe

    @classmethod
    def start(cls, recipe: Recipe, folder: Path) -> Run:
        """Make a run directory, or take up one that is there.

        Args:
            recipe: What the run shall do.
            folder: Where.

        Returns:
            The run.

        Raises:
            RecipeError: If the run has begun to train with a recipe that differs in more than the number of
                epochs and the keys of evaluation and packaging.
        """
        known = folder / "recipe.yaml"
        if known.exists() and _has_begun(folder):
            before = parse_recipe(known.read_text("utf-8"))
            recipe = _with_labels_of(recipe, before)
            _refuse_changes(before, recipe, folder)
        return cls(folder, recipe).save()

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open a run directory that is there.

        Raises:
            UserError: If it is not one.
        """
        known = folder / "recipe.yaml"
        if not known.is_file():
            raise UserError(f"{folder} is not a run: it has no recipe.yaml; start one with `medloom run` or `prepare`")
        return cls(folder, parse_recipe(known.read_text("utf-8")))

    def save(self) -> Run:
        """Write the recipe and return the run."""
        text = yaml.safe_dump(self.recipe.plain(), sort_keys=False, allow_unicode=True)
        write_text(self.folder / "recipe.yaml", text)
        return self

    @property
    def bundle(self) -> Path:
        """Where the bundle is."""
        return self.folder / "model.tar.gz"

    def facts(self, name: str, command: str) -> dict[str, Any]:
        """Read what a stage wrote, or say which command writes it."""
        path = self.folder / name
        if not path.is_file():
            raise UserError(f"{self.folder} has no {name} yet; run `medloom {command}` first")
        try:
            facts: dict[str, Any] = read_json(path)
        except ValueError as error:
            raise DataError(f"{path} is damaged; remove it and run `medloom {command}` again") from error
        return facts


def cache_dir() -> Path:
    """Return the folder for what can be made again: ``$MEDLOOM_CACHE``, else the user's cache folder."""
    given = os.environ.get("MEDLOOM_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medloom"


def resolve_data(recipe: Recipe, data: str | None = None, progress: Progress | None = None) -> Path:
    """Find the images: what was given, the recipe's own path, Kaggle with credentials, else phantoms.

    Args:
        recipe: Says where, if ``data`` does not.
        data: Folder or zip from the command line.
        progress: Called with patients made and patients in all when phantoms are made.

    Returns:
        An existing folder or zip.

    Raises:
        UserError: If it does not exist, or if there is nothing to stand in for it.
    """
    from medloom.data import fetch_kaggle, kaggle_credentials

    given = data or recipe.data.path
    if given:
        path = Path(given).expanduser().absolute()
        if not path.exists():
            raise UserError(f"--data {given}: there is no such folder or zip")
        return path
    if recipe.data.kaggle and kaggle_credentials():
        return fetch_kaggle(recipe.data.kaggle, cache_dir() / "kaggle")
    if recipe.data.layout != _PHANTOM_LAYOUTS[recipe.data.phantom.kind]:
        raise UserError(f"recipe {recipe.name} has no images: pass --data PATH, a folder or a zip")
    return _phantom(recipe.data.phantom, progress)


def _phantom(config: PhantomConfig, progress: Progress | None) -> Path:
    from medloom.data import make_phantom

    key = sha256_bytes(f"{__version__} {config.model_dump_json()}".encode())[:12]
    return make_phantom(config, cache_dir() / "phantom" / key, progress=progress)


def environment() -> dict[str, Any]:
    """Say what a run was made with: versions and machine, no names of users or hosts."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "medloom": __version__,
        "python": platform.python_version(),
        "packages": versions,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "command": " ".join(["medloom", *sys.argv[1:2]]),
    }


def _has_begun(folder: Path) -> bool:
    """Whether a run, or one of its folds, has begun to train."""
    return any(path.exists() for path in (folder / "checkpoints", *folder.glob("fold-*/checkpoints")))


def _with_labels_of(recipe: Recipe, known: Recipe) -> Recipe:
    """Take over what a run's preparation found out about its labels, where the recipe leaves it open."""
    labels, found = recipe.data.labels, known.data.labels
    if labels.kind != "auto" and labels.classes:
        return recipe
    kind = found.kind if labels.kind == "auto" else labels.kind
    filled = labels.model_copy(update={"kind": kind, "classes": labels.classes or found.classes})
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"labels": filled})})


def _refuse_changes(old: Recipe, new: Recipe, folder: Path) -> None:
    before, after = _flatten(old.plain()), _flatten(new.plain())
    changed = sorted(key for key in before | after if before.get(key) != after.get(key))
    refused = [key for key in changed if not key.startswith(_CHANGEABLE)]
    if refused:
        lines = "\n".join(
            f"{key}: is {after.get(key)!r}, was {before.get(key)!r} when training began" for key in refused
        )
        raise RecipeError(
            f"{lines}\n{folder} cannot go on with another recipe; begin another: `medloom run RECIPE --run NAME`"
        )


def _flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        flat |= _flatten(item, f"{name}.") if isinstance(item, dict) and item else {name: item}
    return flat
