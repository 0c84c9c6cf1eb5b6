"""The stages in order, each a function on a run directory: prepare, train, evaluate, package, report.

A stage reads the files that the one before it wrote and writes its own, so each can be run again alone or
on another machine. torch is imported by the stages that train and export, when they run.

::

    runs/<name>/
        run.json            where the images are, versions, machine
        recipe.yaml         the resolved recipe
        catalogue.csv       one row a sample
        prepare.json        facts of the preparation, and data_report/ with its pictures
        checkpoints/        last, previous and best
        metrics.jsonl       one line an epoch
        training.json       facts of the training, and progress/ with its pictures
        model.onnx          the best weights as a graph that gives probabilities
        evaluation/         cases.csv, patients.csv, summary.json, gallery/
        model.tar.gz        the bundle
        data_report.html    report.html
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from medloom import __version__
from medloom.errors import RecipeError, UserError
from medloom.files import read_json, sha256_bytes, write_json, write_text
from medloom.recipe import PhantomConfig, Recipe, parse_recipe

if TYPE_CHECKING:
    from medloom.data import PixelStore, Prepared
    from medloom.data.describe import Preview
    from medloom.inference import Predictor
    from medloom.training import TrainResult

__all__ = ["Run", "cache_dir", "evaluate", "package", "prepare", "report", "resolve_data", "train"]

Progress = Callable[[int, int], None]

_PACKAGES = ("torch", "lightning", "monai", "numpy", "onnxruntime", "openvino", "tifffile", "imagecodecs", "pillow")
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
        if known.exists() and (folder / "checkpoints").exists():
            _refuse_changes(parse_recipe(known.read_text()), recipe, folder)
        write_text(known, yaml.safe_dump(recipe.plain(), sort_keys=False, allow_unicode=True))
        return cls(folder, recipe)

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open a run directory that is there.

        Raises:
            UserError: If it is not one.
        """
        known = folder / "recipe.yaml"
        if not known.is_file():
            raise UserError(f"{folder} is not a run: it has no recipe.yaml; start one with `medloom run` or `prepare`")
        return cls(folder, parse_recipe(known.read_text()))

    @property
    def bundle(self) -> Path:
        """Where the bundle is."""
        return self.folder / "model.tar.gz"

    def facts(self, name: str, command: str) -> dict[str, Any]:
        """Read what a stage wrote, or say which command writes it."""
        path = self.folder / name
        if not path.is_file():
            raise UserError(f"{self.folder} has no {name} yet; run `medloom {command}` first")
        facts: dict[str, Any] = read_json(path)
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
    if recipe.data.layout != "lgg-mri":
        raise UserError(f"recipe {recipe.name} has no images: pass --data PATH, a folder or a zip")
    return _phantom(recipe.data.phantom, progress)


def _phantom(config: PhantomConfig, progress: Progress | None) -> Path:
    from medloom.data import make_phantom

    key = sha256_bytes(f"{__version__} {config.model_dump_json()}".encode())[:12]
    return make_phantom(config, cache_dir() / "phantom" / key, progress=progress)


def prepare(run: Run, data: Path, *, workers: int | None = None, progress: Progress | None = None) -> Prepared:
    """Check, split and store the images; write ``catalogue.csv``, ``prepare.json`` and the data report.

    Args:
        run: The run.
        data: Folder or zip with the images.
        workers: Processes that decode; one for each core by default.
        progress: Called with images done and images in all.

    Returns:
        The catalogue, the store and the facts.

    Raises:
        DataError: Naming every file that does not fit, if the recipe's policy is ``fail``.
    """
    from medloom import data as room
    from medloom.reports import write_data_report
    from medloom.transforms import Preprocess

    write_json(run.folder / "run.json", {"data": str(data), "environment": environment()})
    with room.open_source(data) as source:
        prepared = room.prepare(
            run.recipe,
            source,
            run.folder,
            cache_dir() / "stores",
            workers=workers or os.cpu_count() or 1,
            preprocess=Preprocess(run.recipe.preprocess),
            preview=_preview(run.recipe),
            progress=progress,
        )
    write_data_report(run.folder)
    return prepared


def _preview(recipe: Recipe) -> Callable[[PixelStore], Preview] | None:
    """Augmented views for the data report, where torch is installed to make them."""
    if find_spec("torch") is None:
        return None
    from medloom.training.preview import augmented_views

    return lambda store: augmented_views(recipe.augment, store, recipe.train.seed)


def train(run: Run, *, progress: bool = False) -> TrainResult:
    """Train, or go on where the run was stopped; write ``checkpoints/``, ``metrics.jsonl``, ``training.json``.

    Args:
        run: The run.
        progress: Whether to show on stderr how far it is.

    Returns:
        The best epoch, and whether the training was finished or asked to stop.

    Raises:
        TrainingError: If training had to stop, such as for a loss that is not finite.
    """
    from medloom.data import read_catalogue
    from medloom.training import train as fit

    catalogue = read_catalogue(run.folder / "catalogue.csv")
    return fit(run.recipe, catalogue, _store(run), run.folder, progress=progress)


def _store(run: Run) -> PixelStore:
    from medloom.data import PixelStore

    facts = run.facts("prepare.json", "prepare")
    return PixelStore.open(Path(facts["store"]["path"]))


def evaluate(run: Run, *, progress: Progress | None = None) -> dict[str, Any]:
    """Choose the operating point on validation and measure the best weights on test.

    The figures are those of the exported graph in the runtime that the bundle will serve with.

    Args:
        run: The run.
        progress: Called with images done and images in all.

    Returns:
        The summary, as in ``evaluation/summary.json``.
    """
    from medloom import data as room
    from medloom.evaluation import evaluate as measure

    catalogue = room.read_catalogue(run.folder / "catalogue.csv")
    predictor = _predictor(run)
    with room.open_source(run.facts("run.json", "prepare")["data"]) as source:
        return measure(run.recipe, catalogue, source, predictor, run.folder, progress=progress)


def _predictor(run: Run) -> Predictor:
    """Export the best weights and load them the way the bundle will be loaded."""
    from medloom.inference import OperatingPoint, Predictor, build_runtime
    from medloom.packaging.export import export_onnx
    from medloom.training import load_best
    from medloom.transforms import Preprocess

    recipe = run.recipe
    network = load_best(run.folder, recipe)
    path = export_onnx(
        network, run.folder / "model.onnx", channels=len(recipe.data.channels), size=recipe.preprocess.size
    )
    return Predictor(
        runtime=build_runtime("onnx", path),
        preprocess=Preprocess(recipe.preprocess),
        classes=recipe.data.classes,
        channels=recipe.data.channels,
        operating_point=OperatingPoint(),
        flips=recipe.evaluate.flips,
    )


def package(run: Run) -> Path:
    """Write the bundle of an evaluated run.

    Args:
        run: The run.

    Returns:
        Path of ``model.tar.gz``.
    """
    from medloom.inference import OperatingPoint
    from medloom.packaging import write_bundle
    from medloom.training import load_best

    summary = run.facts("evaluation/summary.json", "evaluate")
    facts = run.facts("prepare.json", "prepare")
    return write_bundle(
        run.bundle,
        onnx=run.folder / "model.onnx",
        weights={name: tensor.numpy() for name, tensor in load_best(run.folder, run.recipe).state_dict().items()},
        recipe=run.recipe,
        operating_point=OperatingPoint(**summary["operating_point"]),
        metrics={split: summary[split]["figures"] for split in ("validation", "test")},
        fingerprint=facts["catalogue_sha256"],
        phantom=facts["phantom"],
        counts=facts["counts"],
    )


def report(run: Run) -> list[Path]:
    """Write the pages from the facts that the stages left.

    Args:
        run: The run.

    Returns:
        The pages.
    """
    from medloom.reports import write_data_report, write_run_report

    return [write_data_report(run.folder), write_run_report(run.folder)]


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


def _refuse_changes(old: Recipe, new: Recipe, folder: Path) -> None:
    before, after = _flatten(old.plain()), _flatten(new.plain())
    changed = sorted(key for key in before | after if before.get(key) != after.get(key))
    refused = [key for key in changed if not key.startswith(_CHANGEABLE)]
    if refused:
        lines = "\n".join(
            f"{key}: is {after.get(key)!r}, was {before.get(key)!r} when training began" for key in refused
        )
        raise RecipeError(f"{lines}\n{folder} cannot go on with another recipe; choose another name with --run NAME")


def _flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        flat |= _flatten(item, f"{name}.") if isinstance(item, dict) and item else {name: item}
    return flat
