"""How much of the machine a run uses: processor, memory, GPUs; a line now and then in a file of the run."""

from __future__ import annotations

import itertools
import json
import threading
import time
from pathlib import Path

from medloom.machine import Meter, gpu_use

__all__ = ["Sampler"]

_EVERY_S = 10.0
_MANY = 5_000
"""Lines after which they are written half as often, so that a long run has no large file."""


class Sampler:
    """Writes the use of the machine into a file, from a thread of its own, until it is closed.

    What it measures are those metrics, by those names, that MLflow shows as system metrics. It ends at the first
    error: no run needs it.

    Args:
        path: The file, to which lines are added. It is made when there is a first line.
        every_s: Seconds between two lines.
    """

    def __init__(self, path: Path, every_s: float = _EVERY_S) -> None:
        self._path = path
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="medloom-system", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End, with a last line."""
        self._ended.set()
        self._thread.join(_EVERY_S)

    def _work(self) -> None:
        try:
            meter = Meter()  # the first reading is of the time since then
            for number in itertools.count(1):
                ended = self._ended.wait(self._every_s)
                self._write(meter)
                self._every_s *= 1 if number % _MANY else 2
                if ended:
                    return
        except Exception:  # a full disk, a folder that has gone: a run does not end for its statistics
            return

    def _write(self, meter: Meter) -> None:
        if not self._path.parent.is_dir() or not (self._path.parent / "metrics.jsonl").is_file():
            return
        use = {f"system/{name}": value for name, value in {**meter.read(), **gpu_use()}.items()}
        with self._path.open("ab", buffering=0) as file:
            file.write(json.dumps({"when_ms": round(time.time() * 1000), **use}).encode() + b"\n")
