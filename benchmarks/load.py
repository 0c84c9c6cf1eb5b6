"""Load on a server on this machine, from a process of its own: closed loops of clients, or requests at a rate.

    python benchmarks/load.py '{"port": 8080, "path": "/invocations", "headers": {…}, "body": "image.png", …}'

Reads what to do as JSON from the first argument and prints what it saw as JSON. It sends prepared bytes and reads no
more of an answer than it must, so that it takes little of the cores that the server needs.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_CONNECTIONS = 256
_STORM_PAUSE_S = 0.05
_STORM_TRIES = 100


@dataclass
class Load:
    """What is sent.

    Args:
        port: Of the server, on this machine.
        path: What is asked.
        headers: With the type of the body.
        body: File that is sent.
        seconds: For how long requests begin.
        clients: Of a closed loop: each sends its next request when it has an answer.
        rate: Requests a second that begin whatever becomes of the others; 0 for a closed loop.
        storm: Whether a request that is refused is sent again and again, as by clients that nobody taught.
        ping: Whether ``/ping`` is asked ten times a second beside it.
    """

    port: int
    path: str
    headers: dict[str, str]
    body: str
    seconds: float
    clients: int = 1
    rate: float = 0.0
    storm: bool = False
    ping: bool = False


@dataclass
class Seen:
    """What came of it.

    Args:
        per_s: Requests answered with 200 a second.
        p50_ms: Median time of these.
        p99_ms: And the 99th percentile.
        statuses: How many answers had which status; 0 for none.
        begun: Requests that were begun, a retry not counted.
        ping_ms: Slowest answer to ``/ping``.
        ping_failed: Answers to it other than 200.
    """

    per_s: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    begun: int = 0
    ping_ms: float = 0.0
    ping_failed: int = 0


def measure(load: Load) -> Seen:
    """Put a load on a server from another process and return what it saw."""
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(asdict(load))], check=True, stdout=subprocess.PIPE, text=True
    )
    return Seen(**json.loads(done.stdout))


class _Line:
    """One connection, which is opened again where the server ended it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> int:
        """Send a request; the status of the answer, 0 for none."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
            await reader.readexactly(length)
            if b"connection: close" in head:
                self._end()
            return int(head[9:12])
        except (OSError, asyncio.IncompleteReadError, ValueError):
            self._end()
            return 0

    def _end(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


@dataclass
class _Run:
    load: Load
    request: bytes
    took_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    begun: int = 0
    pings_s: list[float] = field(default_factory=list)
    ping_failed: int = 0

    async def closed(self) -> None:
        """Clients that wait for their answers."""
        end = time.perf_counter() + self.load.seconds

        async def client() -> None:
            line = _Line(self.load.port)
            while time.perf_counter() < end:
                await self._one(line)

        await asyncio.gather(*(client() for _ in range(self.load.clients)))

    async def open(self) -> None:
        """Requests that begin at their times, on whichever connection is free."""
        lines: asyncio.LifoQueue[_Line] = asyncio.LifoQueue()
        for _ in range(_CONNECTIONS):
            lines.put_nowait(_Line(self.load.port))
        begin, going = time.perf_counter(), set[asyncio.Task[None]]()

        async def one(at: float) -> None:
            line = await lines.get()
            await self._one(line, at)
            lines.put_nowait(line)

        for number in range(int(self.load.rate * self.load.seconds)):
            at = begin + number / self.load.rate
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            task = asyncio.create_task(one(at))
            going.add(task)
            task.add_done_callback(going.discard)
        await asyncio.gather(*going)

    async def pings(self) -> None:
        """Ask whether the server is there, until cancelled."""
        line, request = _Line(self.load.port), b"GET /ping HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        while True:
            start = time.perf_counter()
            self.ping_failed += await line.ask(request) != 200
            self.pings_s.append(time.perf_counter() - start)
            await asyncio.sleep(0.1)

    async def _one(self, line: _Line, at: float | None = None) -> None:
        self.begun += 1
        start = time.perf_counter() if at is None else at
        for _ in range(_STORM_TRIES if self.load.storm else 1):
            sent = time.perf_counter()
            status = await line.ask(self.request)
            self.statuses[status] += 1
            if status == 200:
                self.took_s.append(time.perf_counter() - (sent if self.load.storm else start))
            if status not in (0, 503):
                return
            if self.load.storm:
                await asyncio.sleep(_STORM_PAUSE_S)


async def _run(load: Load) -> Seen:
    run = _Run(load, _bytes(load.path, load.headers, Path(load.body).read_bytes()))
    pings = asyncio.create_task(run.pings()) if load.ping else None
    begin = time.perf_counter()
    await (run.open() if load.rate else run.closed())
    took = time.perf_counter() - begin
    if pings is not None:
        pings.cancel()
    p50, p99 = np.percentile(run.took_s, (50, 99)) * 1e3 if run.took_s else (0.0, 0.0)
    statuses = {str(status): count for status, count in sorted(run.statuses.items())}
    ping_ms = max(run.pings_s, default=0.0) * 1e3
    return Seen(len(run.took_s) / took, float(p50), float(p99), statuses, run.begun, ping_ms, run.ping_failed)


def _bytes(path: str, headers: Mapping[str, Any], body: bytes) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode() + body


if __name__ == "__main__":
    import uvloop

    print(json.dumps(asdict(uvloop.run(_run(Load(**json.loads(sys.argv[1])))))))
