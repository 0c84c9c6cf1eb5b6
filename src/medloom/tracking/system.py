"""How much of the machine a run uses: processor, memory, GPUs; a line now and then in a file of the run."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from medloom.extras import require

__all__ = ["Sampler", "gpu_use", "parse_gpu_use"]

_EVERY_S = 10.0
_MANY = 5_000
"""Lines after which they are written half as often, so that a long run has no large file."""

_MB = 1e6
_QUERY = ("--query-gpu=utilization.gpu,memory.used,power.draw", "--format=csv,noheader,nounits")
_GPU = ("utilization_percentage", "memory_usage_megabytes", "power_usage_watts")


class Sampler:
    """Writes the use of the machine into a file, from a thread of its own, until it is closed.

    What it measures are those metrics, by those names, that MLflow shows as system metrics. It does nothing where
    psutil is not installed, and ends at the first error: no run needs it.

    Args:
        path: The file, to which lines are added. It is made when there is a first line.
        every_s: Seconds between two lines.
    """

    def __init__(self, path: Path, every_s: float = _EVERY_S) -> None:
        self._path = path
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="medloom-system", daemon=True)
        if find_spec("psutil") is not None:
            self._thread.start()

    def close(self) -> None:
        """End, with a last line."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join(_EVERY_S)

    def _work(self) -> None:
        try:
            process = require("psutil", "track").Process()
            _use(process)  # the first call begins what the next one measures
            for number in itertools.count(1):
                ended = self._ended.wait(self._every_s)
                self._write(process)
                self._every_s *= 1 if number % _MANY else 2
                if ended:
                    return
        except Exception:  # a full disk, a folder that has gone: a run does not end for its statistics
            return

    def _write(self, process: Any) -> None:  # noqa: ANN401 - psutil may be missing, so its type too
        if not self._path.parent.is_dir() or not (self._path.parent / "metrics.jsonl").is_file():
            return
        with self._path.open("ab", buffering=0) as file:
            file.write(
                json.dumps({"when_ms": round(time.time() * 1000), **_use(process), **gpu_use()}).encode() + b"\n"
            )


def _use(process: Any) -> dict[str, float]:  # noqa: ANN401
    psutil = require("psutil", "track")
    memory = psutil.virtual_memory()
    return {
        "system/cpu_utilization_percentage": psutil.cpu_percent(),
        "system/system_memory_usage_percentage": memory.percent,
        "system/system_memory_usage_megabytes": round((memory.total - memory.available) / _MB, 1),
        "system/process_cpu_utilization_percentage": process.cpu_percent(),
        "system/process_memory_usage_megabytes": round(process.memory_info().rss / _MB, 1),
    }


def gpu_use() -> dict[str, float]:
    """Return the use of each NVIDIA GPU as its driver's own program says; empty where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    try:
        said = subprocess.run([program, *_QUERY], capture_output=True, text=True, timeout=_EVERY_S, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse_gpu_use(said)


def parse_gpu_use(said: str) -> dict[str, float]:
    """Read what ``nvidia-smi`` says, a line for each GPU; what a GPU does not tell is left out.

    Example:
        >>> parse_gpu_use("87, 4096, [N/A]")
        {'system/gpu_0_utilization_percentage': 87.0, 'system/gpu_0_memory_usage_megabytes': 4096.0}
    """
    found = {}
    for index, line in enumerate(said.strip().splitlines()):
        for name, text in zip(_GPU, line.split(","), strict=False):
            if text.strip().replace(".", "", 1).isdigit():
                found[f"system/gpu_{index}_{name}"] = float(text)
    return found
