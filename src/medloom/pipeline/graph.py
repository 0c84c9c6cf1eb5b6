"""The graph of a run: what the bundle will serve, exported, and run as the bundle runs it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medloom import data
from medloom.data import TableEncoding
from medloom.data.context import gathered, rows_beside
from medloom.events import Events
from medloom.files import TemporaryFolder, write_bytes
from medloom.inference import NetworkSpec, Predictor, Runtime, build_runtime, default_point, needs_weights
from medloom.pipeline.places import find_store
from medloom.pipeline.runs import Run
from medloom.transforms import Preprocess
from medloom.transforms.preprocess import centre_crop

if TYPE_CHECKING:
    from medloom.models import Network

__all__ = ["GRAPH", "export"]

GRAPH = "model.onnx"
"""The best weights as a graph that gives probabilities."""

_EXAMPLES = 3

_LOOKED_AT = 24


def export(
    run: Run,
    network: Network,
    tables: Sequence[TableEncoding | None],
    *,
    images: str | Path | None = None,
    events: Events | None = None,
) -> Predictor:
    """Export a network into the run directory and load it the way the bundle will be loaded, in the same runtime.

    Args:
        run: The run.
        network: The network, or the ensemble of several.
        tables: How metadata become numbers for each of them; None for one that takes none.
        images: Folder or zip with the images, for a pixel store that is not on this machine.
        events: Told if the store has to be built.

    Returns:
        A predictor whose operating point is not chosen yet.
    """
    from medloom.packaging.export import export_onnx  # brings torch

    recipe, target = run.recipe, run.recipe.predicts()
    encodings = tuple(table for table in tables if table is not None)
    path = export_onnx(
        network,
        run.folder / GRAPH,
        channels=recipe.data.input_channels,
        size=recipe.preprocess.input_size,
        target=target,
        table_features=sum(len(table.names) for table in encodings),
        examples=_examples(run, images, events),
    )
    return Predictor(
        _runtime(run, network, path, [0 if table is None else len(table.names) for table in tables]),
        Preprocess.of(recipe.preprocess),
        target,
        recipe.data.channels,
        point=default_point(target),
        views=recipe.evaluate.views,
        orientation=run.facts("prepare.json", "prepare").get("orientation", {}).get("plane"),
        context=recipe.data.context,
        tables=encodings,
    )


def _runtime(run: Run, network: Network, graph: Path, table_features: Sequence[int]) -> Runtime:
    """The runtime that the bundle serves with by default, made from what the bundle holds."""
    name, threads = run.recipe.package.runtime, _threads()
    if not needs_weights(name):
        return build_runtime(name, graph, threads=threads)
    from medloom.packaging.writer import model_entry, weights_bytes

    entry = model_entry(run.recipe, table_features)
    spec = NetworkSpec(size=run.recipe.preprocess.input_size, target=run.recipe.predicts(), **entry)
    beside = TemporaryFolder("medloom-weights-")
    try:
        path = beside.path / "model.safetensors"
        write_bytes(path, weights_bytes({key: value.numpy() for key, value in network.state_dict().items()}))
        return build_runtime(name, path, threads=threads, network=spec)
    finally:
        beside.remove()


def _threads() -> int | None:
    """As many as for training, where someone has said so: folds that run at a time share the cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) > 0 else None


def _examples(run: Run, images: str | Path | None, events: Events | None) -> NDArray[np.float32]:
    """A few of the run's images as its network sees them: from all over the run, those with the most contrast.

    A blank image would not do: what a network that normalises by instance makes of it is rounding errors divided by
    next to nothing, and they differ between runtimes.
    """
    store = find_store(run, images, events=events)
    catalogue = data.read_catalogue(run.folder / "catalogue.csv")
    spread = np.linspace(0, len(catalogue) - 1, _LOOKED_AT).round().astype(int)
    rows = store.rows(catalogue["sample_id"].iloc[spread].tolist())
    context = rows_beside(catalogue, store.rows, len(store), run.recipe.data.context)
    pixels, offset, scale = (gathered(array, rows, context) for array in (store.images, store.offset, store.scale))
    normalised = (pixels.astype(np.float32) - offset[:, :, None, None]) * scale[:, :, None, None]
    chosen = np.argsort(-normalised.std(axis=(1, 2, 3)), kind="stable")[:_EXAMPLES]
    return np.ascontiguousarray(centre_crop(normalised[chosen], Preprocess.of(run.recipe.preprocess).crop))
