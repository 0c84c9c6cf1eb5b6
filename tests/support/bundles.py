"""Bundles around tiny graphs made by hand, for tests that need a model but no training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.data.metadata import TableEncoding
from medloom.extras import require
from medloom.inference import LabelPoint, MaskPoint, default_point
from medloom.inference.calibration import Calibration
from medloom.inference.quality import Quality
from medloom.packaging.writer import write_bundle
from medloom.recipe import LabelsRecipe, MasksRecipe, Recipe
from medloom.recipe.kinds import KINDS
from medloom.targets import KINDS as TARGETS
from medloom.targets import Target

__all__ = [
    "spatial_graph",
    "spatial_label_graph",
    "tiny_graph",
    "tiny_label_graph",
    "tiny_label_recipe",
    "tiny_recipe",
    "write_tiny_bundle",
    "write_tiny_label_bundle",
]

_ACTIVATIONS = {"sigmoid": "Sigmoid", "softmax": "Softmax", "identity": "Identity"}
_NAMES = {"classes": "classes", "targets": "columns"}
"""Where a recipe says the names of a target, by what they are called."""

_METADATA = {"numeric": ("age",), "categorical": ("sex",)}
_ROWS = ({"age": "40", "sex": "female"}, {"age": "60", "sex": "male"})
"""Training rows: an age of 60 becomes 1, one of 40 becomes -1."""

_POINT = MaskPoint(0.5, 4)
_OPSET = 20
_IR_VERSION = 10


def tiny_recipe(
    *,
    channels: Sequence[str] = ("pre", "FLAIR", "post"),
    classes: int = 2,
    size: tuple[int, int] = (32, 32),
    preprocess: Mapping[str, Any] | None = None,
    views: int = 1,
    context: int = 0,
) -> MasksRecipe:
    """Return a recipe for masks and images of ``size``; ``preprocess`` holds further keys of that section."""
    return MasksRecipe.model_validate(
        {
            "name": "tiny",
            "target": {"mask_values": {f"class{index}": index for index in range(classes)}},
            "data": {"channels": tuple(channels), "context": context},
            "preprocess": {"size": size, **(preprocess or {})},
            "evaluate": {"views": views},
        }
    )


def tiny_graph(channels: int = 3, outputs: int = 1, **tensor: Any) -> Any:
    """Return an ONNX model that finds what is bright in the last channel: one convolution and a sigmoid or softmax.

    Args:
        channels: C of the images.
        outputs: K of the probabilities.
        tensor: Fields to set on the weights, such as ``data_location``.
    """
    onnx = require("onnx", "train")
    helper = onnx.helper
    weight = np.zeros((outputs, channels, 1, 1), np.float32)
    weight[:, -1, 0, 0] = np.arange(outputs) * 2.0 if outputs > 1 else 3.0
    bias = np.linspace(0.0, -2.0, outputs, dtype=np.float32) if outputs > 1 else np.array([-3.0], np.float32)
    activation = helper.make_node("Sigmoid" if outputs == 1 else "Softmax", ["logits"], ["probabilities"])
    if outputs > 1:
        activation.attribute.append(helper.make_attribute("axis", 1))
    model = _model(
        [helper.make_node("Conv", ["image", "w", "b"], ["logits"]), activation],
        {"image": ["batch", channels, "height", "width"]},
        ["batch", outputs, "height", "width"],
        {"w": weight, "b": bias},
    )
    for name, value in tensor.items():
        setattr(model.graph.initializer[0], name, value)
    return model


def tiny_label_graph(target: Target, channels: int, table_features: int = 0) -> Any:
    """Return an ONNX model that answers by the mean of each channel, plus the sum of the encoded metadata.

    With m the mean over pixels and channels and t the sum of the metadata, output k is the activation of
    ``(k + 1) * (m + t) - k / 2``: sigmoid, softmax over k, or none for numbers.

    Args:
        target: What it predicts for the whole image.
        channels: C of the images.
        table_features: F of the metadata; with some, the graph takes a second input ``table``.
    """
    make = require("onnx", "train").helper.make_node
    ranks = np.arange(target.outputs, dtype=np.float32)
    weights = {
        "w": np.tile((ranks + 1) / np.float32(channels), (channels, 1)),
        "b": -ranks / 2,
        **({"v": np.tile(ranks + 1, (table_features, 1))} if table_features else {}),
    }
    nodes = [
        make("GlobalAveragePool", ["image"], ["pooled"]),
        make("Flatten", ["pooled"], ["means"]),
        make("Gemm", ["means", "w", "b"], ["seen"]),
        *([make("Gemm", ["table", "v", "seen"], ["logits"])] if table_features else []),
        make(_ACTIVATIONS[target.activation], ["logits" if table_features else "seen"], ["probabilities"]),
    ]
    inputs: dict[str, list[str | int]] = {"image": ["batch", channels, "height", "width"]}
    if table_features:
        inputs["table"] = ["batch", table_features]
    return _model(nodes, inputs, ["batch", target.outputs], weights)


def _model(
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[str | int]],
    answer: Sequence[str | int],
    weights: Mapping[str, NDArray[np.float32]],
) -> Any:
    onnx = require("onnx", "train")
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info(name, number, list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("probabilities", number, list(answer))],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)


def spatial_graph(channels: int, outputs: int) -> Any:
    """Return an ONNX model for masks to which left, right, up and down are different: a convolution of 3x3 weights."""
    onnx = require("onnx", "train")
    rng = np.random.default_rng(channels * 10 + outputs)
    weight = rng.normal(0.0, 0.5, (outputs, channels, 3, 3)).astype(np.float32)
    activation = {"axis": 1} if outputs > 1 else {}
    return _model(
        [
            onnx.helper.make_node("Conv", ["image", "w"], ["logits"], pads=[1, 1, 1, 1]),
            onnx.helper.make_node("Softmax" if outputs > 1 else "Sigmoid", ["logits"], ["probabilities"], **activation),
        ],
        {"image": ["batch", channels, "height", "width"]},
        ["batch", outputs, "height", "width"],
        {"w": weight},
    )


def write_tiny_bundle(
    path: Path,
    recipe: Recipe | None = None,
    *,
    phantom: bool = False,
    graph: Any = None,
    point: MaskPoint = _POINT,
    calibration: Calibration | None = None,
    quality: Quality | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> Path:
    """Write a bundle around ``tiny_graph``.

    Args:
        path: Where the bundle shall be; the graph is written beside it.
        recipe: From ``tiny_recipe``; its default if None.
        phantom: Whether the model claims to have learned from phantoms.
        graph: Another model to put into it.
        point: The operating point.
        calibration: What corrects the probabilities.
        quality: What says how good an answer is to be expected.
        metrics: What was measured; something by default.
    """
    recipe = recipe or tiny_recipe()
    graph = _write_graph(path, graph or tiny_graph(recipe.data.input_channels, recipe.predicts().outputs))
    return write_bundle(
        path,
        onnx=graph,
        weights={"w": np.zeros(1, np.float32)},
        recipe=recipe,
        point=point,
        calibration=calibration,
        quality=quality,
        metrics=metrics or {"dice": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}},
        fingerprint="0" * 64,
        phantom=phantom,
    )


def tiny_label_recipe(
    kind: str = "binary",
    *,
    names: Sequence[str] = ("benign", "malignant"),
    channels: Sequence[str] = ("grey",),
    size: tuple[int, int] = (32, 32),
    metadata: bool = False,
    views: int = 1,
    preprocess: Mapping[str, Any] | None = None,
    context: int = 0,
) -> LabelsRecipe:
    """Return a recipe for labels of whole images; how bright a pixel is does not depend on the others.

    Args:
        kind: What is predicted.
        names: Classes for ``binary`` and ``multi-class``, else targets.
        channels: Names of the channels.
        size: Height and width of the network's image.
        metadata: Whether it takes ``age`` (60 becomes 1, 40 becomes -1) and ``sex`` (female or male).
        views: Views that are averaged.
        preprocess: Further keys of that section; normalised as for ImageNet if it does not say.
        context: Slices on either side that are seen with each.
    """
    labels = {"metadata": _METADATA} if metadata else {}
    plain = {
        "name": "tiny-labels",
        "target": {"kind": kind, _NAMES[TARGETS[kind].names]: tuple(names)},
        "data": {"layout": "csv", "channels": tuple(channels), "context": context, "labels": labels},
        "preprocess": {"size": size, "normalise": {"method": "imagenet"}, **(preprocess or {})},
        "model": {"name": "perceptron", "metadata": "fused" if metadata else "none"},
        "evaluate": {"views": views},
    }
    return LabelsRecipe.of(KINDS[kind].model_validate(plain))


def spatial_label_graph(target: Target, channels: int, table_features: int = 0) -> Any:
    """Return an ONNX model for labels to which left, right, up and down are different: see ``spatial_graph``."""
    make = require("onnx", "train").helper.make_node
    rng, hidden = np.random.default_rng(channels * 10 + target.outputs), 5
    weights = {
        "w": rng.normal(0.0, 1.0, (hidden, channels, 3, 3)),
        "h": rng.normal(0.0, 0.3, (hidden, target.outputs)),
        "b": np.linspace(-0.5, 0.5, target.outputs),
        **({"v": rng.normal(0.0, 0.5, (table_features, target.outputs))} if table_features else {}),
    }
    nodes = [
        make("Conv", ["image", "w"], ["edges"]),
        make("Relu", ["edges"], ["found"]),
        make("GlobalAveragePool", ["found"], ["pooled"]),
        make("Flatten", ["pooled"], ["means"]),
        make("Gemm", ["means", "h", "b"], ["seen"]),
        *([make("Gemm", ["table", "v", "seen"], ["logits"])] if table_features else []),
        make(_ACTIVATIONS[target.activation], ["logits" if table_features else "seen"], ["probabilities"]),
    ]
    inputs: dict[str, list[str | int]] = {"image": ["batch", channels, "height", "width"]}
    if table_features:
        inputs["table"] = ["batch", table_features]
    floats = {name: value.astype(np.float32) for name, value in weights.items()}
    return _model(nodes, inputs, ["batch", target.outputs], floats)


def write_tiny_label_bundle(
    path: Path,
    recipe: LabelsRecipe | None = None,
    *,
    thresholds: Sequence[float] = (),
    phantom: bool = False,
    graph: Callable[[Target, int, int], Any] = tiny_label_graph,
    rows: Sequence[Sequence[Mapping[str, str]]] = (_ROWS,),
    calibration: Calibration | None = None,
    quality: Quality | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> Path:
    """Write a bundle around ``tiny_label_graph``.

    Args:
        path: Where the bundle shall be; the graph is written beside it.
        recipe: From ``tiny_label_recipe``; its default if None.
        thresholds: One for two classes, one a target for several labels; 0.5 each if there are none.
        phantom: Whether the model claims to have learned from phantoms.
        graph: What makes the model, out of the target, the channels and the columns of all members' metadata.
        rows: Training rows with metadata, of each member.
        calibration: What corrects the probabilities.
        quality: What says how good an answer is to be expected.
        metrics: What was measured; something by default.
    """
    recipe = recipe or tiny_label_recipe()
    target, takes_metadata = recipe.predicts(), recipe.model.metadata != "none"
    tables = [TableEncoding.fit(one, **_METADATA) if takes_metadata else None for one in rows]
    features = sum(len(table.names) for table in tables if table)
    return write_bundle(
        path,
        onnx=_write_graph(path, graph(target, recipe.data.input_channels, features)),
        weights={"w": np.zeros(1, np.float32)},
        recipe=recipe,
        point=LabelPoint(tuple(thresholds)) if thresholds else default_point(target),
        tables=tables,
        calibration=calibration,
        quality=quality,
        metrics=metrics or {"auc": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 10}},
        fingerprint="0" * 64,
        phantom=phantom,
    )


def _write_graph(bundle: Path, model: Any) -> Path:
    graph = bundle.with_suffix(".onnx")
    graph.parent.mkdir(parents=True, exist_ok=True)
    graph.write_bytes(model.SerializeToString())
    return graph
