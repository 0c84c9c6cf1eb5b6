"""A bundle that changes is loaded beside the old one, verified, warmed and put in its place; no request is lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from medloom.errors import MedloomError
from medloom.packaging.bundle import CHECKSUM
from medloom.serving.models import Model, Opening
from medloom.serving.service import Service
from medloom.wording import one_line

__all__ = ["Swapper"]

_log = logging.getLogger(__name__)

_EVERY_S = 1.0

Stamp = tuple[int, int, int]


class Swapper:
    """Looks after the bundles of a service, in a thread of its own. Use it in a ``with`` block.

    Args:
        service: Whose models are looked after: those that came from a file or folder.
        opening: How they are loaded.
        dress: What is done to a model before it answers, such as put a fence around its decoders.
        watch: Whether bundles that change are loaded by themselves; else only when ``ask`` is called.
        every_s: How often they are looked at.

    Example:
        >>> with Swapper(service, opening, watch=True):  # doctest: +SKIP
        ...     serve(app, listener)
    """

    def __init__(
        self,
        service: Service,
        opening: Opening,
        dress: Callable[[Model], Model] = lambda model: model,
        *,
        watch: bool = False,
        every_s: float = _EVERY_S,
    ) -> None:
        self._service, self._opening, self._dress, self._watch = service, opening, dress, watch
        self._every_s = every_s if watch else None
        self._tried = {model.name: _stamp(model.path) for model in service.models.all() if model.path is not None}
        self._seen = dict(self._tried)
        self._woken = threading.Event()
        self._asked = self._closed = False
        self._thread = threading.Thread(target=self._work, name="medloom-swap", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._woken.set()
        self._thread.join()

    def ask(self, *_: object) -> None:
        """Load every bundle again soon, changed or not; may be the handler of a signal."""
        self._asked = True
        self._woken.set()

    def look(self, *, every: bool = False) -> None:
        """Look at every bundle once, and load those that changed and then stayed as they are since the last look.

        Args:
            every: Load all of them, now.
        """
        for model in self._service.models.all():
            if model.path is None:
                continue
            now = _stamp(model.path)
            settled = now == self._seen.get(model.name, now)
            self._seen[model.name] = now
            if every or (settled and now is not None and now != self._tried.setdefault(model.name, now)):
                self._tried[model.name] = now
                self._swap(model, model.path)

    def _swap(self, model: Model, path: Path) -> None:
        try:
            found = self._dress(self._opening.open(path, model.name))
        except (MedloomError, OSError, MemoryError) as error:
            said = one_line(str(error)) or type(error).__name__
            _log.error("the new bundle of %s is not taken, and the old one answers on: %s", model.name, said)
            return
        except Exception as error:  # a runtime's own; the old one goes on whatever it is
            _log.error("the new bundle of %s is not taken, and the old one answers on", model.name, exc_info=error)
            return
        if model.name not in self._service.models.names():  # it was unloaded meanwhile
            return
        self._service.put(found)
        _log.info("the bundle of %s was loaded anew and answers from now on", model.name)

    def _work(self) -> None:
        while True:
            self._woken.wait(self._every_s)
            self._woken.clear()
            if self._closed:
                return
            every, self._asked = self._asked, False
            self.look(every=every)


def _stamp(path: Path | None) -> Stamp | None:
    """What changes when a bundle does: of a folder, its checksum file; None if it is not there."""
    if path is None:
        return None
    try:
        found = (path / CHECKSUM if path.is_dir() else path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
