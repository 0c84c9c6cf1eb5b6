"""Where jobs run: a request that is built without doing anything, then submit, status, logs, cancel.

``api`` is the protocol, ``running`` runs several jobs on any back end, ``local`` is this machine.
"""

from __future__ import annotations

from medloom.backends.api import Backend, State, Status
from medloom.backends.local import LocalBackend, Slot, end_with_parent, share_out
from medloom.backends.running import Ending, run_jobs

__all__ = ["Backend", "Ending", "LocalBackend", "Slot", "State", "Status", "end_with_parent", "run_jobs", "share_out"]
