"""Nothing of a user's leaves the machine: libraries that report to their makers are told not to, before they load.

ONNX Runtime reports on Linux since 1.31: seconds after a session is made it looks up a host of its maker, and it keeps
a device id and a queue of events (interpreter path, graph name, error texts) under the user's cache folder. Only the
environment, before its import, stops all of it; ``disable_telemetry_events()`` comes too late. The others are named so
that no extra and no back end can forget them.
"""

from __future__ import annotations

import os

__all__ = ["SWITCHES", "switch_off"]

SWITCHES: dict[str, str] = {
    "ORT_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
"""Environment variables by which libraries are told to report nothing."""


def switch_off() -> None:
    """Set every switch, for this process and for those that it starts.

    Importing ``medloom`` calls it. A program that imports ONNX Runtime first sets the variables itself.
    """
    os.environ.update(SWITCHES)
