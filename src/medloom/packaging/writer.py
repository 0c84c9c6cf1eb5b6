"""Write a bundle."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medloom import __version__
from medloom.extras import require
from medloom.files import sha256_bytes
from medloom.imaging import CONTENT_TYPES
from medloom.inference import OperatingPoint
from medloom.inference.runtimes.graph import read_graph
from medloom.inference.runtimes.onnx import OnnxRuntime
from medloom.packaging.archive import pack
from medloom.packaging.bundle import CHECKSUM, GRAPH, MANIFEST, WEIGHTS, build_predictor, checksum_line
from medloom.packaging.golden import GOLDEN, make_golden
from medloom.packaging.manifest import (
    FORMAT,
    InputContract,
    LabelsEntry,
    Manifest,
    ModelEntry,
    OperatingPointEntry,
    TrainingData,
)
from medloom.recipe import Recipe

__all__ = ["write_bundle"]

_ENTRY_POINT = "code/inference.py"
_SHAPING = {"dropout", "metadata", "table_width"}
"""Keys of the recipe's ``model`` that decide a classifier's shape beside its name and arguments."""

_RECORDED = ("torch", "monai", "lightning", "onnx", "onnxruntime", "numpy")

Weights = Path | Mapping[str, Any]


def write_bundle(
    path: Path,
    *,
    onnx: Path,
    weights: Weights,
    recipe: Recipe,
    metrics: Mapping[str, Any],
    fingerprint: str,
    phantom: bool,
    operating_point: OperatingPoint | None = None,
    labels: LabelsEntry | None = None,
    table_features: Sequence[int] = (0,),
    counts: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``model.tar.gz`` atomically; the same inputs give the same bytes.

    Args:
        path: Where the bundle shall be.
        onnx: The exported graph, which gives probabilities.
        weights: The same weights: a safetensors file, or the network's ``state_dict()``.
        recipe: What the run was made from.
        metrics: Headline figures, as plain JSON types without NaN.
        fingerprint: SHA-256 of the catalogue that the model learned from.
        phantom: Whether that data was made up.
        operating_point: For segmentation: fixed on the validation set.
        labels: For classification: thresholds, rounds and how metadata are encoded.
        table_features: Columns of encoded metadata of each member of the model.
        counts: Patients and samples of each split.

    Returns:
        ``path``.

    Raises:
        BundleError: If the graph does not stand alone.
    """
    graph = read_graph(onnx)
    manifest = _manifest(
        recipe,
        table_features,
        operating_point=None if operating_point is None else _entry(operating_point),
        labels=labels,
        metrics=dict(metrics),
        training_data=TrainingData(fingerprint=fingerprint, counts=dict(counts or {})),
        phantom=phantom,
        files={},
    )
    files = {
        GRAPH: graph,
        WEIGHTS: _weights(weights),
        _ENTRY_POINT: (Path(__file__).parent / _ENTRY_POINT).read_bytes(),
        **make_golden(build_predictor(manifest, OnnxRuntime(graph))),
    }
    manifest = manifest.model_copy(update={"files": {name: sha256_bytes(content) for name, content in files.items()}})
    data = manifest.model_dump_json(indent=2).encode() + b"\n"
    pack(path, {**files, MANIFEST: data, CHECKSUM: checksum_line(data)})
    return path


def _manifest(
    recipe: Recipe,
    table_features: Sequence[int],
    **facts: Any,  # noqa: ANN401 - fields of Manifest, checked by pydantic
) -> Manifest:
    classes, channels = recipe.classes, recipe.data.channels
    labels: LabelsEntry | None = facts["labels"]
    outputs = len(classes) if labels is None or labels.kind in ("binary", "multi-class") else len(labels.targets)
    return Manifest(
        format=FORMAT,
        medloom=__version__,
        task=recipe.task,
        name=recipe.name,
        classes=classes,
        channels=channels,
        input=InputContract(
            content_types=tuple(CONTENT_TYPES),
            channels=channels,
            page=None if recipe.data.page == "all" else recipe.data.page,
        ),
        preprocess=recipe.preprocess,
        model=ModelEntry(
            name=recipe.model.name,
            args=dict(recipe.model.args),
            in_channels=len(channels),
            out_channels=1 if outputs == 2 and (labels is None or labels.kind == "binary") else outputs,
            options={} if labels is None else recipe.model.model_dump(include=_SHAPING),
            table_features=tuple(table_features),
        ),
        flips=recipe.evaluate.flips,
        runtime=recipe.package.runtime,
        versions=_versions(),
        golden=GOLDEN if labels is None else GOLDEN.model_copy(update={"mask": None}),
        **facts,
    )


def _entry(point: OperatingPoint) -> OperatingPointEntry:
    return OperatingPointEntry(threshold=point.threshold, min_lesion_px=point.min_lesion_px)


def _weights(weights: Weights) -> bytes:
    """Read or take the tensors, and write them without the metadata of whoever held them before."""
    safetensors = require("safetensors.numpy", "serve")
    tensors = safetensors.load_file(weights) if isinstance(weights, Path) else weights
    data: bytes = safetensors.save({name: np.array(tensors[name], order="C") for name in sorted(tensors)})
    return data


def _versions() -> dict[str, str]:
    installed = {dist.metadata["Name"].lower(): dist.version for dist in importlib.metadata.distributions()}
    found = {name: installed[name] for name in _RECORDED if name in installed}
    return {"python": platform.python_version(), **found}
