"""``medloom serve`` in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

__all__ = ["ServerProcess", "serving_process"]

_SETTLE_S, _SAME_LOOKS = 120.0, 16


@dataclass
class ServerProcess:
    """A server that answers.

    Args:
        port: Where.
        process: To send it signals.
        lines: What it has written to stderr; complete when the block is left.
    """

    port: int
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def settle(self) -> None:
        """Wait until it has done what it does when nobody asks, such as measuring its network, by its memory."""
        memory, looks = psutil.Process(self.process.pid).memory_info, list[int]()
        until = time.monotonic() + _SETTLE_S
        while len(looks) < _SAME_LOOKS or max(looks[-_SAME_LOOKS:]) - min(looks[-_SAME_LOOKS:]) > 2**20:
            assert time.monotonic() < until, "its memory does not come to rest"
            time.sleep(0.25)
            looks.append(memory().rss)


@contextmanager
def serving_process(bundle: Path, *options: str, environment: dict[str, str] | None = None) -> Iterator[ServerProcess]:
    """Serve a bundle on a free port of this machine for as long as the block runs."""
    command = [sys.executable, "-m", "medloom.cli.main", "serve", str(bundle), "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})})
    lines: list[str] = []
    found = None
    for line in process.stderr or ():
        lines.append(line)
        if found := re.search(r"https?://[\d.]+:(\d+)", line):
            break
    else:
        process.wait()
        raise AssertionError("".join(lines))
    reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True)
    reader.start()
    try:
        yield ServerProcess(int(found[1]), process, lines)
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()
            reader.join(10)
            if process.stderr is not None:
                process.stderr.close()
