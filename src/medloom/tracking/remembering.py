"""What a tracker was sent, for those that cannot be asked: a file beside what they keep on this machine.

Whoever deletes what such a tracker keeps deletes that with it, and everything is sent again.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

from medloom.files import read_json, write_json
from medloom.tracking.api import Known, Point, Session, State

__all__ = ["Remembering"]


class Remembering:
    """A session that writes down what its tracker took, each time that it took something.

    Args:
        session: The run there; its own ``known`` is not asked.
        path: The file, which this makes.
    """

    def __init__(self, session: Session, path: Path) -> None:
        self._session = session
        self._path = path
        self._known = _read(path)

    def known(self) -> Known:
        """Return what was written down."""
        return copy.deepcopy(self._known)

    def describe(self, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Hand it on, then write it down."""
        self._session.describe(params, tags)
        self._known.params.update(params)
        self._known.tags.update(tags)
        self._write()

    def points(self, points: Sequence[Point]) -> None:
        """Hand them on, then write them down."""
        self._session.points(points)
        self._known.points.update({(one.name, one.step): one.value for one in points})
        self._write()

    def file(self, place: str, path: Path, sha256: str) -> None:
        """Hand it on, then write it down."""
        self._session.file(place, path, sha256)
        self._known.files[place] = sha256
        self._write()

    def model(self, bundle: Path, sha256: str, name: str) -> None:
        """Hand it on, then write it down."""
        self._session.model(bundle, sha256, name)
        self._known.bundle = sha256
        self._write()

    def state(self, state: State) -> None:
        """Hand it on, then write it down."""
        self._session.state(state)
        self._known.state = state
        self._write()

    def close(self) -> None:
        """Let the run go."""
        self._session.close()

    def _write(self) -> None:
        known = self._known
        points = [[name, step, value] for (name, step), value in known.points.items()]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, {**vars(known), "points": points})


def _read(path: Path) -> Known:
    if not path.is_file():
        return Known()
    said = read_json(path)
    return Known(**{**said, "points": {(name, step): value for name, step, value in said["points"]}})
