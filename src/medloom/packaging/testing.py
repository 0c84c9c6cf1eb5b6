"""Bundles small enough for tests, made without torch: one that segments, and one that classifies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.data.metadata import TableEncoding
from medloom.extras import require
from medloom.inference import OperatingPoint
from medloom.models.registry import LabelKind
from medloom.packaging.manifest import LabelsEntry
from medloom.packaging.writer import write_bundle
from medloom.recipe import (
    DataConfig,
    EvaluateConfig,
    LabelsConfig,
    LossConfig,
    MetadataConfig,
    ModelConfig,
    NormaliseConfig,
    PreprocessConfig,
    Recipe,
    TrainConfig,
)

__all__ = [
    "tiny_graph",
    "tiny_label_graph",
    "tiny_label_recipe",
    "tiny_recipe",
    "write_tiny_bundle",
    "write_tiny_label_bundle",
]

_ACTIVATIONS: dict[LabelKind, str] = {
    "binary": "Sigmoid", "multi-class": "Softmax", "multi-label": "Sigmoid", "real": "Identity",
}  # fmt: skip

_METADATA = MetadataConfig(numeric=("age",), categorical=("sex",))
_ROWS = ({"age": "40", "sex": "female"}, {"age": "60", "sex": "male"})
"""Training rows: an age of 60 becomes 1, one of 40 becomes -1."""

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


def tiny_label_graph(kind: LabelKind, channels: int, outputs: int, table_features: int = 0) -> Any:  # noqa: ANN401 - an onnx.ModelProto
    """Return an ONNX model that answers by the mean of each channel, plus the sum of the encoded metadata.

    With m the mean over pixels and channels and t the sum of the metadata, output k is the activation of
    ``(k + 1) * (m + t) - k / 2``: sigmoid, softmax over k, or none for numbers.

    Args:
        kind: What a label is.
        channels: C of the images.
        outputs: K of the answer.
        table_features: F of the metadata; with some, the graph takes a second input ``table``.
    """
    make = require("onnx", "train").helper.make_node
    ranks = np.arange(outputs, dtype=np.float32)
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
        make(_ACTIVATIONS[kind], ["logits" if table_features else "seen"], ["probabilities"]),
    ]
    inputs: dict[str, list[str | int]] = {"image": ["batch", channels, "height", "width"]}
    if table_features:
        inputs["table"] = ["batch", table_features]
    return _model(nodes, inputs, ["batch", outputs], weights)


def _model(
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[str | int]],
    answer: Sequence[str | int],
    weights: Mapping[str, NDArray[np.float32]],
) -> Any:  # noqa: ANN401 - an onnx.ModelProto
    onnx = require("onnx", "train")
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info(name, real, list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("probabilities", real, list(answer))],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
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


def tiny_label_recipe(
    kind: LabelKind = "binary",
    *,
    names: Sequence[str] = ("benign", "malignant"),
    channels: Sequence[str] = ("grey",),
    size: tuple[int, int] = (32, 32),
    metadata: bool = False,
    rounds: int = 1,
) -> Recipe:
    """Return a recipe for labels of whole images; how bright a pixel is does not depend on the others.

    Args:
        kind: What a label is.
        names: Classes for ``binary`` and ``multi-class``, else targets.
        channels: Names of the channels.
        size: Height and width of the network's image.
        metadata: Whether it takes ``age`` (60 becomes 1, 40 becomes -1) and ``sex`` (female or male).
        rounds: Views that are averaged.
    """
    single = kind in ("binary", "multi-class")
    labels = LabelsConfig(
        kind=kind,
        classes=tuple(names) if single else (),
        targets=("level",) if single else tuple(names),
        metadata=_METADATA if metadata else MetadataConfig(),
    )
    return Recipe(
        name="tiny-labels",
        task="classification",
        data=DataConfig(layout="csv", channels=tuple(channels), labels=labels),
        preprocess=PreprocessConfig(size=size, normalise=NormaliseConfig(method="imagenet")),
        model=ModelConfig(name="perceptron", metadata="fused" if metadata else "none"),
        loss=LossConfig(name="mse" if kind == "real" else "cross-entropy"),
        train=TrainConfig(monitor="loss"),
        evaluate=EvaluateConfig(rounds=rounds),
    )


def write_tiny_label_bundle(
    path: Path, recipe: Recipe | None = None, *, thresholds: Sequence[float] = (), phantom: bool = False
) -> Path:
    """Write a bundle around ``tiny_label_graph``.

    Args:
        path: Where the bundle shall be; the graph is written beside it.
        recipe: From ``tiny_label_recipe``; its default if None.
        thresholds: One for two classes, one a target for several labels; 0.5 each if there are none.
        phantom: Whether the model claims to have learned from phantoms.
    """
    recipe = recipe or tiny_label_recipe()
    config = recipe.data.labels
    kind: LabelKind = "binary" if config.kind == "auto" else config.kind
    outputs = {"binary": 1, "multi-class": len(config.classes)}.get(kind, len(config.targets))
    tables = [TableEncoding.fit(_ROWS, config.metadata)] if recipe.model.metadata != "none" else []
    features = sum(len(table.names) for table in tables)
    graph = path.with_suffix(".onnx")
    graph.parent.mkdir(parents=True, exist_ok=True)
    graph.write_bytes(tiny_label_graph(kind, len(recipe.data.channels), outputs, features).SerializeToString())
    decided = {"binary": 1, "multi-label": outputs}.get(kind, 0)
    return write_bundle(
        path,
        onnx=graph,
        weights={"w": np.zeros(1, np.float32)},
        recipe=recipe,
        labels=LabelsEntry(
            kind=kind,
            targets=config.targets,
            thresholds=tuple(thresholds) or (0.5,) * decided,
            rounds=recipe.evaluate.rounds,
            tables=tuple(table.plain() for table in tables),
        ),
        table_features=[features],
        metrics={"auc": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 10}},
        fingerprint="0" * 64,
        phantom=phantom,
    )
