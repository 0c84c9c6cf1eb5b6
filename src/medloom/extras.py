"""Optional dependencies, imported through one door."""

from __future__ import annotations

import importlib
from typing import Any

from medloom.errors import MissingExtraError

__all__ = ["require"]


def require(module: str, extra: str) -> Any:  # noqa: ANN401 - a module has no better type
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
