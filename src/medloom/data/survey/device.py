"""What there is to train on, without importing what trains."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

__all__ = ["Device", "find_device"]

_QUERY = ("--query-gpu=memory.total", "--format=csv,noheader,nounits")
_PATIENCE_S = 10


@dataclass(frozen=True)
class Device:
    """What there is to train on.

    Args:
        cores: Processor cores.
        gpu_gib: Memory of the GPU in GiB; 0 where there is none.
    """

    cores: int = 1
    gpu_gib: float = 0.0

    @property
    def has_gpu(self) -> bool:
        """Whether there is a GPU."""
        return self.gpu_gib > 0

    @property
    def text(self) -> str:
        """What it is, for people."""
        return f"a GPU with {self.gpu_gib:.0f} GiB" if self.has_gpu else f"no GPU, {self.cores} cores"


def find_device() -> Device:
    """Return what this machine has; the driver is asked, because importing torch would take seconds."""
    return Device(os.cpu_count() or 1, 0.0 if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") else _gpu_gib())


def _gpu_gib() -> float:
    """Memory of the smallest GPU of NVIDIA's driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0.0
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            [program, *_QUERY], capture_output=True, text=True, check=False, timeout=_PATIENCE_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0.0
    sizes = [float(line) / 1024 for line in done.stdout.split() if line.strip().isdecimal()]
    return min(sizes, default=0.0)
