"""Images: unpacked and packed size, what is in them by size, and how long a server takes to its first answer.

The serving images are built, of each runtime. Training images are measured if they are there under the names that
``medloom image build train`` gives them. Needs Buildah, Podman, runc and Skopeo, and an image with Python 3.11 and pip
that ``MEDLOOM_TEST_BASE`` names; says so where they are missing. ``MEDLOOM_TEST_BUILD_OPTIONS`` is handed on to the
builder.
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
from medloom.packaging.images.context import ImagePlan

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
write_tiny_bundle = importlib.import_module("support.bundles").write_tiny_bundle

TOOLS = ("buildah", "podman", "runc", "skopeo")
TAGS = {runtime: f"localhost/medloom-serve-{runtime}-measured:1" for runtime in ("onnx", "openvino")}
TRAINING = [f"localhost/{plan.tag}" for plan in (ImagePlan("train", torch="cpu"), ImagePlan("train"))]
GOALS = {"onnx": (330, 120), "openvino": (400, 150)}
FIRST_ANSWER_S = 2.0
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


def build(bundle: Path, base: str, runtime: str) -> None:
    """Build the image around a tiny network."""
    options = [f"--builder-option={one}" for one in os.environ.get("MEDLOOM_TEST_BUILD_OPTIONS", "").split()]
    command = [sys.executable, "-m", "medloom", "image", "build", "serve", str(bundle), "--runtime", runtime]
    command += ["--tag", TAGS[runtime], "--base", base, "--builder", "buildah"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:])


def packed_mb(folder: Path, tag: str) -> float:
    """The layers as a registry holds them."""
    output_of("skopeo", "copy", "-q", f"containers-storage:{tag}", f"oci:{folder / 'oci'}:1")
    blobs = folder / "oci" / "blobs" / "sha256"
    index = json.loads((folder / "oci" / "index.json").read_text())
    manifest = json.loads((blobs / index["manifests"][0]["digest"].partition(":")[2]).read_text())
    return float(sum(layer["size"] for layer in manifest["layers"])) / 1e6


def first_answer(runtime: str) -> tuple[float, float]:
    """Seconds from the start of the server's process to its first answer: on the clock, and of CPU time."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    file = BytesIO()
    tifffile.imwrite(file, np.zeros((40, 30, 3), np.uint8))
    command = [*RUN, "--name", "medloom-measured", TAGS[runtime], "serve", "/opt/medloom/model"]
    command += ["--runtime", runtime, "--port", str(port)]
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


def unpacked_mb(tag: str) -> float:
    """The files of an image."""
    return int(output_of("podman", "image", "inspect", "-f", "{{.Size}}", tag)) / 1e6


def print_contents(tag: str) -> None:
    """The largest packages, and how many there are of each kind in the bill of materials."""
    program = "import sys; print(open(sys.argv[1]).read())"
    ask = [*RUN, "--entrypoint", "python3", tag, "-c", program]
    sizes = json.loads(output_of(*ask, "/opt/medloom/sizes.json"))
    bill = [one["purl"] for one in json.loads(output_of(*ask, "/opt/medloom/sbom.json"))["components"]]
    for name, size in list(sizes.items())[:_ROWS]:
        print(f"  {name:<24}{size / 1e6:>8.1f} MB")
    others = list(sizes.values())[_ROWS:]
    print(f"  {f'{len(others)} other packages':<24}{sum(others) / 1e6:>8.1f} MB")
    print(f"  and {sum(one.startswith('pkg:deb/') for one in bill)} packages of Debian")


def measure_serving(base: str, runtime: str) -> None:
    """Build the image of a runtime, and print what it is like."""
    with tempfile.TemporaryDirectory() as folder:
        build(write_tiny_bundle(Path(folder) / "model.tar.gz", phantom=True), base, runtime)
        packed = packed_mb(Path(folder), TAGS[runtime])
    goals = GOALS[runtime]
    print(f"serving with {runtime}: unpacked {unpacked_mb(TAGS[runtime]):.0f} MB (goal {goals[0]})", end="")
    print(f", packed {packed:.0f} MB (goal {goals[1]})")
    clock, cpu = (min(column) for column in zip(*(first_answer(runtime) for _ in range(STARTS)), strict=True))
    print(f"first answer {clock:.1f} s after the start (goal {FIRST_ANSWER_S}), {cpu:.1f} s of CPU time", end="")
    print(f" (the fastest of {STARTS} starts)")
    print_contents(TAGS[runtime])


def measure_training(tag: str) -> None:
    """Print what a training image is like, if it is there; it takes minutes to build, so that is left to others."""
    if subprocess.run(["podman", "image", "exists", tag], check=False).returncode:
        print(f"{tag}: not measured; build it first, with medloom image build train")
        return
    print(f"{tag}: unpacked {unpacked_mb(tag):.0f} MB")
    began = time.perf_counter()
    output_of(*RUN, "--entrypoint", "python3", tag, "-c", "import medloom.training")
    print(f"ready to train {time.perf_counter() - began:.1f} s after the start")
    print_contents(tag)


def main() -> None:
    """Print the tables."""
    base = os.environ.get("MEDLOOM_TEST_BASE")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or not base:
        print(f"not measured: needs {' '.join(missing) or 'MEDLOOM_TEST_BASE=IMAGE, one with Python 3.11 and pip'}")
        print("install: apt-get install buildah podman runc skopeo")
        return
    print(describe("onnxruntime", "numpy"))
    for runtime in TAGS:
        measure_serving(base, runtime)
    print(f"of each, {unpacked_mb(base):.0f} MB are {base}")
    for tag in TRAINING:
        measure_training(tag)


if __name__ == "__main__":
    main()
