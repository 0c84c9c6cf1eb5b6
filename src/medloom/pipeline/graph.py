"""The graph of a run: what the bundle will serve, exported, and run as the bundle runs it.

Shapes: N images, C channels, h and w of the network's grid, F columns of encoded metadata.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medloom import data
from medloom.data import PixelStore, TableEncoding
from medloom.data.context import gathered, rows_beside
from medloom.data.opening import Images
from medloom.errors import MissingExtraError
from medloom.events import Events
from medloom.inference import NetworkSpec, Predictor, Runtime, build_runtime, default_point, needs_weights
from medloom.inference.metadata import encode
from medloom.pipeline.places import find_store
from medloom.pipeline.runs import Run
from medloom.registry import RUNTIMES
from medloom.transforms import Preprocess
from medloom.transforms.preprocess import centre_crop

if TYPE_CHECKING:
    from medloom.models import Network

__all__ = ["GRAPH", "Exported", "export"]

GRAPH = "model.onnx"
"""The best weights as a graph that gives probabilities."""

_EXAMPLES, _LOOKED_AT = 8, 24
_CALIBRATES = 64
"""Validation images by which the ranges of 8 bits are found; more change next to nothing."""

_WITH_GRAPH = {"onnx": ("fp16", "bf16", "int8"), "openvino": ("int8",)}
"""In which precisions a runtime computes what the graph holds; others it computes from the float32 graph."""

Floats32 = NDArray[np.float32]


@dataclass(frozen=True)
class Exported:
    """What was exported, loaded the way the bundle will be loaded, in the same runtime and precision.

    Args:
        predictor: Its operating point is not chosen yet.
        exact: The same in float32; the predictor itself where that is what is served.
        computed: How the runtime computes it here, in words; empty for float32.
        calibrated_on: By how many images the ranges of 8 bits were found.
        agreement: How far other runtimes are from this one, as ``Agreement`` of a bundle's manifest.
    """

    predictor: Predictor
    exact: Predictor
    computed: str = ""
    calibrated_on: int = 0
    agreement: tuple[dict[str, Any], ...] = ()


def export(
    run: Run,
    network: Network,
    tables: Sequence[TableEncoding | None],
    *,
    images: str | Images | None = None,
    events: Events | None = None,
) -> Exported:
    """Export a network into the run directory, in the precision of the recipe, and load it as the bundle will be.

    Args:
        run: The run.
        network: The network, or the ensemble of several.
        tables: How metadata become numbers for each of them; None for one that takes none.
        images: Folder or zip with the images, for a pixel store that is not on this machine.
        events: Told if the store has to be built.

    Raises:
        UserError: If the runtime cannot execute that precision here.
    """
    from medloom.packaging.export import export_onnx  # brings torch

    recipe, target = run.recipe, run.recipe.predicts()
    encodings = tuple(table for table in tables if table is not None)
    seen = _Seen(run, encodings, find_store(run, images, events=events))
    path = export_onnx(
        network,
        run.folder / GRAPH,
        channels=recipe.data.input_channels,
        size=recipe.preprocess.input_size,
        target=target,
        table_features=sum(len(table.names) for table in encodings),
        examples=seen.examples()[0],
    )
    features = [0 if table is None else len(table.names) for table in tables]
    exact = Predictor(
        _runtime(run, network, path, features, "fp32"),
        Preprocess.of(recipe.preprocess),
        target,
        recipe.data.channels,
        point=default_point(target),
        views=recipe.evaluate.views,
        orientation=run.facts("prepare.json", "prepare").get("orientation", {}).get("plane"),
        context=recipe.data.context,
        tables=encodings,
    )
    exported = Exported(exact, exact)
    if recipe.package.precision != "fp32":
        exported = _reduced(run, network, path, features, exact, seen)
    return replace(exported, agreement=_agreement(exported.predictor, network, path, *seen.examples()))


def _reduced(
    run: Run, network: Network, graph: Path, table_features: Sequence[int], exact: Predictor, seen: _Seen
) -> Exported:
    """Bring the graph into fewer bits where the runtime computes what it holds, and load it again."""
    from medloom.packaging.precision import computed_text, reduce_graph  # brings the converters

    name, precision, calibrated_on = run.recipe.package.runtime, run.recipe.package.precision, 0
    if precision in _WITH_GRAPH.get(name, ()):
        images, tables = seen.validation()
        reduce_graph(graph, precision, images=images, tables=tables)
        calibrated_on = len(images) if precision == "int8" else 0
    runtime = _runtime(run, network, graph, table_features, precision)
    return Exported(replace(exact, runtime=runtime), exact, computed_text(runtime, graph, precision), calibrated_on)


def _agreement(
    predictor: Predictor, network: Network, graph: Path, images: Floats32, tables: Floats32 | None
) -> tuple[dict[str, Any], ...]:
    """Ask every other runtime that is installed the same."""
    from medloom.inference.runtimes.torch import TorchRuntime  # brings torch

    expected, found = predictor.runtime.run(images, tables), list[dict[str, Any]]()
    for name in RUNTIMES:
        if name == predictor.runtime.name:
            continue
        try:
            other = (
                TorchRuntime(network, activation=predictor.target.activation)
                if needs_weights(name)
                else build_runtime(name, graph, threads=_threads())
            )
        except MissingExtraError:
            continue
        apart = float(np.abs(other.run(images, tables) - expected).max())
        found.append({"runtime": name, "images": len(images), "largest_difference": apart})
    return tuple(found)


def _runtime(run: Run, network: Network, graph: Path, table_features: Sequence[int], precision: str) -> Runtime:
    """The runtime that the bundle serves with by default, made from what the bundle holds."""
    from medloom.packaging.writer import model_entry, runtime_of, weights_bytes

    entry = model_entry(run.recipe, table_features)
    return runtime_of(
        run.recipe.package.runtime,
        graph,
        lambda: weights_bytes({key: value.numpy() for key, value in network.state_dict().items()}),
        network=NetworkSpec(size=run.recipe.preprocess.input_size, target=run.recipe.predicts(), **entry),
        precision=precision,
        threads=_threads(),
    )


def _threads() -> int | None:
    """As many as for training, where someone has said so: folds that run at a time share the cores."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() and int(given) > 0 else None


@dataclass(frozen=True, eq=False)
class _Seen:
    """Images of a run as its network sees them, with their metadata."""

    run: Run
    tables: Sequence[TableEncoding]
    store: PixelStore

    def examples(self) -> tuple[Floats32, Floats32 | None]:
        """A few from all over the run: those with the most contrast.

        A blank image would not do: what a network that normalises by instance makes of it is rounding errors divided by
        next to nothing, and they differ between runtimes.
        """
        catalogue = self._catalogue()
        images, tables = self._of(_spread(catalogue, _LOOKED_AT), catalogue)
        chosen = np.argsort(-images.std(axis=(1, 2, 3)), kind="stable")[:_EXAMPLES]
        return np.ascontiguousarray(images[chosen]), None if tables is None else tables[chosen]

    def validation(self) -> tuple[Floats32, Floats32 | None]:
        """Validation images from all over that part."""
        catalogue = self._catalogue()
        return self._of(_spread(catalogue[catalogue["split"] == "validation"], _CALIBRATES), catalogue)

    def _catalogue(self) -> pd.DataFrame:
        return data.read_catalogue(self.run.folder / "catalogue.csv")

    def _of(self, chosen: pd.DataFrame, catalogue: pd.DataFrame) -> tuple[Floats32, Floats32 | None]:
        store, rows = self.store, self.store.rows(chosen["sample_id"].tolist())
        context = rows_beside(catalogue, store.rows, len(store), self.run.recipe.data.context)
        pixels, offset, scale = (gathered(array, rows, context) for array in (store.images, store.offset, store.scale))
        normalised = (pixels.astype(np.float32) - offset[:, :, None, None]) * scale[:, :, None, None]
        images = centre_crop(normalised, Preprocess.of(self.run.recipe.preprocess).crop)
        return np.ascontiguousarray(images), encode(self.tables, self._metadata(chosen)) if self.tables else None

    def _metadata(self, chosen: pd.DataFrame) -> list[dict[str, str]]:
        """Of the columns that the network takes; the catalogue may have others, for groups."""
        columns = self.tables[0].columns
        return [{name: one.get(name, "") for name in columns} for one in data.meta_of(chosen)]


def _spread(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """So many rows, evenly from the first to the last."""
    return rows.iloc[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)]
