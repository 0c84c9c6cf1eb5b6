"""A small network with the fingerprint of made-up pictures, for tests of what is far from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medloom.evaluation.fingerprint import Known, fit_fingerprint
from medloom.imaging import encode_png
from medloom.inference import LabelPoint, MaskPoint, Predictor, build_runtime
from medloom.inference.fingerprint import Fingerprint, probe_features
from medloom.inference.measures import measure
from medloom.models.kinds import build_network
from medloom.packaging import write_bundle
from medloom.packaging.export import export_onnx
from medloom.recipe import Recipe
from medloom.transforms import Preprocess
from support.bundles import tiny_label_recipe, tiny_recipe

__all__ = ["fingerprint_of", "known", "network_of", "picture", "pictures", "recipe_of", "write_known_bundle"]

SIZE = 32


def picture(seed: int, *, channels: int = 1) -> NDArray[np.uint8]:
    """A bright ellipse on a dark ground, each at another place, of another size and brightness."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    (top, left), (height, width) = rng.uniform(-0.2, 0.2, 2), rng.uniform(0.4, 0.7, 2)
    inside = ((y - top) / height) ** 2 + ((x - left) / width) ** 2 < 1
    grey = 30 + inside * rng.uniform(80, 140) + rng.normal(0, 8, (SIZE, SIZE))
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], channels, axis=2)


def pictures(seeds: Sequence[int], *, channels: int = 1) -> list[NDArray[np.uint8]]:
    """Several of them."""
    return [picture(seed, channels=channels) for seed in seeds]


def recipe_of(kind: str) -> Recipe:
    """A recipe of a small network for masks, or for two classes."""
    if kind == "masks":
        plain = tiny_recipe(channels=("grey",), size=(SIZE, SIZE)).plain()
        return type(tiny_recipe()).model_validate(
            {**plain, "model": {"name": "unet", "args": {"channels": [4, 8, 16]}}}
        )
    plain = tiny_label_recipe(size=(SIZE, SIZE)).plain()
    return type(tiny_label_recipe()).model_validate({**plain, "model": {"name": "test_resnet"}})


def network_of(recipe: Recipe, seed: int = 0) -> Any:
    """The network of a recipe with random weights."""
    torch.manual_seed(seed)
    return build_network(recipe, recipe.data.input_channels, 0).eval()


def write_graph(recipe: Recipe, network: Any, folder: Path) -> Path:
    """Export a network."""
    images = np.stack([picture(seed)[..., 0].astype(np.float32)[None] / 128 - 1 for seed in range(3)])
    return export_onnx(
        network,
        folder / "model.onnx",
        channels=1,
        size=recipe.preprocess.input_size,
        target=recipe.predicts(),
        examples=images,
    )


def point_of(recipe: Recipe) -> MaskPoint | LabelPoint:
    """An operating point."""
    return MaskPoint(0.5, 0) if recipe.target.kind == "masks" else LabelPoint((0.5,))


def predictor_of(recipe: Recipe, graph: Path) -> Predictor:
    """A predictor around a graph, without a fingerprint."""
    return Predictor(
        build_runtime("onnx", graph, threads=1),
        Preprocess.of(recipe.preprocess),
        recipe.predicts(),
        recipe.data.channels,
        point=point_of(recipe),
    )


def known(predictor: Predictor, seeds: Sequence[int]) -> Known:
    """What pictures, each of another patient, are for a predictor."""
    looking = replace(predictor, looks=True)
    prepared = [looking.prepare(one) for one in pictures(seeds)]
    features = looking.run_with_features(np.stack([one.network_input for one in prepared]))[1]
    rows = None if features is None else features.astype(np.float64)
    return Known(np.stack([measure(one) for one in prepared]), rows, np.array(seeds))


def fingerprint_of(predictor: Predictor, train: int = 120, held_out: int = 99) -> Fingerprint:
    """The fingerprint of pictures 0 to 119, with the next ones for the threshold."""
    places = range(train), range(train, train + held_out)
    found = fit_fingerprint(*(known(predictor, list(one)) for one in places), probe_features(predictor))
    assert found is not None
    return found


def write_known_bundle(path: Path, kind: str = "masks", *, network_seed: int | None = None) -> Path:
    """Write a bundle of a small network that knows the fingerprint of its pictures.

    Args:
        path: Where the bundle shall be.
        kind: ``masks`` or ``binary``.
        network_seed: Of the network that is packaged, where it is another one than the fingerprint is of.
    """
    recipe = recipe_of(kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    network = network_of(recipe)
    graph = write_graph(recipe, network, path.parent)
    fingerprint = fingerprint_of(predictor_of(recipe, graph))
    if network_seed is not None:
        network = network_of(recipe, network_seed)
        graph = write_graph(recipe, network, path.parent)
    return write_bundle(
        path,
        onnx=graph,
        weights={name: tensor.numpy() for name, tensor in network.state_dict().items()},
        recipe=recipe,
        point=point_of(recipe),
        metrics={},
        fingerprint="0" * 64,
        phantom=True,
        images_fingerprint=fingerprint,
    )


def png(seed: int) -> bytes:
    """A picture as a file."""
    return encode_png(picture(seed)[..., 0])
