"""The folder of bundles from which a client may have models loaded while the server runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from medloom.errors import MedloomError
from medloom.memory import available_bytes
from medloom.serving.models import Model, Models, Opening
from medloom.serving.problems import Problem

__all__ = ["Repository"]

_TIMES = 4
"""Bytes of memory for each of a bundle while it is loaded: packed, unpacked, and in the runtime."""

_SPARE_BYTES = 64 * 2**20


def _as_it_is(model: Model) -> Model:
    return model


@dataclass(frozen=True)
class Repository:
    """Loads models on request, from one folder and from nowhere else.

    Args:
        folder: Where the bundles lie; None, and nothing is loaded.
        opening: How they are loaded.
        dress: What is done to a model before it answers, such as put a fence around its decoders.
    """

    folder: Path | None = None
    opening: Opening = field(default_factory=Opening)
    dress: Callable[[Model], Model] = _as_it_is

    async def load(self, models: Models, name: str, place: str) -> Model:
        """Load a bundle and let it answer.

        Args:
            models: Where it is added.
            name: What requests shall call it.
            place: Path of the bundle, or of the folder that it was extracted to: relative to the folder, or inside it.

        Raises:
            Problem: 403 if nothing may be loaded, 404 if there is no such bundle in the folder, 409 if there is a model
                of that name, 400 if the bundle or the name is not sound, 507 if memory ran out.
        """
        path = self._inside(place)
        if name in models.names():
            raise _taken()
        _check_room(path)
        try:
            model = self.dress(await asyncio.to_thread(self.opening.open, path, name))
        except MemoryError as error:
            raise _no_memory() from error
        except MedloomError as error:
            message = "the bundle or the name of the model is not sound"
            raise Problem(400, "bad_bundle", message, "Run medloom verify on the bundle; a name has letters, digits, "
                          "dots, dashes and underscores.") from error  # fmt: skip
        if name in models.names():  # by another request, meanwhile
            raise _taken()
        models.put(model)
        return model

    def _inside(self, place: str) -> Path:
        """The path that is meant; links are followed before it is looked where it lies."""
        if self.folder is None:
            hint = "Let the operator name a folder with --model-folder."
            raise Problem(403, "no_repository", "this server loads no models on request", hint)
        folder = self.folder.resolve()
        try:
            path = (folder / place).resolve(strict=True)
        except (OSError, ValueError, RuntimeError) as error:  # not there, a NUL, links in a circle
            raise _unknown() from error
        if not path.is_relative_to(folder) or path == folder:
            raise _unknown()
        return path


def _check_room(path: Path) -> None:
    """Refuse a model before the system would end the process for want of memory."""
    size = path.stat().st_size if path.is_file() else sum(one.stat().st_size for one in path.rglob("*"))
    spare = available_bytes()
    if spare is not None and _TIMES * size + _SPARE_BYTES > spare:
        raise _no_memory()


def _no_memory() -> Problem:
    return Problem(507, "no_memory", "there is no memory for another model", "Unload one first.")


def _taken() -> Problem:
    return Problem(409, "already_loaded", "a model of that name is loaded", "Unload it first, or use another name.")


def _unknown() -> Problem:
    return Problem(404, "unknown_bundle", "there is no such bundle in the folder of this server")
