"""Does a server answer others while it is attacked, how soon does it refuse, and what memory does that take?

    python benchmarks/attacks.py [--seconds 5]

Each attack comes from a process of its own, on the same cores; ``/ping`` is asked every 10 ms meanwhile. Memory is the
most that the server took while it was attacked, over what it had before (Linux alone knows that). Goals: answered
within 1 s, at most 32 MiB, and the 99th percentile of ``/ping`` within 100 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gzip
import http.client
import itertools
import json
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import psutil

from inference import momentary_bundle
from machine import describe
from medloom.recipe import load_recipe
from serving import Server, running

HEAD = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
V2 = b"POST /v2/models/brain-mri/infer HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
MIB = bytes(2**20)
SLOW = {"slow headers": b"GET /ping HTTP/1.1\r\nX-Slow: ", "slow bodies": HEAD + b"Content-Length: 100000\r\n\r\n"}
SOCKETS = {"slow headers": 200, "slow bodies": 50}
NOBODY = "nobody"


@functools.cache
def _bodies() -> dict[str, Callable[[], Iterable[bytes]]]:
    bomb = gzip.compress(MIB * 200)
    sized = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    return {
        "500,000 chunks of 1 byte": lambda: [HEAD + CHUNKED, b"1\r\nx\r\n" * 500_000],
        "a length of 4 GiB": lambda: [HEAD + b"Content-Length: 4294967296\r\n\r\n", *[MIB] * 64],
        "chunks without end": lambda: itertools.chain(
            [HEAD + CHUNKED], itertools.repeat(b"%x\r\n" % len(MIB) + MIB + b"\r\n")
        ),
        "a gzip body": lambda: [HEAD + sized, bomb],
        "a gzip bomb under /v2": lambda: [V2 + sized, bomb],
    }


def main() -> None:
    """Print the table, or be the attacker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="for how long an attack is repeated")
    parser.add_argument("--attack", nargs=2, metavar=("PORT", "NAME"), help="attack a server and say what it answered")
    options = parser.parse_args()
    if options.attack:
        _bodies()  # made before the time begins
        print("begun", flush=True)
        print(json.dumps(_attacks(int(options.attack[0]), options.attack[1], options.seconds)))
        return
    print(describe("onnxruntime", "uvicorn"))
    print(f"{'attack':<28}{'answers':>16}{'after s':>9}{'MiB':>7}{'pings':>7}{'p50 ms':>8}{'p99 ms':>8}{'max':>7}")
    with tempfile.TemporaryDirectory() as scratch:
        bundle = momentary_bundle(Path(scratch), load_recipe("brain-mri", ["preprocess.size=[32,32]"]))
        image = Path(scratch) / "image.npy"
        np.save(image, np.full((32, 32, 3), 9, np.uint8))
        command = (sys.executable, "-m", "medloom", "serve", str(bundle), "--port", "{port}", "--log-format", "none")
        server = Server("medloom", command, "/invocations", {"Content-Type": "application/x-npy"}, image)
        with running(server) as (port, process):
            for name in (NOBODY, *_bodies(), *SLOW):
                _row(name, port, process, options.seconds)


def _row(name: str, port: int, process: psutil.Process, seconds: float) -> None:
    with contextlib.suppress(OSError):
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the most is counted anew
    before = _most_mib(process)
    command = [sys.executable, __file__, "--attack", str(port), name, "--seconds", str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as attacker:
        assert attacker.stdout is not None
        attacker.stdout.readline()  # it has begun
        pings = _pings(port, attacker)
        statuses, after_s = json.loads(attacker.stdout.read())
    p50, p99, most = np.percentile(pings, (50, 99, 100)) * 1e3
    said = ", ".join(f"{statuses.count(one)}x {one}" for one in sorted(set(statuses))) or "–"
    print(
        f"{name:<28}{said:>16}{after_s:>9.2f}{_most_mib(process) - before:>7.1f}{len(pings):>7}{p50:>8.1f}{p99:>8.1f}"
        f"{most:>7.1f}",
        flush=True,
    )


def _pings(port: int, attacker: subprocess.Popen[str]) -> list[float]:
    """Ask until the attacker ends; the seconds that each answer took."""
    found = list[float]()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        while attacker.poll() is None:
            start = time.perf_counter()
            connection.request("GET", "/ping")
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise SystemExit(f"/ping answered {answer.status}")
            found.append(time.perf_counter() - start)
            time.sleep(0.01)
    return found


def _attacks(port: int, name: str, seconds: float) -> tuple[list[str], float]:
    """Attack again and again; the statuses, and the longest until one came."""
    if name in SLOW:
        return _drip(port, SLOW[name], SOCKETS[name])
    found, longest_s, begin = list[str](), 0.0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        if name == NOBODY:
            time.sleep(seconds)
            continue
        statuses, after_s = _attack(port, _bodies()[name]())
        found, longest_s = [*found, *statuses], max(longest_s, after_s)
    return found, longest_s


def _attack(port: int, parts: Iterable[bytes]) -> tuple[list[str], float]:
    """Send as long as anything is taken, until something is answered."""
    rest, waiting, answer = iter(parts), memoryview(b""), b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as raw:
        start = time.perf_counter()
        while not answer:
            waiting = waiting or memoryview(next(rest, b""))
            readable, writable, _ = select.select([raw], [raw] if waiting else [], [], 60)
            if readable:
                answer = raw.recv(65536) or b"nothing"
            elif writable:
                waiting = waiting[raw.send(waiting[: len(MIB)]) :]
        return _statuses(answer), time.perf_counter() - start


def _drip(port: int, begin: bytes, count: int) -> tuple[list[str], float]:
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    for one in sockets:
        one.sendall(begin)
        one.setblocking(False)
    start, answers = time.perf_counter(), dict[socket.socket, bytes]()
    while len(answers) < count:
        time.sleep(1)
        for one in set(sockets) - answers.keys():
            try:
                one.send(b"x")
                answers[one] = one.recv(65536)
            except BlockingIOError:
                continue
            except ConnectionError:
                answers[one] = b""
    return [status for answer in answers.values() for status in _statuses(answer)], time.perf_counter() - start


def _statuses(answer: bytes) -> list[str]:
    return [status.decode() for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)] or ["none"]


def _most_mib(process: psutil.Process) -> float:
    """The most resident memory of the server's own process since it was counted anew."""
    status = Path(f"/proc/{process.pid}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else process.memory_info().rss / 2**20


if __name__ == "__main__":
    main()
