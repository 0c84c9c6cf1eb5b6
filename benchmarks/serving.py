"""The server on loopback beside its network alone, a plain FastAPI server and LitServe, under every kind of load.

    python benchmarks/serving.py [--seconds 6] [--rounds 3] [--only ResNet-18]

All servers have the same bundle; the load comes from another process on the same cores. The limit is the network alone
at the batch that is fastest here, one image at a time for a single client. Figures are medians of rounds in which the
servers take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image

import medloom
from inference import discs, momentary_bundle
from load import Load, Seen, measure
from machine import describe
from medloom.inference import Predictor
from medloom.recipe import load_recipe

HERE = Path(__file__).parent
CLIENTS = (1, 8, 32)
SIZES = (1, 2, 4, 8, 16)
BOUNDARY = "medloom-benchmark"
_SEVERAL = 3
SETTLED_S = 3.0
"""After its first answer a server is left alone for so long: ours measures its network then."""
RECIPES = {"brain U-Net": "brain-mri", "ResNet-18": "chest-xray"}


@dataclass(frozen=True)
class Server:
    """One of the servers.

    Args:
        name: For the table.
        command: Starts it; ``{port}`` is where.
        path: What is asked.
        headers: Of a request.
        body: File that is sent.
    """

    name: str
    command: tuple[str, ...]
    path: str
    headers: dict[str, str]
    body: Path

    def load(self, port: int, seconds: float, **more: object) -> Load:
        """Return a load on it."""
        return Load(port, self.path, self.headers, str(self.body), seconds, **more)  # type: ignore[arg-type] # its fields


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=list(RECIPES))
    options = parser.parse_args()
    print(describe("onnxruntime", "uvicorn", "fastapi", "litserve"))
    with tempfile.TemporaryDirectory() as scratch:
        for name in (options.only,) if options.only else RECIPES:
            folder = Path(scratch) / name
            folder.mkdir()
            bundle = momentary_bundle(folder, load_recipe(RECIPES[name], ["evaluate.views=1"]))
            _report(name, bundle, folder, options.seconds, options.rounds)


def _report(name: str, bundle: Path, folder: Path, seconds: float, rounds: int) -> None:
    servers = _servers(bundle, folder)
    limits = _limits(bundle)
    best = max(limits.values())
    print(f"\n{name}: the network alone, images/s by batch: " + ", ".join(f"{k}: {v:.1f}" for k, v in limits.items()))
    print(f"{'server':<10}{'clients':>8}{'1/s':>8}{'of limit':>10}{'p50 ms':>9}{'p99 ms':>9}{'p99/ideal':>11}{'MB':>7}")
    for clients in CLIENTS:
        found: dict[str, list[tuple[Seen, float]]] = {server.name: [] for server in servers}
        for _ in range(rounds):
            for server in servers:
                with running(server) as (port, process):
                    time.sleep(SETTLED_S)
                    measure(server.load(port, 1.0, clients=clients))
                    seen = measure(server.load(port, seconds, clients=clients))
                    found[server.name].append((seen, _resident_mb(process)))
        limit = limits["1"] if clients == 1 else best
        for server in servers:
            _row(server.name, clients, limit, found[server.name])
    _overload(servers[0], seconds)
    print(f"cold start to the first answer: {statistics.median(_cold_start_s(servers[0]) for _ in range(5)):.2f} s")


def _row(name: str, clients: int, limit: float, rounds: list[tuple[Seen, float]]) -> None:
    per_s, p50, p99 = (
        statistics.median(getattr(seen, key) for seen, _ in rounds) for key in ("per_s", "p50_ms", "p99_ms")
    )
    memory = statistics.median(mb for _, mb in rounds)
    ideal_ms = clients / limit * 1e3
    wrong = sum(count for seen, _ in rounds for status, count in seen.statuses.items() if status != "200")
    print(
        f"{name:<10}{clients:>8}{per_s:>8.1f}{per_s / limit:>10.3f}{p50:>9.1f}{p99:>9.1f}{p99 / ideal_ms:>11.2f}"
        f"{memory:>7.0f}" + (f"  {wrong} not answered" if wrong else "")
    )


def _overload(server: Server, seconds: float) -> None:
    """Ten times what it can do, from clients that try again at once; then the peak once more."""
    with running(server) as (port, _):
        time.sleep(SETTLED_S)
        measure(server.load(port, 1.0, clients=8))
        peak = measure(server.load(port, seconds, clients=32))
        storm = measure(server.load(port, seconds, rate=10 * peak.per_s, ping=True))
        tries = measure(server.load(port, seconds, clients=320, storm=True, ping=True))
        after = measure(server.load(port, 2.0, clients=32))
    for name, seen in (("10 x capacity", storm), ("retry storm", tries), ("2 s after", after)):
        share, slower = seen.per_s / peak.per_s, seen.p99_ms / peak.p99_ms
        print(
            f"{name:<14} answered {share:.3f} of the peak, p99 {slower:.2f} of its, statuses {seen.statuses}, "
            f"/ping {seen.ping_ms:.0f} ms at most, {seen.ping_failed} failed"
        )


def _limits(bundle: Path) -> dict[str, float]:
    """Images a second of the network alone on the image that is sent, by the size of the batch; and two at a time."""
    predictor = medloom.load(bundle)
    image = predictor.prepare(_image()).network_input
    found = {}
    for size, streams in (*((size, 1) for size in SIZES), (1, 2)):
        batch = np.stack([image] * size)
        with ThreadPoolExecutor(streams) as threads:
            rounds, begin = list[float](), time.perf_counter()
            while len(rounds) < 5 or time.perf_counter() - begin < 2.0:
                start = time.perf_counter()
                for done in [threads.submit(_several, predictor, batch) for _ in range(streams)]:
                    done.result()
                rounds.append(time.perf_counter() - start)
        found[f"{size}" if streams == 1 else f"{size} in {streams} threads"] = (
            size * streams * _SEVERAL / statistics.median(rounds)
        )
    return found


def _several(predictor: Predictor, batch: NDArray[np.float32]) -> None:
    for _ in range(_SEVERAL):
        predictor.run(batch)


def _image() -> bytes:
    pixels, _ = discs(1, 3, (256, 256), seed=1)
    buffer = io.BytesIO()
    Image.fromarray(np.moveaxis(pixels[0], 0, -1)).save(buffer, "png")
    return buffer.getvalue()


def _servers(bundle: Path, folder: Path) -> list[Server]:
    image, form = folder / "image.png", folder / "image.form"
    image.write_bytes(_image())
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'
    form.write_bytes(
        f"{head}Content-Type: image/png\r\n\r\n".encode() + image.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()
    )
    plain = {"Content-Type": "image/png"}
    peer = (sys.executable, str(HERE / "serving_peers.py"))
    return [
        Server(
            "medloom",
            (sys.executable, "-m", "medloom", "serve", str(bundle), "--port", "{port}"),
            "/invocations",
            plain,
            image,
        ),
        Server("fastapi", (*peer, "fastapi", str(bundle), "{port}"), "/predict", plain, image),
        Server(
            "litserve",
            (*peer, "litserve", str(bundle), "{port}"),
            "/predict",
            {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
            form,
        ),
    ]


@contextlib.contextmanager
def running(server: Server) -> Iterator[tuple[int, psutil.Process]]:
    """Start it, wait until it answers, and end it with all its processes."""
    port = _free_port()
    command = [part.format(port=port) for part in server.command]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        _until_answered(server, port, process)
        yield port, psutil.Process(process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _until_answered(server: Server, port: int, process: subprocess.Popen[bytes]) -> None:
    """Ask for a prediction until there is one."""
    while process.poll() is None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{server.path}", server.body.read_bytes(), server.headers
        )
        try:
            with urllib.request.urlopen(request, timeout=60):
                return
        except urllib.error.HTTPError as refused:
            raise SystemExit(f"{server.name} answers {refused.code}: {refused.read()[:300]!r}") from refused
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.01)
    raise SystemExit(f"{server.name} ended before it answered")


def _cold_start_s(server: Server) -> float:
    start = time.perf_counter()
    with running(server):
        return time.perf_counter() - start


def _resident_mb(process: psutil.Process) -> float:
    """Resident memory of a server with all its processes; pages that they share count in each."""
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 2**20


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    main()
