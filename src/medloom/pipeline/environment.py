"""What a run was made with."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from typing import Any

from medloom import __version__

__all__ = ["environment"]

_PACKAGES = (
    "torch",
    "lightning",
    "monai",
    "timm",
    "numpy",
    "onnxruntime",
    "openvino",
    "tifffile",
    "imagecodecs",
    "pillow",
    "pydicom",
    "nibabel",
)

_GIT_S = 5.0


def environment() -> dict[str, Any]:
    """Say what a run was made with: versions and machine, no names of users or hosts."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "medloom": __version__,
        "python": platform.python_version(),
        "packages": versions,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "git": _git(),
        "command": " ".join(["medloom", *_words(sys.argv)[:1]]),
    }


def _git() -> dict[str, Any] | None:
    """The commit of the folder where the command was given, and whether files that it knows have changed."""
    program = shutil.which("git")
    if program is None:
        return None
    said = []
    for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no")):
        command = [program, "-c", "core.fsmonitor=false", *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_S, check=True)  # noqa: S603
        except (OSError, subprocess.SubprocessError):  # no repository, or one that takes too long
            return None
        said.append(done.stdout.strip())
    return {"commit": said[0], "changed": bool(said[1])}


def _words(arguments: list[str]) -> list[str]:
    """The command of the command line; arguments of other programs may be paths, and are left out."""
    return [word for word in arguments[1:2] if re.fullmatch(r"[a-z-]+", word)]
