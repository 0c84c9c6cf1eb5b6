"""One line that says on which machine and with which versions a figure was measured."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def describe(*packages: str) -> str:
    """Return processor, cores, Python and the versions of ``packages`` in one line.

    Args:
        packages: Distribution names, such as ``torch``; missing ones are named as such.
    """
    versions = [f"{name} {_version(name)}" for name in packages]
    return ", ".join([_processor(), f"{_cores()} cores", f"Python {platform.python_version()}", *versions])


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
