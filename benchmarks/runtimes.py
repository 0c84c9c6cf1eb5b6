"""Runtimes and precisions side by side: the brain U-Net and a ResNet-18, each candidate in a process of its own.

    python benchmarks/runtimes.py [--rounds 5] [--threads 2] [--only resnet-18] [--size 128]

For each: seconds to load with the runtime's library, memory that this and the answers took, milliseconds of processor
time and images a second at batches of 1, 8 and 32 (medians over rounds), and how far its answers are from those of
torch in float32 on the same images: the Dice coefficient of masks, or the share of equal decisions, and the largest
difference in probability. A precision that a runtime cannot execute here is named with the reason. The networks have
learned for a moment from made-up images, so their answers lie close to the threshold, and agree less than those of
trained ones.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BATCHES = (1, 8, 32)
CANDIDATES = (
    ("torch", "fp32"),
    ("torch", "bf16"),
    ("onnx", "fp32"),
    ("onnx", "fp16"),
    ("onnx", "bf16"),
    ("onnx", "int8"),
    ("openvino", "fp32"),
    ("openvino", "fp16"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
)
IN_GRAPH = {("onnx", "fp16"), ("onnx", "bf16"), ("onnx", "int8"), ("openvino", "int8")}
NETWORKS = ("brain U-Net", "resnet-18")
MB = 2**20


def main() -> None:
    """Measure and print; child processes do the work."""
    options = _options()
    if options.child:
        print(json.dumps(_measure(Path(options.child), options.which, options.threads, options.rounds)))
        return
    from machine import describe

    print(describe("torch", "onnxruntime", "openvino"), f"; {options.threads} threads a process")
    for name in NETWORKS:
        if options.only in (None, name):
            with tempfile.TemporaryDirectory() as scratch:
                _prepare(Path(scratch), name, options.size)
                _compare(Path(scratch), name, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--size", type=int, default=None, help="height and width of the U-Net's images")
    parser.add_argument("--only", choices=NETWORKS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--which", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def _prepare(folder: Path, name: str, size: int | None) -> None:
    """A bundle of the network, and images; in a process that also knows torch, so not in those that are measured."""
    from inference import discs, momentary_bundle
    from medloom.packaging import read_bundle
    from medloom.recipe import load_recipe

    settings = [f"preprocess.size=[{size},{size}]"] if size and name == NETWORKS[0] else []
    recipe = load_recipe("brain-mri" if name == NETWORKS[0] else "chest-xray", settings)
    path = momentary_bundle(folder, recipe)
    with read_bundle(path) as bundle:
        shutil.copytree(bundle.folder, folder / "bundle")
        preprocess, channels = bundle.predictor().preprocess, len(bundle.manifest.channels)
    pixels, _ = discs(max(BATCHES), channels, preprocess.size, seed=7)
    images = np.stack([preprocess(np.moveaxis(one, 0, -1)) for one in pixels])
    np.save(folder / "images.npy", images)


def _compare(folder: Path, name: str, options: argparse.Namespace) -> None:
    print(f"\n{name}, {'×'.join(map(str, np.load(folder / 'images.npy', mmap_mode='r').shape[1:]))}")
    columns = "".join(f"{f'cpu ms/img {batch}':>15}{'img/s':>8}" for batch in BATCHES)
    print(f"{'runtime':<15}{'load s':>8}{'MB':>6}{columns}{'x torch':>9}{'agree':>8}{'max |dp|':>10}")
    base: dict | None = None
    for runtime, precision in CANDIDATES:
        command = [sys.executable, __file__, "--child", str(folder), "--which", runtime, precision]
        command += ["--threads", str(options.threads), "--rounds", str(options.rounds)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=_environment(options.threads))
        found = json.loads(done.stdout.splitlines()[-1])
        if "refused" in found:
            print(f"{f'{runtime} {precision}':<15}{found['refused']}")
            continue
        base = base or found
        print(_line(f"{runtime} {precision}", found, base, folder))


def _line(name: str, found: dict, base: dict, folder: Path) -> str:
    each = "".join(f"{found['cpu_ms'][str(b)]:>15.2f}{1e3 / found['wall_ms'][str(b)]:>8.1f}" for b in BATCHES)
    faster = base["cpu_ms"][str(BATCHES[-1])] / found["cpu_ms"][str(BATCHES[-1])]
    expected, answers = (np.load(folder / one["answers"]) for one in (base, found))
    agree, apart = _agreement(expected, answers), float(np.abs(expected - answers).max())
    text = (
        f"{name:<15}{found['load_s']:>8.2f}{found['bytes'] / MB:>6.0f}{each}{faster:>9.2f}{agree:>8.4f}{apart:>10.1e}"
    )
    return text + (f"  {found['computed']}" if found["computed"] else "")


def _agreement(expected: np.ndarray, found: np.ndarray) -> float:
    """Dice of masks over all images, or the share of equal decisions."""
    one, two = ((answers[:, -1] >= 0.5) for answers in (expected, found))
    if expected.ndim == 2:
        return float((one == two).mean())
    return float(2.0 * (one & two).sum() / max(1, one.sum() + two.sum()))


def _environment(threads: int) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": str(threads)}


def _measure(folder: Path, which: tuple[str, str], threads: int, rounds: int) -> dict:
    """Load and run one candidate; nothing but what it needs is imported."""
    runtime, precision = which
    from medloom.errors import UserError
    from medloom.inference import build_runtime, needs_weights
    from medloom.packaging.bundle import GRAPH, MANIFEST, WEIGHTS
    from medloom.packaging.manifest import Manifest

    images = np.load(folder / "images.npy")
    network = Manifest.parse((folder / "bundle" / MANIFEST).read_bytes()).network()
    graph = folder / "bundle" / GRAPH
    computed = ""
    try:
        if precision != "fp32":
            graph, computed = _reduced(folder, graph, runtime, precision, images, network)
        before, begun = _memory_bytes(), time.perf_counter()
        path = folder / "bundle" / WEIGHTS if needs_weights(runtime) else graph
        loaded = build_runtime(runtime, path, threads=threads, network=network, precision=precision)
        load_s = time.perf_counter() - begun
    except UserError as error:
        return {"refused": str(error)}
    cpu_ms, wall_ms = {}, {}
    for batch in BATCHES:
        cpu_ms[str(batch)], wall_ms[str(batch)] = _times(loaded, images[:batch], rounds)
    answers = f"{runtime}-{precision}.npy"
    np.save(folder / answers, loaded.run(images))
    memory = {"bytes": _memory_bytes() - before, "load_s": load_s, "computed": computed}
    return {**memory, "cpu_ms": cpu_ms, "wall_ms": wall_ms, "answers": answers}


def _reduced(folder: Path, graph: Path, runtime: str, precision: str, images: np.ndarray, network) -> tuple[Path, str]:
    """The graph in fewer bits and how it is computed; made by another process, so that it costs no memory here."""
    made = folder / f"{runtime}-{precision}.onnx"
    program = (
        "import sys, shutil, pathlib, numpy as np\n"
        "from medloom.errors import MedloomError\n"
        "from medloom.inference import build_runtime\n"
        "from medloom.packaging.precision import computed_text, reduce_graph\n"
        "source, made, runtime, precision, in_graph = sys.argv[1:]\n"
        "images = np.load(pathlib.Path(made).parent / 'images.npy')\n"
        "made = pathlib.Path(shutil.copyfile(source, made))\n"
        "try:\n"
        "    if in_graph == 'True':\n"
        "        reduce_graph(made, precision, images=images)\n"
        "    if runtime != 'torch':\n"
        "        print(computed_text(build_runtime(runtime, made, precision=precision), made, precision))\n"
        "except MedloomError as error:\n"
        "    sys.exit(str(error))\n"
    )
    command = [sys.executable, "-c", program, str(graph), str(made), runtime, precision]
    done = subprocess.run(
        [*command, str((runtime, precision) in IN_GRAPH)], check=False, capture_output=True, text=True
    )
    if done.returncode:
        from medloom.errors import UserError

        raise UserError(done.stderr.strip().splitlines()[-1])
    return made, done.stdout.strip()


def _times(runtime, images: np.ndarray, rounds: int) -> tuple[float, float]:
    """Milliseconds of processor time and of the clock for an image; medians."""
    runtime.run(images)
    processor, clock = list[float](), list[float]()
    for _ in range(rounds):
        begun, began = time.process_time(), time.perf_counter()
        runtime.run(images)
        processor.append(time.process_time() - begun)
        clock.append(time.perf_counter() - began)
    return tuple(statistics.median(one) * 1e3 / len(images) for one in (processor, clock))  # type: ignore[return-value]


def _memory_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


if __name__ == "__main__":
    main()
