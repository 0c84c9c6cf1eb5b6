"""From a network to an ONNX file that gives probabilities and stands alone."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx_ir
import torch
from numpy.typing import NDArray
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, RemoveUnusedNodesPass

from medloom.errors import MedloomError
from medloom.files import replacing
from medloom.inference.runtimes.graph import FEATURES, MEMBERS
from medloom.inference.runtimes.onnx import OnnxRuntime
from medloom.inference.runtimes.torch import TorchRuntime
from medloom.models.ensemble import MeanAndMembers
from medloom.models.features import WithFeatures, gives_features
from medloom.models.network import Network
from medloom.targets import Target

__all__ = ["AGREEMENT", "export_onnx"]

Floats32 = NDArray[np.float32]

AGREEMENT = 1e-3
"""Largest difference in probability between the network and its export that is let through."""

_OPSET = 20
_CHECKED_BATCHES = (1, 3)
_EXPORTER_LOG = "torch.onnx._internal.exporter._registration"


def export_onnx(
    network: Network,
    path: Path,
    *,
    channels: int,
    size: tuple[int, ...],
    target: Target,
    table_features: int = 0,
    examples: Floats32 | None = None,
) -> Path:
    """Write a network as ONNX: any batch size, probabilities as output, all weights inside.

    Of an ensemble the output is the mean of its networks' answers; a second one, ``members``, holds these answers. The
    last one, ``features``, is what the deepest layer makes of each image, where the network has one that is known.

    The file carries no trace of the source code or the machine that wrote it. It is compared with the
    network on a few images before it is put in place.

    Args:
        network: Gives logits; left in evaluation mode, on its device.
        path: Where the file is written; replaced atomically.
        channels: C of the images.
        size: Height and width of the images in pixels.
        target: What it predicts, which says how logits become probabilities.
        table_features: Columns of encoded metadata; with some, the graph takes a second input ``table``.
        examples: ``(N, C, h, w)`` normalised images to compare on, at least three; noise by default. Noise is unlike
            what a trained network has seen, and deep ones give numbers for it that are so large that rounding shows.

    Returns:
        ``path``.

    Raises:
        MedloomError: If the exported graph does not agree with the network.
    """
    reference = TorchRuntime(network, activation=target.activation)
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    shapes = [(channels, *size), *([(table_features,)] if table_features else [])]
    example = [part.to(device) for part in _random(shapes, 2, seed=0)]
    batch, apart, described = torch.export.Dim("batch", min=1), hasattr(network, "answers"), gives_features(network)
    answering = MeanAndMembers(network).eval() if apart else reference.model
    with torch.no_grad(), _quiet_exporter():
        program = torch.onnx.export(
            WithFeatures(answering, network).eval() if described else answering,
            tuple(example),
            dynamo=True,
            dynamic_shapes=tuple({0: batch} for _ in example),
            input_names=["image", "table"][: len(example)],
            output_names=["probabilities", *([MEMBERS] if apart else []), *([FEATURES] if described else [])],
            opset_version=_OPSET,
            verbose=False,
        )
    if program is None:
        raise MedloomError("the ONNX exporter gave nothing")
    ClearMetadataAndDocStringPass()(program.model)
    _lighten(program.model)
    with replacing(path) as beside:
        program.save(beside, external_data=False)
        _check_agreement(reference, OnnxRuntime.open(beside), shapes, examples)
    return path


def _lighten(model: onnx_ir.Model) -> None:
    """Write an activation whose one slope was learned as the one whose slope is given: the same numbers, faster.

    ONNX Runtime computes ``PRelu`` by a branch for each value, which a processor guesses wrongly half of the time, and
    apart from the convolution before it; of a U-Net that is a quarter of the time. ``LeakyRelu`` it does with the
    convolution.
    """
    for node in [one for one in model.graph.all_nodes() if one.op_type == "PRelu"]:
        slope = node.inputs[1]
        known = None if slope is None or slope.const_value is None else slope.const_value.numpy()
        if known is None or known.size != 1:
            continue
        alpha = onnx_ir.AttrFloat32("alpha", float(known.item()))
        leaky = onnx_ir.Node("", "LeakyRelu", node.inputs[:1], [alpha], name=node.name)
        outputs = (node.outputs, leaky.outputs)
        leaky.outputs[0].name = node.outputs[0].name
        onnx_ir.convenience.replace_nodes_and_values(model.graph, node, [node], [leaky], *outputs)
    RemoveUnusedNodesPass()(model)


def _random(shapes: Sequence[tuple[int, ...]], batch: int, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, *shape, generator=generator) for shape in shapes]


def _check_agreement(
    reference: TorchRuntime, exported: OnnxRuntime, shapes: Sequence[tuple[int, ...]], examples: Floats32 | None
) -> None:
    for batch in _CHECKED_BATCHES:
        given = [part.numpy() for part in _random(shapes, batch, seed=batch)]
        if examples is not None:
            given[0] = examples[:batch]
        (expected, known), (answer, features) = reference.run_with_features(*given), exported.run_with_features(*given)
        difference = float(abs(expected - answer).max())
        if known is not None:
            _check_features(known, features)
        if not difference <= AGREEMENT:
            raise MedloomError(
                f"the exported graph differs from the network by {difference:.2g} in probability on a batch of "
                f"{batch}; at most {AGREEMENT:g} is let through"
            )


def _check_features(expected: Floats32, found: Floats32 | None) -> None:
    """Refuse features that are others: they would be compared with those of the training."""
    fits = found is not None and found.shape == expected.shape
    apart = float(abs(expected - found).max()) if fits and found is not None else float("inf")
    if not apart <= AGREEMENT * max(1.0, float(abs(expected).max())):
        raise MedloomError(f"the exported graph differs from the network by {apart:.2g} in the features of its layer")


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence what the exporter says about itself: its own deprecated calls and operators of torchvision."""
    logger = logging.getLogger(_EXPORTER_LOG)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module="torch|copyreg")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            warnings.filterwarnings("ignore", message=".*axis name: batch will not be used.*")  # two inputs share it
            yield
    finally:
        logger.setLevel(level)
