"""A bundle small enough for tests, made without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medloom.extras import require
from medloom.inference import OperatingPoint
from medloom.packaging.writer import write_bundle
from medloom.recipe import DataConfig, PreprocessConfig, Recipe

__all__ = ["tiny_graph", "tiny_recipe", "write_tiny_bundle"]

_OPSET = 20
_IR_VERSION = 10


def tiny_recipe(
    *, channels: Sequence[str] = ("pre", "FLAIR", "post"), classes: int = 2, size: tuple[int, int] = (32, 32)
) -> Recipe:
    """Return a recipe for images of ``size``."""
    return Recipe(
        name="tiny",
        data=DataConfig(channels=tuple(channels), mask_values={f"class{index}": index for index in range(classes)}),
        preprocess=PreprocessConfig(size=size),
    )


def tiny_graph(channels: int = 3, outputs: int = 1, **tensor: Any) -> Any:  # noqa: ANN401 - an onnx.ModelProto
    """Return an ONNX model that finds what is bright in the last channel: one convolution and a sigmoid or softmax.

    Args:
        channels: C of the images.
        outputs: K of the probabilities.
        tensor: Fields to set on the weights, such as ``data_location``.
    """
    onnx = require("onnx", "train")
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    weight = np.zeros((outputs, channels, 1, 1), np.float32)
    weight[:, -1, 0, 0] = np.arange(outputs) * 2.0 if outputs > 1 else 3.0
    bias = np.linspace(0.0, -2.0, outputs, dtype=np.float32) if outputs > 1 else np.array([-3.0], np.float32)
    initial = [onnx.numpy_helper.from_array(value, name) for name, value in (("w", weight), ("b", bias))]
    for name, value in tensor.items():
        setattr(initial[0], name, value)
    activation = helper.make_node("Sigmoid" if outputs == 1 else "Softmax", ["logits"], ["probabilities"])
    if outputs > 1:
        activation.attribute.append(helper.make_attribute("axis", 1))
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "w", "b"], ["logits"]), activation],
        "tiny",
        [helper.make_tensor_value_info("image", real, ["batch", channels, "height", "width"])],
        [helper.make_tensor_value_info("probabilities", real, ["batch", outputs, "height", "width"])],
        initial,
    )
    opset = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)


def write_tiny_bundle(path: Path, recipe: Recipe | None = None, *, phantom: bool = False) -> Path:
    """Write a bundle around ``tiny_graph``.

    Args:
        path: Where the bundle shall be; the graph is written beside it.
        recipe: From ``tiny_recipe``; its default if None.
        phantom: Whether the model claims to have learned from phantoms.
    """
    recipe = recipe or tiny_recipe()
    classes, channels = len(recipe.data.classes), len(recipe.data.channels)
    graph = path.with_suffix(".onnx")
    graph.parent.mkdir(parents=True, exist_ok=True)
    graph.write_bytes(tiny_graph(channels, 1 if classes == 2 else classes).SerializeToString())
    return write_bundle(
        path,
        onnx=graph,
        weights={"w": np.zeros(1, np.float32)},
        recipe=recipe,
        operating_point=OperatingPoint(0.5, 4),
        metrics={"dice": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}},
        fingerprint="0" * 64,
        phantom=phantom,
    )
