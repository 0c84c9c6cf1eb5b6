"""OpenVINO, on the CPU if not told otherwise: usually the fastest on Intel and AMD processors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medloom.errors import BundleError
from medloom.extras import require
from medloom.inference.runtimes import NetworkSpec
from medloom.inference.runtimes.graph import FEATURES, MEMBERS, available_threads, give_back_memory, read_graph
from medloom.wording import one_line

__all__ = ["OpenVinoRuntime"]

Floats32 = NDArray[np.float32]

_CPU = "CPU"
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
"""In what layers are computed that the graph does not hold in 8 bits."""

_NUMBERS = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"}
_LAYERS = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")


class OpenVinoRuntime:
    """Compiles an ONNX graph that gives probabilities.

    Args:
        graph: Bytes of the model; see ``read_graph``.
        threads: Threads of one call on the CPU; all cores that this process may use by default.
        providers: One of OpenVINO's devices, such as ``GPU``; the CPU by default.
        precision: One of ``PRECISIONS`` of ``medloom.registry``; ``fp32`` is exact, ``bf16`` is faster where the
            processor multiplies it. One that OpenVINO has no arithmetic for it replaces, see ``layers``.
        hint: ``latency`` for one call at a time, or ``throughput`` for several at the same time, which then share the
            threads.

    Raises:
        BundleError: If OpenVINO refuses the model.
        MissingExtraError: If OpenVINO is not installed.
    """

    name = "openvino"
    most_providers = 1

    def __init__(
        self,
        graph: bytes,
        *,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
        precision: str = "fp32",
        hint: Literal["latency", "throughput"] = "latency",
    ) -> None:
        core: Any = require("openvino", "openvino").Core()
        (device,) = providers or [_CPU]
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": hint.upper(),
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "CACHE_DIR": "",  # a model of patients' images is left nowhere
        }
        if device == _CPU:
            # Pinned, the threads of every server on a machine would sit on the same cores.
            settings |= {"INFERENCE_NUM_THREADS": threads or available_threads(), "ENABLE_CPU_PINNING": False}
        try:
            self._model: Any = core.compile_model(core.read_model(model=graph), device, settings)
        except RuntimeError as error:
            raise BundleError(f"OpenVINO cannot load the model: {one_line(str(error))}") from error
        give_back_memory()
        # An input has names of its own beside that of the graph, where what follows it was made a part of it.
        self._inputs = [next(iter({"image", "table"} & one.get_names()), "") for one in self._model.inputs]
        if "image" not in self._inputs or "" in self._inputs:
            raise BundleError("the model is no graph from image (and table); package the model again")

    @classmethod
    def available(cls) -> tuple[str, ...]:
        """Return OpenVINO's devices on this machine."""
        return tuple(require("openvino", "openvino").Core().available_devices)

    @classmethod
    def open(
        cls,
        model_path: Path,
        *,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
        network: NetworkSpec | None = None,
        precision: str = "fp32",
    ) -> OpenVinoRuntime:
        """Load the ONNX file at ``model_path``; ``network`` is not needed."""
        del network
        return cls(read_graph(model_path), threads=threads, providers=providers, precision=precision)

    def layers(self) -> dict[str, int]:
        """Return how many layers with weights are computed in which precision, as the model was compiled here."""
        facts = [one.get_rt_info() for one in self._model.get_runtime_model().get_ordered_ops()]
        named = [(str(one["layerType"].astype(str)), str(one["runtimePrecision"].astype(str))) for one in facts]
        return dict(Counter(_NUMBERS.get(numbers, numbers) for kind, numbers in named if kind in _LAYERS))

    def run(self, batch_nchw: Floats32, table_nf: Floats32 | None = None) -> Floats32:
        """Return the graph's answer to a float32 batch and its metadata; see ``Runtime.run``."""
        return self._ask([0], batch_nchw, table_nf)[0]

    def run_with_features(
        self, batch_nchw: Floats32, table_nf: Floats32 | None = None
    ) -> tuple[Floats32, Floats32 | None]:
        """Return the answer, and what the deepest layer makes of the images; None where the graph does not say it."""
        place = self._place(FEATURES)
        answer, *features = self._ask([0] if place is None else [0, place], batch_nchw, table_nf)
        return answer, features[0] if features else None

    def members(self, batch_nchw: Floats32, table_nf: Floats32 | None = None) -> Floats32 | None:
        """Return what each network of an ensemble answers, ``(M, N, K, ...)``; None where the graph does not say it."""
        place = self._place(MEMBERS)
        return None if place is None else self._ask([place], batch_nchw, table_nf)[0]

    def _place(self, name: str) -> int | None:
        """Which output has a name; None where none has."""
        return next((place for place, one in enumerate(self._model.outputs) if name in one.get_names()), None)

    def _ask(self, places: Sequence[int], batch_nchw: Floats32, table_nf: Floats32 | None) -> list[Floats32]:
        feeds = {"image": batch_nchw, "table": table_nf}
        given = {place: np.ascontiguousarray(feeds[name]) for place, name in enumerate(self._inputs)}
        request = self._model.create_infer_request()  # a request of its own for each call: threads do not meet
        request.infer(given)
        return [np.array(request.get_output_tensor(place).data, np.float32) for place in places]
