"""What may or may not be on this machine: optional dependencies, imported through one door, and a compiler."""

from __future__ import annotations

import importlib
import os
import shutil
from types import ModuleType

from medloom.errors import MissingExtraError

__all__ = ["find_compiler", "lacking", "require"]

_BROUGHT_BY = {
    "lightning": "train",
    "matplotlib": "train",
    "monai": "train",
    "pandas": "prepare",
    "scipy": "prepare",
    "torch": "train",
}
"""Which extra brings what whole stages are written with, and therefore import without asking for it."""


def lacking(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Return what to install where a stage's library is not there; None for a module that no extra brings."""
    module = (error.name or "").partition(".")[0]
    return MissingExtraError(module, _BROUGHT_BY[module]) if module in _BROUGHT_BY else None


def find_compiler() -> str | None:
    """Return the path of the C++ compiler that ``torch.compile`` needs on a CPU, or None."""
    names = (os.environ.get("CXX", "c++"), "g++", "clang++")
    return next((path for name in names if (path := shutil.which(name))), None)


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module or say which extra brings it.

    Args:
        module: Dotted name, such as ``onnxruntime``.
        extra: Medloom's extra, such as ``serve``.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and module.split(".")[0] == error.name.split(".")[0]:
            raise MissingExtraError(module, extra) from error
        raise
