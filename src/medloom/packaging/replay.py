"""A runtime in a process of its own, with limits of time and memory, for the model of a bundle that nobody knows yet.

Whoever made a bundle may have made its graph allocate terabytes or run for ever, and its checksums right.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from medloom.errors import BundleError, MedloomError, UserError
from medloom.inference import needs_weights

__all__ = ["FencedRuntime"]

Floats32 = NDArray[np.float32]

_CHILD = "medloom.packaging.replay_child"
_MOST_VALUES = 2**29
_ERRORS: dict[str, type[MedloomError]] = {one.__name__: one for one in (BundleError, UserError)}


class FencedRuntime:
    """Runs the network of a bundle in another process. Use it in a ``with`` block, which ends that process.

    Args:
        folder: Of a bundle whose files have been checked.
        name: ``onnx``, ``openvino`` or ``torch``.
        limit_s: Seconds for everything that is asked of it, loading included.
        precision: In what it computes.

    Raises:
        UserError: If there is no runtime of that name.
    """

    def __init__(self, folder: Path, name: str, limit_s: float, precision: str = "fp32") -> None:
        needs_weights(name)  # refuses a name that there is not
        self.name = name
        self._limit_s = limit_s
        self._late = False
        self._process = _start(folder, name, precision)
        self._timer = threading.Timer(limit_s, self._end_late)
        self._timer.daemon = True
        self._timer.start()

    def run(self, batch_nchw: Floats32, table_nf: Floats32 | None = None) -> Floats32:
        """Return the network's answer to a float32 batch and its metadata; see ``Runtime.run``.

        Raises:
            BundleError: If the model cannot be run, or not within the limits.
            UserError: If the runtime's library is missing.
        """
        return self._ask(batch_nchw, table_nf, features=False)[0]

    def run_with_features(
        self, batch_nchw: Floats32, table_nf: Floats32 | None = None
    ) -> tuple[Floats32, Floats32 | None]:
        """Return the answer, and what the deepest layer makes of the images; None where the model does not say it.

        Raises:
            BundleError: As ``run``.
            UserError: As ``run``.
        """
        answer, *features = self._ask(batch_nchw, table_nf, features=True)
        return answer, features[0] if features else None

    def _ask(self, batch_nchw: Floats32, table_nf: Floats32 | None, *, features: bool) -> list[Floats32]:
        parts = [batch_nchw] if table_nf is None else [batch_nchw, table_nf]
        try:
            with suppress(BrokenPipeError):  # it has said why before it ended
                _send(_pipe(self._process.stdin), parts, features=features)
            return _receive(_pipe(self._process.stdout))
        except (EOFError, ValueError, KeyError, TypeError) as error:
            late = f"the golden example was not answered within {self._limit_s:g} s; the model may never end"
            crashed = "the process that ran the model crashed: it is damaged, or needs more memory than it is given"
            raise BundleError(late if self._late else crashed) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._process.kill()
        with suppress(BrokenPipeError):  # what it did not read is of no use any more
            self._process.__exit__(None, None, None)

    def _end_late(self) -> None:
        self._late = True
        self._process.kill()


def _start(folder: Path, name: str, precision: str) -> subprocess.Popen[bytes]:
    # -P: nothing more is imported from the working folder. Few arenas: each takes address space for nothing.
    return subprocess.Popen(  # noqa: S603 - this interpreter, and a module of ours
        [sys.executable, "-P", "-W", "ignore", "-m", _CHILD, str(folder.resolve()), name, precision],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "MALLOC_ARENA_MAX": "2"},
    )


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the process has no pipe")
    return stream


def _send(stream: IO[bytes], parts: list[Floats32], *, features: bool) -> None:
    stream.write(json.dumps({"shapes": [part.shape for part in parts], "features": features}).encode() + b"\n")
    for part in parts:
        stream.write(np.ascontiguousarray(part, np.float32).tobytes())
    stream.flush()


def _receive(stream: IO[bytes]) -> list[Floats32]:
    said: dict[str, Any] = json.loads(stream.readline())
    if "error" in said:
        raise _ERRORS.get(str(said["error"]), MedloomError)(str(said["message"]))
    return [_read(stream, tuple(int(side) for side in shape)) for shape in said["shapes"][:2]]


def _read(stream: IO[bytes], shape: tuple[int, ...]) -> Floats32:
    length = 4 * math.prod(shape)
    if length > 4 * _MOST_VALUES:
        raise BundleError(f"the model answers with the shape {shape}, which is too large")
    data = stream.read(length)
    if len(data) != length:
        raise EOFError
    return np.frombuffer(data, np.float32).reshape(shape)
