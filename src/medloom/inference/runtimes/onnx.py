"""ONNX Runtime on the CPU: the default, small to install and without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.errors import BundleError
from medloom.extras import require
from medloom.inference.runtimes import NetworkSpec
from medloom.inference.runtimes.graph import available_threads, read_graph
from medloom.wording import one_line

__all__ = ["OnnxRuntime"]

Floats32 = NDArray[np.float32]

_ERRORS_ONLY = 3
_FLOATS = "tensor(float)"


class OnnxRuntime:
    """Runs an ONNX graph that gives probabilities.

    Args:
        graph: Bytes of the model; see ``read_graph``.
        threads: Threads of one call; all cores that this process may use by default.

    Raises:
        BundleError: If ONNX Runtime refuses the model.
        MissingExtraError: If ONNX Runtime is not installed.
    """

    name = "onnx"

    def __init__(self, graph: bytes, *, threads: int | None = None) -> None:
        ort = require("onnxruntime", "serve")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or available_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        try:
            self._session: Any = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no base of their own
            raise BundleError(f"ONNX Runtime cannot load the model: {one_line(str(error))}") from error
        self._inputs: list[str] = [one.name for one in self._session.get_inputs()]
        if not {"image"} <= set(self._inputs) <= {"image", "table"} or self._session.get_outputs()[0].type != _FLOATS:
            raise BundleError(f"the model is no graph from image (and table) to {_FLOATS}; package the model again")

    @classmethod
    def open(cls, model_path: Path, *, threads: int | None = None, network: NetworkSpec | None = None) -> OnnxRuntime:
        """Load the ONNX file at ``model_path``; ``network`` is not needed."""
        del network
        return cls(read_graph(model_path), threads=threads)

    def run(self, batch_nchw: Floats32, table_nf: Floats32 | None = None) -> Floats32:
        """Return the graph's answer to a float32 batch and its metadata; see ``Runtime.run``.

        Raises:
            BundleError: If ONNX Runtime cannot run the model.
        """
        feeds = {"image": batch_nchw, "table": table_nf}
        given = {name: np.ascontiguousarray(feeds[name]) for name in self._inputs}
        try:
            answer: Floats32 = self._session.run(None, given)[0]
        except Exception as error:  # as above
            raise BundleError(f"ONNX Runtime cannot run the model: {one_line(str(error))}") from error
        return answer
