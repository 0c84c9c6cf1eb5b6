"""Events of the pipeline that are for the user's eyes alone."""

from __future__ import annotations

from dataclasses import dataclass

from medloom.events import Event

__all__ = ["SetAside"]


@dataclass(frozen=True)
class SetAside(Event):
    """An input was set aside.

    Args:
        text: Which file and why. It may hold a patient's name: show it to the user and keep it nowhere.
    """

    text: str
