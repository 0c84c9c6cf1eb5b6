"""What a run was made with."""

from __future__ import annotations

import os
import platform
import re
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
        "command": " ".join(["medloom", *_words(sys.argv)[:1]]),
    }


def _words(arguments: list[str]) -> list[str]:
    """The command of the command line; arguments of other programs may be paths, and are left out."""
    return [word for word in arguments[1:2] if re.fullmatch(r"[a-z-]+", word)]
