"""Bulk prediction: images a second against the network alone, and a listing of very many files.

    python benchmarks/batch.py                                      a U-Net on TIFFs, a ResNet-18 on JPEGs, the listing
    python benchmarks/batch.py model.tar.gz --images FOLDER         a bundle of yours, on images of yours
    python benchmarks/batch.py --files 1000000                      a listing of a million; 0 without

The limit is the same runtime on batches that lie in memory ready for it, with all cores, in the best of several ways:
batches of 4 to 64 images, one call at a time with all threads or as many calls at a time as a batch makes. Limit and
batch take turns; ratios are of neighbours, and what is printed are medians. A batch is timed from its first piece,
after decoders have started, to the last one at which as many others are under way, so that no work is counted that was
done before; the time of all of it, with start and table, is printed beside. So is the ratio of processor time
meanwhile, decoders included, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import tifffile
from PIL import Image

from inference import discs, momentary_bundle
from machine import describe
from medloom.inference.inputs import open_images, opened
from medloom.packaging import read_bundle
from medloom.recipe import load_recipe
from medloom.serving.batch import Batch, Listing, run_batch
from medloom.serving.batch.rounds import shared_out

BATCH_SIZE = 16
SIZES = (4, 8, 16, 32, 64)
GOAL = 0.95
SEARCHED = 64
MEMORY = Path("/dev/shm")


def main() -> None:
    options = _options()
    print(describe("onnxruntime", "numpy"))
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        for what, bundle, images in _cases(scratch, options):
            _compare(what, bundle, images, scratch / "out", options.rounds)
        if options.files:
            _list(scratch, options.files)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("--images", type=Path, help="folder or zip of images for the bundle")
    parser.add_argument("--count", type=int, default=256, help="images of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=200_000, help="files of the listing; 0 lists none")
    return parser.parse_args()


def _cases(scratch, options):
    if options.bundle:
        yield options.bundle.name, options.bundle, options.images
        return
    for name in ("unet", "resnet"):
        (scratch / name).mkdir()
    yield "U-Net, 256x256 TIFF", momentary_bundle(scratch / "unet"), _tiffs(scratch / "tiffs", options.count)
    yield (
        "ResNet-18, JPEG",
        momentary_bundle(scratch / "resnet", load_recipe("chest-xray")),
        _jpegs(scratch / "jpegs", options.count),
    )


def _tiffs(folder, count):
    folder.mkdir()
    pixels, _ = discs(count, 3, (256, 256), seed=3)
    for number, image in enumerate(pixels):
        tifffile.imwrite(folder / f"{number:05d}.tif", np.moveaxis(image, 0, -1), photometric="rgb")
    return folder


def _jpegs(folder, count):
    folder.mkdir()
    pixels, _ = discs(count, 1, (480, 640), seed=4)
    for number, image in enumerate(pixels):
        Image.fromarray(image[0]).save(folder / f"{number:05d}.jpg", quality=92)
    return folder


def _compare(what, bundle, images, out, rounds):
    calls, each = shared_out("onnx", None, None)
    with read_bundle(bundle) as opened_bundle:
        whole, shared = (opened_bundle.predictor(threads=threads) for threads in (None, each))
    ready = _ready(shared, images)
    ways = [(run, number, size) for run, number in ((whole, 1), (shared, calls)) for size in SIZES]
    best = max(ways, key=lambda way: _limit(way, ready[:SEARCHED])[0])
    rates = []
    for _ in range(rounds):
        (limit, limit_cpu_s), (steady, overall, cpu_s) = _limit(best, ready), _batch(shared, images, out, calls)
        rates.append((steady / limit, steady, limit, overall, limit_cpu_s / cpu_s))
    ratio, steady, limit, overall, of_cpu = (statistics.median(one) for one in zip(*rates, strict=True))
    spread = f"{min(one[0] for one in rates):.3f} to {max(one[0] for one in rates):.3f}"
    way = f"{best[2]} images a call, {best[1]} at a time"
    print(
        f"{what}: batch {steady:.1f} images/s ({overall:.1f} with start and table), network alone {limit:.1f} ({way}); "
        f"ratio {ratio:.3f} ({spread}; goal {GOAL}), of processor time {of_cpu:.3f}"
    )


def _ready(predictor, images):
    with open_images([images], ["*_mask.*"]) as files:
        return np.stack([predictor.prepare(one.read()).network_input for one in files])


def _limit(way, ready):
    """Images a second of the runtime with all views, on batches in memory; and processor seconds an image."""
    predictor, calls, size = way
    pieces = [ready[start : start + size] for start in range(0, len(ready), size)]
    with ThreadPoolExecutor(calls) as threads:
        begin, cpu_s = time.perf_counter(), _cpu_s()
        for _ in threads.map(predictor.run, pieces):
            pass
        return len(ready) / (time.perf_counter() - begin), (_cpu_s() - cpu_s) / len(ready)


def _cpu_s():
    """Of this process and those that it has started, of which none ends while it counts."""
    own = psutil.Process()
    times = [one.cpu_times() for one in (own, *own.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def _batch(predictor, images, out, calls):
    """Images a second of a batch, from the first piece to the last and of all of it; processor seconds an image."""
    seen = []

    def entries():
        with opened([images], ["*_mask.*"]) as listed:
            yield from ((entry, {}) for entry in listed())

    made = run_batch(
        predictor,
        Listing(entries),
        out,
        Batch(batch_size=BATCH_SIZE, calls=calls),
        {},
        overwrite=True,
        watch=lambda pace: seen.append((time.perf_counter(), _cpu_s(), pace.done)),
    )
    (first_s, first_cpu_s, first), *later = seen
    under_way = BATCH_SIZE * (calls + 1)
    last_s, last_cpu_s, last = max(one for one in later if one[2] <= made.done - under_way)
    done = last - first
    return done / (last_s - first_s), made.done / made.seconds, (last_cpu_s - first_cpu_s) / done


_LISTING = """
import sys, time
from pathlib import Path
from medloom.inference.inputs import opened
from medloom.packaging import read_bundle
from medloom.serving.batch import Batch, Listing, run_batch
from medloom.serving.batch.small import inputs_of

folder, bundle, out = map(Path, sys.argv[1:])
def memory(what="VmHWM:"):
    return int(Path("/proc/self/status").read_text().partition(what)[2].split()[0]) / 2**10
def entries():
    with opened([folder]) as images:
        yield from ((image, {}) for image in images())

with read_bundle(bundle) as read:
    predictor = read.predictor(threads=1)
Path("/proc/self/clear_refs").write_text("5")  # what loading took for a moment is no matter here
before, begin, seen = memory(), time.perf_counter(), []
run_batch(predictor, Listing(entries), out, Batch(), {}, is_wanted=lambda: len(seen) < 2, watch=seen.append)
result_s = time.perf_counter() - begin
print(f"{result_s:.2f} s to the first results, with the start of decoders;", end=" ")
begin, cpu_s = time.perf_counter(), time.process_time()
inputs = inputs_of(entries(), named=True)
next(inputs)
first_s, first_cpu_s, count = time.perf_counter() - begin, time.process_time() - cpu_s, 1 + sum(1 for _ in inputs)
all_s, all_cpu_s = time.perf_counter() - begin, time.process_time() - cpu_s
print(f"listing {first_s:.2f} s to the first ({first_cpu_s:.2f} of the processor),", end=" ")
print(f"{all_s:.1f} s for all ({all_cpu_s:.1f}), {count / all_s:,.0f} files/s;", end=" ")
print(f"resident memory {before:.0f} MiB, and {memory() - before:.0f} more at most")
"""


def _list(scratch, count):
    """List empty files, in folders of a thousand and in one, in processes of their own, as a batch does."""
    bundle = momentary_bundle(_made(scratch / "bundle"), load_recipe("chest-xray"))
    for what, each in (("folders of 1,000", 1000), ("one folder", count)):
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
            for number in range(count):
                inside = f"{name}/{number // each:06d}"
                if number % each == 0:
                    Path(inside).mkdir()
                os.close(os.open(f"{inside}/image-{number:07d}.png", os.O_WRONLY | os.O_CREAT))
            command = [sys.executable, "-c", _LISTING, name, str(bundle), str(scratch / what.replace(" ", "-"))]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        print(f"{count:,} files in {what}, named and with size and time: {said}")


def _made(folder):
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
