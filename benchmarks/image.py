"""The serving image: unpacked and packed size, what is in it by size, and how long it takes to its first answer.

Needs Buildah, Podman, runc and Skopeo, and an image with Python 3.11 and pip that ``MEDLOOM_TEST_BASE`` names; says so
where they are missing. ``MEDLOOM_TEST_BUILD_OPTIONS`` is handed on to the builder.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from io import BytesIO
from pathlib import Path

import numpy as np
import tifffile

from machine import describe

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
write_tiny_bundle = importlib.import_module("support.bundles").write_tiny_bundle

TOOLS = ("buildah", "podman", "runc", "skopeo")
TAG = "localhost/medloom-serve-measured:1"
GOALS = {"unpacked": 330, "packed": 120, "first answer": 2.0}
RUN = [
    "podman", "--runtime", "runc", "run", "--rm", "--network", "host", "--no-healthcheck", "--pull=never",
    "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000",
    "--read-only", "--tmpfs", "/tmp", "--cap-drop", "all",
]  # fmt: skip
_ROWS = 15
STARTS = 5


def output_of(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def build(folder: Path, base: str) -> None:
    """Build the image around a tiny network."""
    bundle = write_tiny_bundle(folder / "model.tar.gz", phantom=True)
    options = [f"--builder-option={one}" for one in os.environ.get("MEDLOOM_TEST_BUILD_OPTIONS", "").split()]
    command = [sys.executable, "-m", "medloom", "image", "build", "serve", str(bundle), "--tag", TAG, "--base", base]
    done = subprocess.run([*command, "--builder", "buildah", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:])


def packed_mb(folder: Path) -> float:
    """The layers as a registry holds them."""
    output_of("skopeo", "copy", "-q", f"containers-storage:{TAG}", f"oci:{folder / 'oci'}:1")
    blobs = folder / "oci" / "blobs" / "sha256"
    index = json.loads((folder / "oci" / "index.json").read_text())
    manifest = json.loads((blobs / index["manifests"][0]["digest"].partition(":")[2]).read_text())
    return float(sum(layer["size"] for layer in manifest["layers"])) / 1e6


def first_answer() -> tuple[float, float]:
    """Seconds from the start of the server's process to its first answer: on the clock, and of CPU time."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    file = BytesIO()
    tifffile.imwrite(file, np.zeros((40, 30, 3), np.uint8))
    command = [*RUN, "--name", "medloom-measured", TAG, "serve", "/opt/medloom/model", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", file.getvalue(), {"Content-Type": "image/tiff"}
        )
        while process.poll() is None:
            try:
                urllib.request.urlopen(request, timeout=60).close()
                break
            except urllib.error.URLError:
                time.sleep(0.02)
        pid = int(output_of("podman", "inspect", "-f", "{{.State.Pid}}", "medloom-measured"))
        return time.clock_gettime(time.CLOCK_BOOTTIME) - _began(pid), _cpu_s(pid)
    finally:
        subprocess.run(["podman", "kill", "medloom-measured"], capture_output=True, check=False)
        process.wait()


def _fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _began(pid: int) -> float:
    return int(_fields(pid)[19]) / os.sysconf("SC_CLK_TCK")


def _cpu_s(pid: int) -> float:
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    children = [child for thread in threads for child in thread.read_text().split()]
    own = sum(map(int, _fields(pid)[11:15])) / os.sysconf("SC_CLK_TCK")
    return own + sum(_cpu_s(int(child)) for child in children)


def main() -> None:
    """Print the table."""
    base = os.environ.get("MEDLOOM_TEST_BASE")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or not base:
        print(f"not measured: needs {' '.join(missing) or 'MEDLOOM_TEST_BASE=IMAGE, one with Python 3.11 and pip'}")
        print("install: apt-get install buildah podman runc skopeo")
        return
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), base)
        packed = packed_mb(Path(folder))
    unpacked = int(output_of("podman", "image", "inspect", "-f", "{{.Size}}", TAG)) / 1e6
    program = "print(open('/opt/medloom/sizes.json').read())"
    sizes = json.loads(output_of(*RUN, "--entrypoint", "python3", TAG, "-c", program))
    print(describe("onnxruntime", "numpy"))
    print(f"unpacked {unpacked:.0f} MB (goal {GOALS['unpacked']}), packed {packed:.0f} MB (goal {GOALS['packed']})")
    clock, cpu = (min(column) for column in zip(*(first_answer() for _ in range(STARTS)), strict=True))
    print(f"first answer {clock:.1f} s after the start (goal {GOALS['first answer']}), {cpu:.1f} s of CPU time")
    print(f"(the fastest of {STARTS} starts)")
    for name, size in list(sizes.items())[:_ROWS]:
        print(f"  {name:<24}{size / 1e6:>8.1f} MB")


if __name__ == "__main__":
    main()
