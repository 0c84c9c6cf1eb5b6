"""Write a bundle."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medloom import __version__
from medloom.data.metadata import TableEncoding
from medloom.extras import require
from medloom.files import TemporaryFolder, sha256_bytes, write_bytes
from medloom.imaging import CONTENT_TYPES
from medloom.inference import NetworkSpec, Point, Predictor, Runtime, build_runtime, needs_weights, point_from_plain
from medloom.inference.appearance import Appearance
from medloom.inference.calibration import Calibration
from medloom.inference.fingerprint import Fingerprint, probe_features
from medloom.inference.quality import Quality
from medloom.inference.runtimes.graph import read_graph
from medloom.packaging.archive import pack
from medloom.packaging.bundle import CHECKSUM, GRAPH, MANIFEST, WEIGHTS, build_predictor, checksum_line
from medloom.packaging.card import card_files
from medloom.packaging.contract import steps
from medloom.packaging.fingerprint import FINGERPRINT, fingerprint_bytes, read_back
from medloom.packaging.golden import golden_entry, make_golden
from medloom.packaging.manifest import FORMAT, Manifest
from medloom.recipe import Recipe
from medloom.transforms.preprocess import Preprocess

__all__ = ["layout_of", "model_entry", "runtime_of", "weights_bytes", "write_bundle"]

_ENTRY_POINT = "code/inference.py"
_SHAPING = {"deep_supervision", "dropout", "encoder", "metadata", "table_width"}
"""Keys of the recipe's ``model`` that decide a network's shape beside its name and arguments, where it has them."""

_PLACES = ("path", "kaggle", "phantom", "origin")
"""Keys of the recipe's ``data`` that say where images and labels are from, not how they are arranged."""

_RECORDED = ("torch", "monai", "lightning", "onnx", "onnxruntime", "numpy")

Weights = Path | Mapping[str, Any]


def write_bundle(
    path: Path,
    *,
    onnx: Path,
    weights: Weights,
    recipe: Recipe,
    point: Point | Mapping[str, Any],
    metrics: Mapping[str, Any],
    fingerprint: str,
    phantom: bool,
    plane: str | None = None,
    measured: Mapping[str, Any] | None = None,
    tables: Sequence[TableEncoding | None] = (None,),
    calibration: Calibration | None = None,
    quality: Quality | None = None,
    counts: Mapping[str, Any] | None = None,
    appearance: Appearance | None = None,
    images_fingerprint: Fingerprint | None = None,
    begun_with: Mapping[str, Any] | None = None,
    instead_of_ensemble: Mapping[str, Any] | None = None,
    precision: Mapping[str, Any] | None = None,
    agreement: Sequence[Mapping[str, Any]] = (),
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``model.tar.gz`` atomically; the same inputs give the same bytes.

    Args:
        path: Where the bundle is written.
        onnx: The exported graph, which gives probabilities.
        weights: The same weights: a safetensors file, or the network's ``state_dict()``.
        recipe: What the run was made from.
        point: The operating point, fixed on the validation set, or its ``plain()``.
        metrics: Headline metrics, as plain JSON types without NaN.
        fingerprint: SHA-256 of the catalogue that the model learned from.
        phantom: Whether that data was made up.
        plane: The plane in which the network sees images, ``any`` for several; None for images as they are stored.
        measured: How the metrics came about, as ``Measured`` of the manifest; None where it is not known.
        tables: How metadata are encoded, for each member of the model; None for one that takes none.
        calibration: What corrects the graph's probabilities; None leaves them as they are.
        quality: What says how good an answer is to be expected; None where that is not known.
        counts: Patients and samples of each split.
        appearance: How the training images look; None where it is not known.
        images_fingerprint: What new images are tested against; what another network made of images is left out.
        begun_with: Whose weights the network began with, as ``BegunWith`` of the manifest; None for fresh ones.
        instead_of_ensemble: What it lost against the networks that it stands for, as ``InsteadOfEnsemble`` of the
            manifest; None for any other.
        precision: In what ``onnx`` is computed and what that cost, as ``Reduced`` of the manifest; None for float32.
        agreement: How far other runtimes are from the bundle's own, as ``Agreement`` of the manifest.
        about: What the model card says beside all this, as ``About`` of the manifest; what is in the recipe of it is
            taken from there.

    Returns:
        ``path``.

    Raises:
        BundleError: If the graph does not stand alone.
        RecipeError: If ``prepare`` has to find out first what is predicted.
    """
    manifest = _manifest(
        recipe,
        tables,
        begun_with=begun_with,
        point=dict(point) if isinstance(point, Mapping) else point.plain(),
        metrics=dict(metrics),
        measured=measured,
        instead_of_ensemble=instead_of_ensemble,
        precision=precision,
        agreement=tuple(agreement),
        about=about,
        training_data={"fingerprint": fingerprint, "counts": dict(counts or {})},
        phantom=phantom,
        plane=plane,
        calibration=None if calibration is None else calibration.plain(),
        quality=None if quality is None else quality.plain(),
        appearance=None if appearance is None else appearance.plain(),
    )
    return _pack(path, manifest, onnx, weights_bytes(weights), images_fingerprint)


def _pack(path: Path, manifest: Manifest, graph: Path, weights: bytes, fingerprint: Fingerprint | None) -> Path:
    """Write the archive, with answers of the very runtime and precision that the manifest names."""
    runtime = runtime_of(
        manifest.runtime, graph, lambda: weights, network=manifest.network(), precision=manifest.computed_in()
    )
    files = {
        GRAPH: read_graph(graph),
        WEIGHTS: weights,
        _ENTRY_POINT: (Path(__file__).parent / _ENTRY_POINT).read_bytes(),
        **card_files(manifest),
        **_answered(build_predictor(manifest, runtime), fingerprint),
    }
    manifest = manifest.model_copy(update={"files": {name: sha256_bytes(content) for name, content in files.items()}})
    data = manifest.model_dump_json(indent=2).encode() + b"\n"
    pack(path, {**files, MANIFEST: data, CHECKSUM: checksum_line(data)})
    return path


def _answered(predictor: Predictor, fingerprint: Fingerprint | None) -> dict[str, bytes]:
    """The golden example, and the fingerprint of this network."""
    known = None if fingerprint is None else _of_network(fingerprint, predictor)
    golden = make_golden(replace(predictor, fingerprint=known))
    return golden if known is None else {**golden, FINGERPRINT: fingerprint_bytes(known)}


def _of_network(found: Fingerprint, predictor: Predictor) -> Fingerprint:
    """The fingerprint without what another network made of the images, such as the one whose place this one takes."""
    known = found if found.is_of(probe_features(predictor)) else found.without_embedding()
    return read_back(fingerprint_bytes(known))  # to the last digit what will be served


def runtime_of(
    name: str,
    graph: Path,
    weights: Callable[[], bytes],
    *,
    network: NetworkSpec,
    precision: str = "fp32",
    threads: int | None = None,
) -> Runtime:
    """Build a runtime from what a bundle holds, before there is a bundle.

    Args:
        name: Name of the runtime.
        graph: The ONNX file.
        weights: Gives the content of the safetensors file; asked where the runtime needs it.
        network: What it takes to build the network again.
        precision: In what it is computed.
        threads: Threads of one call.
    """
    if not needs_weights(name):
        return build_runtime(name, graph, threads=threads, precision=precision)
    beside = TemporaryFolder("medloom-weights-")
    try:
        path = beside.path / WEIGHTS
        write_bytes(path, weights())
        return build_runtime(name, path, threads=threads, network=network, precision=precision)
    finally:
        beside.remove()


def _manifest(
    recipe: Recipe,
    tables: Sequence[TableEncoding | None],
    *,
    plane: str | None,
    point: Mapping[str, Any],
    begun_with: Mapping[str, Any] | None = None,
    precision: Mapping[str, Any] | None = None,
    about: Mapping[str, Any] | None = None,
    **facts: Any,  # noqa: ANN401 - fields of Manifest, checked by pydantic
) -> Manifest:
    """Make the manifest without its list of files."""
    target, channels = recipe.predicts(), recipe.data.channels
    preprocess, features = Preprocess.of(recipe.preprocess), [0 if one is None else len(one.names) for one in tables]
    page, made = None if recipe.data.page == "all" else recipe.data.page, point_from_plain(point, target)
    return Manifest.model_validate(
        {
            "format": FORMAT,
            "medloom": __version__,
            "name": recipe.name,
            "target": target.plain(),
            "channels": channels,
            "input": {
                "content_types": tuple(CONTENT_TYPES),
                "channels": channels,
                "page": page,
                "plane": plane,
                "context": recipe.data.context,
            },
            "preprocess": preprocess.plain(),
            "steps": steps(target, preprocess, recipe.evaluate.views, features, made, recipe.data.context),
            "model": {**model_entry(recipe, features), "weights": begun_with},
            "views": recipe.evaluate.views,
            "tables": [table.plain() for table in tables if table is not None],
            "runtime": recipe.package.runtime,
            "versions": _versions(),
            "golden": golden_entry(target, precision["name"] if precision else "fp32").model_dump(),
            "precision": precision,
            "files": {},
            "layout": layout_of(recipe),
            "origin": recipe.data.origin.plain() or None,
            "point": dict(point),
            "about": {**recipe.package.card.model_dump(), "description": recipe.description, **(about or {})},
            **facts,
        }
    )


def layout_of(recipe: Recipe) -> dict[str, Any]:
    """Return how the files that a model learned from are arranged and what their labels mean, without their place.

    Args:
        recipe: What the model was made from.
    """
    plain = recipe.plain()
    data = {key: value for key, value in plain["data"].items() if key not in _PLACES}
    if not str(data["series"] or "").isdecimal():  # a UID is of one series of one person, and there is none elsewhere
        data["series"] = None
    return {"target": plain["target"], "data": data}


def model_entry(recipe: Recipe, table_features: Sequence[int]) -> dict[str, Any]:
    """Return what it takes to build the network of a recipe again, as ``ModelEntry`` takes it.

    Args:
        recipe: What the network was made from.
        table_features: Columns of encoded metadata of each member.
    """
    model = recipe.model
    shaping = model.model_dump(include=_SHAPING, exclude_none=True)
    return {
        "name": model.name,
        "args": dict(model.args),
        "in_channels": recipe.data.input_channels,
        "options": {key: value for key, value in shaping.items() if value is not False},
        "table_features": tuple(table_features),
    }


def weights_bytes(weights: Weights) -> bytes:
    """Return weights as a safetensors file, without the metadata that a file may hold.

    Args:
        weights: A safetensors file, or the tensors by name.
    """
    safetensors = require("safetensors.numpy", "serve")
    tensors = safetensors.load_file(weights) if isinstance(weights, Path) else weights
    data: bytes = safetensors.save({name: np.array(tensors[name], order="C") for name in sorted(tensors)})
    return data


def _versions() -> dict[str, str]:
    installed = {dist.metadata["Name"].lower(): dist.version for dist in importlib.metadata.distributions()}
    found = {name: installed[name] for name in _RECORDED if name in installed}
    return {"python": platform.python_version(), **found}
