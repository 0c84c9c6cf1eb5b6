"""Rules of a user's own: a class in a Python file, named on the command line.

A recipe is data and never names code. ``--hook rules.py:Mine`` puts the name into the environment variable
``MEDLOOM_HOOKS``, where the processes of folds and of several devices find it too. The class takes no arguments and has
``look``, as every rule has; ``fired``, which is called with each first finding of any rule; or both.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medloom.errors import UserError
from medloom.training.diagnosis.rules import Watched

__all__ = ["HOOKS", "hooked", "load_hooks", "own_rules"]

HOOKS = "MEDLOOM_HOOKS"
"""Environment variable with ``file.py:Class``, several with semicolons between them."""

_WAYS = ("look", "fired")


@contextmanager
def hooked(names: Sequence[str]) -> Iterator[None]:
    """Let trainings in the block, and processes that it starts, use hooks, which are loaded once to try them.

    Args:
        names: ``file.py:Class`` each; of none, the environment stays as it is.

    Raises:
        UserError: If there is no such file or class, or it is no hook.
    """
    if not names:
        yield
        return
    before = os.environ.get(HOOKS)
    os.environ[HOOKS] = ";".join(_absolute(name) for name in names)
    try:
        load_hooks()
        yield
    finally:
        os.environ.pop(HOOKS)
        if before is not None:
            os.environ[HOOKS] = before


def load_hooks() -> list[Any]:
    """Return an object of each class that the environment names.

    Raises:
        UserError: If there is no such file or class, or it is no hook.
    """
    return [_made(name) for name in os.environ.get(HOOKS, "").split(";") if name]


def own_rules(hooks: Sequence[Any]) -> list[Watched]:
    """Return the rules among hooks; each is called by its class's name."""
    return [
        Watched(type(hook).__name__, _first_line(hook), hook, ("step", "epoch")) for hook in hooks if _can(hook, "look")
    ]


def _absolute(name: str) -> str:
    file, _, attribute = name.rpartition(":")
    return f"{Path(file).expanduser().absolute()}:{attribute}"


def _made(name: str) -> Any:  # noqa: ANN401 - whatever the user wrote
    file, _, attribute = name.rpartition(":")
    if not file or not attribute or not Path(file).is_file():
        raise UserError(f"--hook {Path(file).name}:{attribute}: expected a Python file that is there and a class in it")
    try:
        hook = getattr(_module(Path(file)), attribute)()
    except Exception as error:
        raise UserError(f"--hook {Path(file).name}:{attribute}: {type(error).__name__}: {error}") from error
    if not any(_can(hook, way) for way in _WAYS):
        raise UserError(
            f"--hook {Path(file).name}:{attribute}: expected a method look(history), fired(finding), or both"
        )
    return hook


def _module(path: Path) -> Any:  # noqa: ANN401 - a module
    name = f"medloom_hook_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for the names of their fields
    spec.loader.exec_module(module)
    return module


def _can(hook: Any, way: str) -> bool:  # noqa: ANN401 - whatever the user wrote
    return callable(getattr(hook, way, None))


def _first_line(hook: Any) -> str:  # noqa: ANN401 - whatever the user wrote
    lines = (type(hook).__doc__ or "").strip().splitlines()
    return lines[0] if lines else "a rule of your own"
