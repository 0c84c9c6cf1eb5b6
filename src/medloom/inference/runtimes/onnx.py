"""ONNX Runtime, on the CPU if not told otherwise: the default, small to install and without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.errors import BundleError, UserError
from medloom.extras import require
from medloom.inference.runtimes import NetworkSpec
from medloom.inference.runtimes.graph import FEATURES, MEMBERS, available_threads, give_back_memory, read_graph
from medloom.wording import one_line

__all__ = ["OnnxRuntime"]

Floats32 = NDArray[np.float32]

_ERRORS_ONLY = 3
_FLOATS = "tensor(float)"
_CPU, _ELSEWHERE = "CPUExecutionProvider", "AzureExecutionProvider"
_NO_SPINNING = ("session.intra_op.allow_spinning", "session.inter_op.allow_spinning")
"""Threads that wait take no core from decoding, and none from other servers of the same machine."""

_SHRINK = ("memory.enable_memory_arena_shrinkage", "cpu:0")
_PATIENCE = 64
"""So many calls in a row must need less than half before memory is given back; a server's batches differ in size."""


class OnnxRuntime:
    """Runs an ONNX graph that gives probabilities.

    Args:
        graph: Bytes of the model; see ``read_graph``.
        threads: Threads of one call; all cores that this process may use by default.
        providers: Its execution providers in order of preference; what one cannot compute, the next one does.

    Raises:
        BundleError: If ONNX Runtime refuses the model.
        UserError: If a provider cannot be used, such as for want of its libraries or of a device.
        MissingExtraError: If ONNX Runtime is not installed.
    """

    name = "onnx"
    most_providers = 16

    def __init__(self, graph: bytes, *, threads: int | None = None, providers: Sequence[str] | None = None) -> None:
        ort = require("onnxruntime", "serve")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or available_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        for key in _NO_SPINNING:
            options.add_session_config_entry(key, "0")
        wanted = list(providers or [_CPU])
        try:
            self._session: Any = ort.InferenceSession(graph, options, providers=wanted)
        except Exception as error:  # its exceptions share no base of their own
            raise BundleError(f"ONNX Runtime cannot load the model: {one_line(str(error))}") from error
        self._session._model_bytes = None  # it would be kept for a second attempt with other providers
        give_back_memory()
        if unused := [name for name in wanted if name not in self._session.get_providers()]:  # it would only warn
            raise UserError(f"{', '.join(unused)} cannot be used here: a library, a driver or a device is missing")
        self._keeping, self._shrinking = ort.RunOptions(), ort.RunOptions()
        if wanted == [_CPU]:
            self._shrinking.add_run_config_entry(*_SHRINK)
        self._largest, self._small = 0, 0
        self._inputs: list[str] = [one.name for one in self._session.get_inputs()]
        self._outputs: list[str] = [one.name for one in self._session.get_outputs()]
        if not {"image"} <= set(self._inputs) <= {"image", "table"} or self._session.get_outputs()[0].type != _FLOATS:
            raise BundleError(f"the model is no graph from image (and table) to {_FLOATS}; package the model again")

    @classmethod
    def available(cls) -> tuple[str, ...]:
        """Return its execution providers on this machine, without the one that asks a service elsewhere."""
        found: list[str] = require("onnxruntime", "serve").get_available_providers()
        return tuple(name for name in found if name != _ELSEWHERE)

    @classmethod
    def open(
        cls,
        model_path: Path,
        *,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
        network: NetworkSpec | None = None,
        precision: str = "fp32",
    ) -> OnnxRuntime:
        """Load the ONNX file at ``model_path``, whose graph says in what it is computed; ``network`` is not needed."""
        del network, precision
        return cls(read_graph(model_path), threads=threads, providers=providers)

    def run(self, batch_nchw: Floats32, table_nf: Floats32 | None = None) -> Floats32:
        """Return the graph's answer to a float32 batch and its metadata; see ``Runtime.run``.

        Raises:
            BundleError: If ONNX Runtime cannot run the model.
        """
        return self._ask(self._outputs[:1], batch_nchw, table_nf)[0]

    def run_with_features(
        self, batch_nchw: Floats32, table_nf: Floats32 | None = None
    ) -> tuple[Floats32, Floats32 | None]:
        """Return the answer, and what the deepest layer makes of the images; None where the graph does not say it.

        Raises:
            BundleError: If ONNX Runtime cannot run the model.
        """
        if FEATURES not in self._outputs:
            return self.run(batch_nchw, table_nf), None
        answer, features = self._ask([self._outputs[0], FEATURES], batch_nchw, table_nf)
        return answer, features

    def members(self, batch_nchw: Floats32, table_nf: Floats32 | None = None) -> Floats32 | None:
        """Return what each network of an ensemble answers, ``(M, N, K, ...)``; None where the graph does not say it.

        Raises:
            BundleError: If ONNX Runtime cannot run the model.
        """
        return self._ask([MEMBERS], batch_nchw, table_nf)[0] if MEMBERS in self._outputs else None

    def _ask(self, names: Sequence[str], batch_nchw: Floats32, table_nf: Floats32 | None) -> list[Floats32]:
        feeds = {"image": batch_nchw, "table": table_nf}
        given = {one: np.ascontiguousarray(feeds[one]) for one in self._inputs}
        try:
            answers: list[Floats32] = self._session.run(list(names), given, self._how(len(batch_nchw)))
        except Exception as error:  # as above
            raise BundleError(f"ONNX Runtime cannot run the model: {one_line(str(error))}") from error
        return answers

    def _how(self, count: int) -> Any:  # noqa: ANN401 - an object of ONNX Runtime
        """Keep what memory a call took for the next ones, unless many of them were much smaller: then give it back.

        To give it back each time costs a fifth of the time of large batches, which take it anew.
        """
        self._small = self._small + 1 if 2 * count < self._largest else 0
        if self._small < _PATIENCE:
            self._largest = max(self._largest, count)
            return self._keeping
        self._largest, self._small = count, 0
        return self._shrinking
