"""What of this machine a process may use, has used and uses now, from the kernel's own files.

Linux says all of it under ``/proc`` and ``/sys``, so nothing need be installed. Elsewhere psutil is asked where it is
there, and what nobody knows is left out.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from medloom.extras import require

__all__ = [
    "Meter",
    "Used",
    "cores",
    "cpu_quota",
    "gpu_use",
    "memory_limit",
    "parse_gpu_use",
    "thread_cpu_s",
    "used_so_far",
]

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
_NO_LIMIT = 1 << 60
"""Control groups of the first version say a number like this where there is no limit."""

_WAIT_S = 10.0
_QUERY = ("--query-gpu=utilization.gpu,memory.used,power.draw", "--format=csv,noheader,nounits")
_GPU = ("utilization_percentage", "memory_usage_megabytes", "power_usage_watts")
_MB = 1e6


@dataclass(frozen=True)
class Used:
    """What this process has used since it began, and holds now; None where the system does not say.

    Args:
        cpu_s: Seconds of processor, of all its threads.
        waited_s: Seconds in which the thread that asks was ready and no core was free.
        faults: Pages that had to be read from a disk.
        read_bytes: Read from a disk.
        own_bytes: Memory of its own, without pages of files that it has mapped.
        swapped_bytes: Of its memory on the disk.
        throttled_s: Seconds in which its control group was held back, having used up its share of the cores.
    """

    cpu_s: float
    waited_s: float | None
    faults: int | None
    read_bytes: int | None
    own_bytes: int | None
    swapped_bytes: int | None
    throttled_s: float | None


def used_so_far() -> Used:
    """Return what this process has used so far."""
    status = _table(_read(_PROC / "self/status"))
    schedule = _read(_PROC / "thread-self/schedstat").split()
    return Used(
        cpu_s=time.process_time(),
        waited_s=int(schedule[1]) / 1e9 if len(schedule) > 1 else None,
        faults=_faults(),
        read_bytes=_number(_table(_read(_PROC / "self/io")).get("read_bytes")),
        own_bytes=_kilobytes(status.get("RssAnon")),
        swapped_bytes=_kilobytes(status.get("VmSwap")),
        throttled_s=_throttled_s(),
    )


def cores() -> int:
    """Return how many cores this process may use: those it is bound to, and no more than its control group has."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return bound if quota is None else max(1, min(bound, math.floor(quota)))


def cpu_quota() -> float | None:
    """Return how many cores' time the control group of this process may use; None where it is not limited."""
    words = _control("cpu", "cpu.max").split()
    if len(words) == 2:
        return None if words[0] == "max" else int(words[0]) / int(words[1])
    quota, period = _number(_control("cpu", "cpu.cfs_quota_us")), _number(_control("cpu", "cpu.cfs_period_us"))
    return quota / period if quota is not None and quota > 0 and period else None


def memory_limit() -> int | None:
    """Return the bytes of memory that this process may use: those of the machine, or of its control group if fewer."""
    limits = [
        _kilobytes(_table(_read(_PROC / "meminfo")).get("MemTotal")),
        _number(_control("memory", "memory.max")),
        _number(_control("memory", "memory.limit_in_bytes")),
    ]
    known = [limit for limit in limits if limit is not None and limit < _NO_LIMIT]
    return min(known, default=None)


def thread_cpu_s(prefix: str, without: Collection[str] = ()) -> float | None:
    """Return the seconds of processor of this process's threads whose names begin so; None where nobody knows.

    Args:
        prefix: Such as ``medloom-``; only threads that Python began have names.
        without: Names of those that do not count.
    """
    found = [
        _read(_PROC / f"self/task/{thread.native_id}/schedstat").split()
        for thread in threading.enumerate()
        if thread.name.startswith(prefix) and thread.name not in without and thread.native_id is not None
    ]
    if not (_PROC / "self/schedstat").exists():
        return None
    return sum(int(words[0]) for words in found if words) / 1e9


class Meter:
    """Reads how much of the machine is used, each time since the time before.

    Example:
        >>> sorted(Meter().read())[:1]
        ['cpu_utilization_percentage']
    """

    def __init__(self) -> None:
        self._psutil: Any = None
        if not (_PROC / "stat").exists() and find_spec("psutil") is not None:
            self._psutil = require("psutil", "track")
        self._before = self._times()

    def read(self) -> dict[str, float]:
        """Return the use since the last reading, by those names that MLflow gives system metrics; unknown is left out.

        Processor of the machine in per cent of all cores, of this process in per cent of one; memory in per cent and
        in megabytes.
        """
        before, self._before = self._before, self._times()
        busy, total, own, wall = (now - then for now, then in zip(self._before, before, strict=True))
        found = {"cpu_utilization_percentage": 100 * busy / total if total else 0.0} if total >= 0 else {}
        memory = self._memory()
        if memory is not None:
            share = 100 * memory[0] / memory[1]
            found |= {"system_memory_usage_percentage": share, "system_memory_usage_megabytes": memory[0] / _MB}
        if wall > 0:
            found["process_cpu_utilization_percentage"] = 100 * own / wall
        if (resident := self._resident()) is not None:
            found["process_memory_usage_megabytes"] = resident / _MB
        return {name: round(max(0.0, value), 1) for name, value in found.items()}

    def _times(self) -> tuple[float, float, float, float]:
        """Time that cores were busy, all of their time, this process's, and by the clock."""
        own, wall = time.process_time(), time.monotonic()
        if self._psutil is not None:
            times = self._psutil.cpu_times()
            return sum(times) - times.idle, sum(times), own, wall
        words = _read(_PROC / "stat").partition("\n")[0].split()[1:9]  # the rest is counted among these
        ticks = [int(word) for word in words]
        return (sum(ticks) - sum(ticks[3:5]), sum(ticks), own, wall) if ticks else (math.nan, math.nan, own, wall)

    def _memory(self) -> tuple[int, int] | None:
        """Bytes used, and bytes there are."""
        if self._psutil is not None:
            memory = self._psutil.virtual_memory()
            return memory.total - memory.available, memory.total
        table = _table(_read(_PROC / "meminfo"))
        total, free = _kilobytes(table.get("MemTotal")), _kilobytes(table.get("MemAvailable"))
        return None if total is None or free is None else (total - free, total)

    def _resident(self) -> int | None:
        if self._psutil is not None:
            return int(self._psutil.Process().memory_info().rss)
        return _kilobytes(_table(_read(_PROC / "self/status")).get("VmRSS"))


def gpu_use(which: str | None = None) -> dict[str, float]:
    """Return the use of NVIDIA GPUs as their driver's own program says; empty where there is none.

    Args:
        which: The UUID of one of them; None for all.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    command = [program, *_QUERY, *([] if which is None else [f"--id={which}"])]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=_WAIT_S, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse_gpu_use(said)


def parse_gpu_use(said: str) -> dict[str, float]:
    """Read what ``nvidia-smi`` says, a line for each GPU; what a GPU does not tell is left out.

    Example:
        >>> parse_gpu_use("87, 4096, [N/A]")
        {'gpu_0_utilization_percentage': 87.0, 'gpu_0_memory_usage_megabytes': 4096.0}
    """
    found = {}
    for index, line in enumerate(said.strip().splitlines()):
        for name, text in zip(_GPU, line.split(","), strict=False):
            if text.strip().replace(".", "", 1).isdigit():
                found[f"gpu_{index}_{name}"] = float(text)
    return found


def _faults() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


def _throttled_s() -> float | None:
    lines = [line.split() for line in _control("cpu", "cpu.stat").splitlines()]
    table = {words[0]: int(words[1]) for words in lines if len(words) == 2}
    if "throttled_usec" in table:
        return table["throttled_usec"] / 1e6
    return table["throttled_time"] / 1e9 if "throttled_time" in table else None


def _control(controller: str, name: str) -> str:
    """What a file of this process's control group says; of either version, as seen from inside a container or not."""
    for line in _read(_PROC / "self/cgroup").splitlines():
        _, controllers, place = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            root = _CGROUPS / controller if controllers else _CGROUPS
            for folder in (root / place.lstrip("/"), root):
                if said := _read(folder / name):
                    return said.strip()
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError):
        return ""


def _table(text: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def _number(text: str | None) -> int | None:
    return int(text) if text and text.lstrip("-").isdigit() else None


def _kilobytes(text: str | None) -> int | None:
    return None if text is None else int(text.split()[0]) * 1024
