"""Send a tracker what it does not have yet of a run; sending twice doubles nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medloom.files import members_of, sha256_file
from medloom.tracking.api import Known, Record, Session, State, Tracker
from medloom.tracking.reading import is_begun, read_record

__all__ = ["Sender", "Sent", "send", "send_run"]

_CHANGED = "changed"
"""Tag that says which parameters are not as they were when the run began."""


@dataclass(frozen=True)
class Sent:
    """How much a tracker was sent.

    Args:
        points: Values of metrics.
        files: Files, the bundle among them.
    """

    points: int = 0
    files: int = 0

    def __add__(self, other: Sent) -> Sent:
        return Sent(self.points + other.points, self.files + other.files)


def send_run(folder: Path, tracker: Tracker, state: State | None = None) -> Sent:
    """Send a tracker what it does not have of a run and of its folds or seeds.

    Args:
        folder: The run directory.
        tracker: Where to.
        state: How the run stands; by default what its files say.

    Returns:
        How much was sent; nothing where the run has not begun to train.
    """
    sender = Sender(folder, tracker)
    try:
        return sender.send(state)
    finally:
        sender.close()


class Sender:
    """Sends one tracker what is new of one run and of its members, as often as it is asked to.

    Args:
        folder: The run directory.
        tracker: Where to.
    """

    def __init__(self, folder: Path, tracker: Tracker) -> None:
        self.folder = folder
        self.tracker = tracker
        self._open: dict[str, tuple[Session, Known]] = {}
        self._hashes: dict[tuple[Path, int, int], str] = {}

    def send(self, state: State | None = None) -> Sent:
        """Send what is new; see ``send_run``."""
        if not is_begun(self.folder):
            return Sent()
        whole = read_record(self.folder, state)
        sent = self._send(whole)
        for member in members_of(self.folder):
            if is_begun(member):
                sent += self._send(read_record(member, _of_member(member, state), parent=whole.id))
        return sent

    def close(self) -> None:
        """Let go of everything; the next time the tracker is asked again what it has."""
        opened, self._open = self._open, {}
        for session, _ in opened.values():
            session.close()

    def _send(self, record: Record) -> Sent:
        if record.id not in self._open:
            session = self.tracker.open(record)
            self._open[record.id] = session, session.known()
        session, known = self._open[record.id]
        return send(record, session, known, self._hashes)


def _of_member(member: Path, state: State | None) -> State | None:
    """A fold or seed that is trained is finished, whatever becomes of the whole."""
    return None if (member / "training.json").is_file() else state


def send(record: Record, session: Session, known: Known, hashes: dict[tuple[Path, int, int], str]) -> Sent:
    """Send what a tracker does not have of one run.

    Args:
        record: What there is.
        session: The run there.
        known: What it has; kept up to date.
        hashes: Those of files that were looked at before, by path, time and size.
    """
    _describe(record, session, known)
    points = [one for one in record.points if known.points.get((one.name, one.step)) != one.value]
    if points:
        session.points(points)
        known.points.update({(one.name, one.step): one.value for one in points})
    files = sum(_file(place, path, session, known, hashes) for place, path in record.files.items())
    if record.bundle is not None and known.bundle != (sha256 := _hash(record.bundle, hashes)):
        session.model(record.bundle, sha256, record.model)
        known.bundle, files = sha256, files + 1
    if known.state != record.state:
        session.state(record.state)
        known.state = record.state
    return Sent(len(points), files)


def _describe(record: Record, session: Session, known: Known) -> None:
    params = {key: value for key, value in record.params.items() if key not in known.params}
    wanted = {**record.tags, **_changes(record.params, known.params)}
    tags = {key: value for key, value in wanted.items() if known.tags.get(key) != value}
    if params or tags:
        session.describe(params, tags)
        known.params.update(params)
        known.tags.update(tags)


def _changes(params: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """Parameters cannot be changed; that a run was given more epochs is said in a tag."""
    changed = [f"{key}: {before[key]} -> {value}" for key, value in params.items() if before.get(key, value) != value]
    return {_CHANGED: "; ".join(changed)} if changed else {}


def _file(place: str, path: Path, session: Session, known: Known, hashes: dict[tuple[Path, int, int], str]) -> int:
    sha256 = _hash(path, hashes)
    if place in known.files and sha256.startswith(known.files[place]):
        return 0
    session.file(place, path, sha256)
    known.files[place] = sha256
    return 1


def _hash(path: Path, hashes: dict[tuple[Path, int, int], str]) -> str:
    """The hash of a file, which is taken once as long as nothing is written to it."""
    status = path.stat()
    key = path, status.st_mtime_ns, status.st_size
    if key not in hashes:
        hashes[key] = sha256_file(path)
    return hashes[key]
