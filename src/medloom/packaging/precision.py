"""A graph in fewer bits, and how a runtime really computes it: found out by trying, here, before it is packaged.

Runtimes differ in what they do with a precision that they have no arithmetic for. ONNX Runtime computes 16 bits on most
processors in float32 and says nothing, OpenVINO takes bfloat16 where float16 was asked for, and both leave layers that
they cannot compute in 8 bits in float32. So the layers are counted as they are computed.

Source: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.errors import UserError
from medloom.extras import require
from medloom.files import TemporaryFolder, replacing
from medloom.inference import Runtime
from medloom.inference.runtimes.graph import read_graph
from medloom.inference.runtimes.onnx import OnnxRuntime
from medloom.registry import PRECISIONS, check_name
from medloom.wording import counted, one_line

__all__ = ["computed_text", "reduce_graph"]

Floats32 = NDArray[np.float32]

_FLOATS = {1: "fp32", 10: "fp16", 16: "bf16"}
"""Number types of ONNX in which layers are computed."""

_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""What has most of the weights and of the work."""

_FLOAT_LAYERS = frozenset({*_LAYERS, "FusedConv", "FusedGemm", "FusedMatMul", "TransposeMatMul", "NhwcFusedConv"})
_INTEGER_LAYERS = frozenset(
    {"QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "ConvInteger", "MatMulInteger"}
)
_QUANTIZED = ("Conv", "Gemm", "MatMul")
"""Layers that are brought to 8 bits; ONNX Runtime computes transposed convolutions in float32 anyway."""

_HALF, _BRAIN, _BRAIN_OPSET = 10, 16, 22
_ORDER = ("int8", "bf16", "fp16", "fp32")
"""From the coarsest to the finest."""


def reduce_graph(graph: Path, precision: str, *, images: Floats32, tables: Floats32 | None = None) -> None:
    """Write a graph anew in fewer bits; what comes in and goes out stays float32, and so does the last activation.

    Args:
        graph: A float32 ONNX file; replaced atomically.
        precision: ``fp16``, ``bf16`` or ``int8``. For 8 bits, convolutions and matrices but those that read the image
            and those that give the answer: weights by channel, in 7 of the 8 bits, so that processors whose sums of
            16 bits would overflow compute the same as others.
        images: ``(N, C, h, w)`` images as the network sees them, by which the range of each activation is found.
        tables: ``(N, F)`` float32 encoded metadata, where the model takes some.

    Raises:
        UserError: If ONNX Runtime cannot execute it here.
        MissingExtraError: If onnx is not installed.
    """
    onnx = require("onnx", "train")
    model = onnx.load(graph)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{number}"
    with _quiet():
        made = _integers(model, images, tables) if precision == "int8" else _sixteen_bits(model, precision)
    with replacing(graph) as beside:
        onnx.save(made, beside)
        _try(beside, precision)


def computed_text(runtime: Runtime, graph: Path, precision: str) -> str:
    """Say how a runtime computes a model on this machine, layer by layer.

    Args:
        runtime: What runs it.
        graph: Its ONNX file.
        precision: What it is to be computed in.

    Raises:
        UserError: If layers are computed more coarsely than was asked for.
    """
    check_name("precision", precision, PRECISIONS)
    if runtime.name == "torch":
        return f"PyTorch computes layers with weights in {precision}, and what follows them in fp32."
    found = _layers_of_onnx(graph) if runtime.name == "onnx" else _layers_said(runtime)
    asked, coarser = found.pop(precision, 0), [name for name in _ORDER[: _ORDER.index(precision)] if name in found]
    if coarser:
        raise UserError(
            f"package.precision={precision}: {runtime.name} computes {_listed(found)} here instead; set "
            f"package.precision={coarser[0]}, or another package.runtime"
        )
    whole = asked + sum(found.values())
    layers = counted(whole, "layer with weights", "layers with weights")
    if not asked:
        return (
            f"Here {runtime.name} has no arithmetic for {precision}: it computes {_listed(found)} from weights that "
            f"were rounded to {precision}. The file is smaller; it is not faster."
        )
    rest = f", the others in {' and '.join(sorted(found))}" if found else ""
    return f"Here {runtime.name} computes {asked} of {layers} in {precision}{rest}."


def _listed(found: Mapping[str, int]) -> str:
    return " and ".join(f"{counted(count, 'layer')} in {name}" for name, count in sorted(found.items()))


def _layers_said(runtime: Runtime) -> Counter[str]:
    said: Callable[[], Mapping[str, int]] = getattr(runtime, "layers", dict)
    return Counter(said())


def _layers_of_onnx(graph: Path) -> Counter[str]:
    """Layers by number format, in the graph as ONNX Runtime optimises it for this processor."""
    ort, onnx = require("onnxruntime", "serve"), require("onnx", "train")
    beside = TemporaryFolder("medloom-optimised-")
    try:
        options, path = ort.SessionOptions(), beside.path / "optimised.onnx"
        options.optimized_model_filepath, options.log_severity_level = str(path), 3
        ort.InferenceSession(read_graph(graph), options, providers=["CPUExecutionProvider"])
        return _counted_layers(onnx.load(path).graph)
    finally:
        beside.remove()


def _counted_layers(graph: Any) -> Counter[str]:  # noqa: ANN401 - of onnx
    types = {one.name: one.data_type for one in graph.initializer}
    found: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type in _INTEGER_LAYERS:
            found["int8"] += 1
        elif node.op_type in _FLOAT_LAYERS:
            found[_FLOATS.get(types.get(node.input[1], 1), "fp32")] += 1
    return found


def _try(graph: Path, precision: str) -> None:
    try:
        OnnxRuntime.open(graph, threads=1)
    except Exception as error:  # it has errors of its own
        raise UserError(
            f"package.precision={precision}: ONNX Runtime cannot execute that here ({one_line(str(error), 300)}); take "
            "another precision, or package.runtime=openvino or torch"
        ) from error


def _integers(model: Any, images: Floats32, tables: Floats32 | None) -> Any:  # noqa: ANN401 - of onnx
    quantization, onnx = require("onnxruntime.quantization", "train"), require("onnx", "train")
    prepare = require("onnxruntime.quantization.shape_inference", "train").quant_pre_process
    beside = TemporaryFolder("medloom-int8-")
    try:
        exact, whole, reduced = (beside.path / f"{name}.onnx" for name in ("exact", "whole", "reduced"))
        onnx.save(model, exact)
        prepare(str(exact), str(whole), skip_symbolic_shape=True)
        prepared = onnx.load(whole)
        quantization.quantize_static(
            str(whole),
            str(reduced),
            _Samples(images, tables),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,  # with signed ones most layers stay in float32
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=list(_QUANTIZED),
            nodes_to_exclude=_outermost(prepared.graph),
            per_channel=True,
            reduce_range=True,
        )
        return onnx.load(reduced)
    finally:
        beside.remove()


class _Samples:
    """What the range of each activation is found by, one at a time, as ``quantize_static`` asks for them."""

    def __init__(self, images: Floats32, tables: Floats32 | None) -> None:
        self._feeds = self._each(images, tables)

    @staticmethod
    def _each(images: Floats32, tables: Floats32 | None) -> Iterator[dict[str, Floats32]]:
        for number in range(len(images)):
            table = {} if tables is None else {"table": tables[number : number + 1]}
            yield {"image": images[number : number + 1], **table}

    def get_next(self) -> dict[str, Floats32] | None:
        return next(self._feeds, None)


def _outermost(graph: Any) -> list[str]:  # noqa: ANN401 - of onnx
    """Layers that read what comes in, and those from which the answer is made: few, and errors in them count most."""
    given, makers = {one.name for one in graph.input}, {name: node for node in graph.node for name in node.output}
    found = [node.name for node in graph.node if node.op_type in _LAYERS and given & set(node.input)]
    asked, known = [graph.output[0].name], set[str]()
    while asked:
        node = makers.get(asked.pop())
        if node is None or node.name in known:
            continue
        known.add(node.name)
        if node.op_type in _LAYERS:
            found.append(node.name)
        else:
            asked += node.input
    return found


def _answering(graph: Any) -> list[str]:  # noqa: ANN401 - of onnx
    """Nodes after the last layer with weights: activations, and the mean of several networks."""
    before, found = set[str](), list[str]()
    for node in reversed(graph.node):
        if node.op_type in _LAYERS or before & set(node.output):
            before |= set(node.input)
        else:
            found.append(node.name)
    return found


def _sixteen_bits(model: Any, precision: str) -> Any:  # noqa: ANN401 - of onnx
    float16 = require("onnxruntime.transformers.float16", "train")
    exact = {one.name: one for one in model.graph.initializer}
    kept = {name: type(one)() for name, one in exact.items()}
    for name, one in exact.items():
        kept[name].CopyFrom(one)
    made = float16.convert_float_to_float16(model, keep_io_types=True, node_block_list=_answering(model.graph))
    if precision == "bf16":
        _to_brain(made, kept)
    return made


def _to_brain(model: Any, exact: Mapping[str, Any]) -> None:  # noqa: ANN401 - of onnx
    """Make the 16 bits of a graph those of bfloat16, from the float32 weights."""
    helper = require("onnx", "train").numpy_helper
    brain = require("ml_dtypes", "train").bfloat16
    for one in model.graph.initializer:
        if one.data_type == _HALF:
            source = exact.get(one.name, one)
            one.CopyFrom(helper.from_array(helper.to_array(source).astype(np.float32).astype(brain), one.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == _HALF:
                attribute.i = _BRAIN
    for info in model.graph.value_info:
        if info.type.tensor_type.elem_type == _HALF:
            info.type.tensor_type.elem_type = _BRAIN
    for used in model.opset_import:
        if not used.domain:
            used.version = max(used.version, _BRAIN_OPSET)  # convolutions take bfloat16 since then


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the converters log to everyone about weights that are too small for 16 bits, or their own steps."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
