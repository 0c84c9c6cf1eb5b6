"""What the account of a training's time says that is worth saying, said when the training is over."""

from __future__ import annotations

from medloom.events import Events, FileMade, Noted
from medloom.files import read_json
from medloom.pipeline.runs import Run

__all__ = ["say_profile"]

_PROFILE = "profile.json"


def say_profile(run: Run, events: Events) -> None:
    """Tell what slows the training of a run and what to try, and which trace there is; nothing where nothing does.

    Args:
        run: A run that was trained.
        events: Told of it.
    """
    try:
        facts = read_json(run.folder / _PROFILE)
    except (OSError, ValueError):  # no account was kept, or nobody can read it
        return
    for rule in facts["rules"]:
        if rule["said"]:
            events.emit(Noted(f"profile: {rule['finding']}; {rule['advice']}"))
    if facts["trace"] is not None:
        events.emit(FileMade(run.folder / facts["trace"]))
