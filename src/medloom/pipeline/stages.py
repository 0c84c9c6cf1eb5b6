"""The stages: each reads what the one before it wrote into the run directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from medloom.errors import RecipeError
from medloom.files import read_json, write_json
from medloom.pipeline.runs import Progress, Run, cache_dir, environment
from medloom.recipe import Recipe, parse_recipe

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from medloom.data import PixelStore, Prepared
    from medloom.data.describe import Preview
    from medloom.data.metadata import TableEncoding
    from medloom.inference import LabelPredictor, Predictor
    from medloom.packaging import LabelsEntry
    from medloom.training import Network, TrainResult
    from medloom.training.samples import LabelTable

__all__ = [
    "TABLE_FILE",
    "build_run_predictor",
    "check_network",
    "evaluate",
    "package",
    "package_network",
    "prepare",
    "read_table",
    "report",
    "train",
]

TABLE_FILE = "table.json"

_EXAMPLES = 3

_LOOKED_AT = 24


def check_network(recipe: Recipe) -> None:
    """Find what is wrong with the recipe's network before hours are spent on the images.

    Raises:
        RecipeError: If it cannot be built.
    """
    from medloom import training

    training.check_network(recipe)


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
        RecipeError: If the recipe asks for every fold, or does not fit the labels that are found.
    """
    from medloom import data as room
    from medloom.reports import write_data_report
    from medloom.transforms import Preprocess

    _refuse_every_fold(run.recipe)
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
    _resolve_labels(run, prepared.facts).save()
    _write_table(run, prepared.catalogue)
    write_data_report(run.folder)
    return prepared


def _refuse_every_fold(recipe: Recipe) -> None:
    """One run directory has one split; ``fold_runs`` makes one for each fold."""
    if recipe.split.folds is not None and recipe.split.fold is None:
        raise RecipeError(
            f"split.folds is {recipe.split.folds}, and this command does one split: `medloom run` does every fold and "
            "their ensemble; for one of them say which, such as --set split.fold=0"
        )


def _resolve_labels(run: Run, facts: dict[str, Any]) -> Run:
    """Put what was found out about the labels into the run's recipe, which may not fit them."""
    if run.recipe.task == "segmentation":
        return run
    found, plain = facts["labels"], run.recipe.plain()
    plain["data"]["labels"] |= {"kind": found["kind"], "classes": found["classes"]}
    try:
        return replace(run, recipe=parse_recipe(yaml.safe_dump(plain, allow_unicode=True)))
    except RecipeError as error:
        raise RecipeError(f"the labels are {found['kind']}, and the recipe does not fit them: {error}") from error


def _write_table(run: Run, catalogue: pd.DataFrame) -> None:
    """Fit the encoding of the metadata on the training rows, where the network takes some."""
    from medloom.data import meta_of
    from medloom.data.metadata import TableEncoding

    path = run.folder / TABLE_FILE
    path.unlink(missing_ok=True)
    if run.recipe.model.metadata != "none":
        rows = meta_of(catalogue[catalogue["split"] == "train"])
        write_json(path, TableEncoding.fit(rows, run.recipe.data.labels.metadata).plain())


def read_table(run: Run) -> TableEncoding | None:
    """Return how the run encodes metadata; None if its network takes none."""
    from medloom.data.metadata import TableEncoding

    path = run.folder / TABLE_FILE
    return TableEncoding.from_plain(read_json(path)) if path.is_file() else None


def _preview(recipe: Recipe) -> Callable[[PixelStore], Preview] | None:
    """Augmented views for the data report, where torch is installed to make them."""
    if find_spec("torch") is None:
        return None
    from medloom.training.preview import augmented_views

    return lambda store: augmented_views(recipe.augment, store, recipe.train.seed, recipe.preprocess.crop)


def train(run: Run, *, progress: bool = False) -> TrainResult:
    """Train, or go on where the run was stopped; write ``checkpoints/``, ``metrics.jsonl``, ``training.json``.

    Args:
        run: The run.
        progress: Whether to show on stderr how far it is.

    Returns:
        The best epoch, and whether the training was finished or asked to stop.

    Raises:
        TrainingError: If training had to stop, such as for a loss that is not finite.
        RecipeError: If the recipe asks for every fold, or cannot be trained here.
    """
    from medloom.data import read_catalogue
    from medloom.training import train as fit

    _refuse_every_fold(run.recipe)
    catalogue = read_catalogue(run.folder / "catalogue.csv")
    return fit(run.recipe, catalogue, _store(run), run.folder, labels=_labels(run, catalogue), progress=progress)


def _labels(run: Run, catalogue: pd.DataFrame) -> LabelTable | None:
    """Labels and metadata of the catalogue, for classification."""
    from medloom.data import labels_of, meta_of
    from medloom.training.samples import label_table

    if run.recipe.task == "segmentation":
        return None
    encoding = read_table(run)
    metadata = None if encoding is None else encoding.encode(meta_of(catalogue))
    return label_table(catalogue["sample_id"].tolist(), labels_of(catalogue), metadata)


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
    from medloom.evaluation import evaluate as measure_masks
    from medloom.evaluation import evaluate_labels
    from medloom.inference import LabelPredictor
    from medloom.training import heatmap_of, load_best

    catalogue = room.read_catalogue(run.folder / "catalogue.csv")
    network = load_best(run.folder, run.recipe)
    predictor = build_run_predictor(run, network, [read_table(run)])
    with room.open_source(run.facts("run.json", "prepare")["data"]) as source:
        if isinstance(predictor, LabelPredictor):
            heatmap = heatmap_of(network)
            return evaluate_labels(
                run.recipe, catalogue, source, predictor, run.folder, heatmap=heatmap, progress=progress
            )
        return measure_masks(run.recipe, catalogue, source, predictor, run.folder, progress=progress)


def build_run_predictor(
    run: Run, network: Network, tables: Sequence[TableEncoding | None]
) -> Predictor | LabelPredictor:
    """Export a network into the run directory and load it the way the bundle will be loaded."""
    from medloom.inference import LabelPredictor, OperatingPoint, Predictor, build_runtime
    from medloom.models.kinds import label_kind_of
    from medloom.packaging.export import export_onnx
    from medloom.transforms import Preprocess

    recipe, encodings = run.recipe, tuple(table for table in tables if table is not None)
    path = export_onnx(
        network,
        run.folder / "model.onnx",
        channels=len(recipe.data.channels),
        size=recipe.preprocess.input_size,
        kind=label_kind_of(recipe),
        table_features=sum(len(table.names) for table in encodings),
        examples=_examples(run),
    )
    runtime = build_runtime("onnx", path, threads=_threads())
    around = (runtime, Preprocess(recipe.preprocess), recipe.classes, recipe.data.channels)
    kind = label_kind_of(recipe)
    if kind is None:
        return Predictor(*around, operating_point=OperatingPoint(), flips=recipe.evaluate.flips)
    targets, rounds = recipe.data.labels.targets, recipe.evaluate.rounds
    return LabelPredictor(*around, kind=kind, targets=targets, rounds=rounds, tables=encodings)


def _threads() -> int | None:
    """As many as for training, where someone has said so: folds that run at a time share the cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) > 0 else None


def _examples(run: Run) -> NDArray[np.float32]:
    """A few of the run's images as its network sees them: from all over the run, those with the most contrast.

    A blank image would not do: what a network that normalises by instance makes of it is rounding errors divided by
    next to nothing, and they differ between runtimes.
    """
    import numpy as np

    from medloom.data import read_catalogue
    from medloom.transforms.preprocess import centre_crop

    store = _store(run)
    samples = read_catalogue(run.folder / "catalogue.csv")["sample_id"]
    spread = np.linspace(0, len(samples) - 1, _LOOKED_AT).round().astype(int)
    rows = store.rows(samples.iloc[spread].tolist())
    images, offset, scale = store.images[rows].astype(np.float32), store.offset[rows], store.scale[rows]
    normalised = (images - offset[:, :, None, None]) * scale[:, :, None, None]
    chosen = np.argsort(-normalised.std(axis=(1, 2, 3)), kind="stable")[:_EXAMPLES]
    return np.ascontiguousarray(centre_crop(normalised[chosen], run.recipe.preprocess.crop))


def package(run: Run) -> Path:
    """Write the bundle of an evaluated run.

    Args:
        run: The run.

    Returns:
        Path of ``model.tar.gz``.
    """
    from medloom.training import load_best

    return package_network(run, load_best(run.folder, run.recipe), [read_table(run)])


def package_network(run: Run, network: Network, tables: Sequence[TableEncoding | None]) -> Path:
    """Write the bundle of a network whose graph is in the run directory and that was measured."""
    from medloom.inference import OperatingPoint
    from medloom.packaging import write_bundle

    summary = run.facts("evaluation/summary.json", "evaluate")
    facts = run.facts("prepare.json", "prepare")
    labels = _labels_entry(run.recipe, summary, tables)
    return write_bundle(
        run.bundle,
        onnx=run.folder / "model.onnx",
        weights={name: tensor.numpy() for name, tensor in network.state_dict().items()},
        recipe=run.recipe,
        operating_point=None if labels else OperatingPoint(**summary["operating_point"]),
        labels=labels,
        table_features=[0 if table is None else len(table.names) for table in tables],
        metrics={split: summary[split]["figures"] for split in ("validation", "test") if split in summary},
        fingerprint=facts["catalogue_sha256"],
        phantom=facts["phantom"],
        counts=facts["counts"],
    )


def _labels_entry(
    recipe: Recipe, summary: dict[str, Any], tables: Sequence[TableEncoding | None]
) -> LabelsEntry | None:
    from medloom.models.kinds import label_kind_of
    from medloom.packaging import LabelsEntry

    kind = label_kind_of(recipe)
    if kind is None:
        return None
    return LabelsEntry(
        kind=kind,
        targets=recipe.data.labels.targets,
        thresholds=tuple(summary["operating_point"]["thresholds"]),
        rounds=recipe.evaluate.rounds,
        tables=tuple(table.plain() for table in tables if table is not None),
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
