"""The folder of bundles from which a client may have models loaded while the server runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from medloom.errors import MedloomError
from medloom.memory import available_bytes
from medloom.packaging.bundle import MANIFEST
from medloom.serving.models import Model, Opening, is_model_name
from medloom.serving.problems import Problem
from medloom.serving.service import Service

__all__ = ["Repository"]

_TIMES = 4
"""Bytes of memory for each of a bundle while it is loaded: packed, unpacked, and in the runtime."""

_SPARE_BYTES = 64 * 2**20
_SUFFIX = ".tar.gz"


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

    async def load(self, service: Service, name: str, place: str, *, again: bool = False) -> Model:
        """Load a bundle and let it answer; which batches are the fastest is measured when nobody waits.

        Args:
            service: Where it is added.
            name: What requests shall call it.
            place: Path of the bundle, or of the folder that it was extracted to: relative to the folder, or inside it.
            again: Whether a model that was loaded from the same place may be there, and is exchanged.

        Raises:
            Problem: 403 if nothing may be loaded, 404 if there is no such bundle in the folder, 409 if there is a model
                of that name, 400 if the bundle or the name is not sound, 507 if memory ran out.
        """
        path = self._inside(place)
        _check_free(service, name, path, again)
        _check_room(path)
        try:
            model = self.dress(await asyncio.to_thread(self.opening.open, path, name))
        except MemoryError as error:
            raise _no_memory() from error
        except MedloomError as error:
            message = "the bundle or the name of the model is not sound"
            raise Problem(400, "bad_bundle", message, "Run medloom verify on the bundle; a name has letters, digits, "
                          "dots, dashes and underscores.") from error  # fmt: skip
        _check_free(service, name, path, again)  # another request may have been faster
        service.put(model)
        return model

    def unload(self, service: Service, name: str) -> Model:
        """Take a model away; requests in progress finish with it.

        Args:
            service: Which answers with it.
            name: Of the model.

        Raises:
            Problem: 404 if there is no such model, 403 if nothing may be unloaded.
        """
        model = service.models.get(name)
        if self.folder is None:
            hint = "Let the operator name a folder with --model-folder."
            raise Problem(403, "no_repository", "this server unloads no models on request", hint)
        service.models.remove(name)
        return model

    def bundles(self) -> dict[str, str]:
        """Return what lies in the folder: the place of each bundle by the name that a model of it would have."""
        if self.folder is None or not self.folder.is_dir():
            return {}
        places = sorted(path.name for path in self.folder.iterdir() if _is_bundle(path))
        return {place.removesuffix(_SUFFIX): place for place in places if is_model_name(place.removesuffix(_SUFFIX))}

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


def _is_bundle(path: Path) -> bool:
    return (path / MANIFEST).is_file() or (path.name.endswith(_SUFFIX) and path.is_file())


def _check_free(service: Service, name: str, path: Path, again: bool) -> None:
    """Refuse a name that is taken, but by a model of the same place where that may be exchanged."""
    there = next((model for model in service.models.all() if model.name == name), None)
    if there is not None and not (again and there.path == path):
        raise Problem(409, "already_loaded", "a model of that name is loaded", "Unload it first, or use another name.")


def _check_room(path: Path) -> None:
    """Refuse a model before the system would end the process for want of memory."""
    size = path.stat().st_size if path.is_file() else sum(one.stat().st_size for one in path.rglob("*"))
    spare = available_bytes()
    if spare is not None and _TIMES * size + _SPARE_BYTES > spare:
        raise _no_memory()


def _no_memory() -> Problem:
    return Problem(507, "no_memory", "there is no memory for another model", "Unload one first.")


def _unknown() -> Problem:
    return Problem(404, "unknown_bundle", "there is no such bundle in the folder of this server")
