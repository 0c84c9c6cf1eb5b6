"""A run that is tracked while it is worked on, and later from its files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from medloom.errors import MedloomError, UserError
from medloom.events import Events
from medloom.files import read_json
from medloom.pipeline.runs import Run
from medloom.registry import TRACKERS, check_name
from medloom.tracking import SYSTEM, Follower, Sampler, Sent, State, build_trackers, error_text, is_begun, send_run

__all__ = ["TrackingError", "track", "tracked"]

_DEFAULT = "mlflow"
_WAIT_S, _WAIT_STOPPED_S = 60.0, 5.0
"""How long the end of a command waits for trackers: to take the bundle, or only what is new in an epoch."""


class TrackingError(MedloomError):
    """A tracker did not take what it was sent."""


@contextlib.contextmanager
def tracked(run: Run, events: Events) -> Iterator[Events]:
    """Let the trackers of a run follow what happens in the block.

    Nothing that a tracker does stops the block or slows it down; that one fails is a warning.

    Args:
        run: The run; its recipe says which trackers there are.
        events: Whom to tell.

    Yields:
        What the work in the block is to tell: those of ``events``, and the trackers.

    Raises:
        MissingExtraError: If the library of a tracker is not installed; before anything is done.
    """
    trackers = build_trackers(run.recipe, run.folder)
    if not trackers:
        yield events
        return
    follower, sampler = Follower(run.folder, trackers, events), Sampler(run.folder / SYSTEM)
    try:
        yield Events([*events.listeners, follower])
    except BaseException as error:
        sampler.close()
        follower.close("failed" if isinstance(error, Exception) else "stopped", _WAIT_STOPPED_S)
        raise
    sampler.close()
    state = _state(run)
    follower.close(state, _WAIT_S if state == "finished" else _WAIT_STOPPED_S)


def _state(run: Run) -> State:
    """How a run stands after a command."""
    path = run.folder / "training.json"
    return "finished" if path.is_file() and read_json(path).get("finished", True) else "stopped"


def track(run: Run, names: Sequence[str] | None = None) -> dict[str, Sent]:
    """Send trackers what they do not have of a run; sent twice, nothing is doubled.

    Args:
        run: The run, which nobody else is writing.
        names: Which trackers; by default those of its recipe, and MLflow where it names none.

    Returns:
        How much each was sent.

    Raises:
        UserError: If the run has not begun to train, or there is no such tracker.
        MissingExtraError: If the library of one is not installed.
        TrackingError: If one did not take it; the others were sent theirs.
    """
    chosen = tuple(names or run.recipe.tracking.trackers or (_DEFAULT,))
    for name in chosen:
        check_name("tracker", name, TRACKERS)
    if not is_begun(run.folder):
        raise UserError(f"{run.folder} has not begun to train, so there is nothing to track; run `medloom train` first")
    sent: dict[str, Sent] = {}
    failed: list[str] = []
    for tracker in build_trackers(run.recipe, run.folder, chosen):
        try:
            sent[tracker.name] = send_run(run.folder, tracker)
        except Exception as error:  # one that is down must not keep the others from what is theirs
            failed.append(f"{tracker.name}: {error_text(error)}")
    if failed:
        raise TrackingError(f"{'; '.join(failed)}. Give the same command again when that is mended")
    return sent
