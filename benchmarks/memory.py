"""Peak memory of training against the size of the pixel store.

    python benchmarks/memory.py [--megabytes 400]

A training in a process of its own, once on a few images and once on a store of the given size; what the second
takes more is what the store costs. A narrow network keeps it short. Pages of the memory-mapped store count,
although the kernel takes them back when it needs them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

MB = 2**20
FEW = 24


def main() -> None:
    """Measure and print; the child process does the training."""
    options = _options()
    if options.child:
        print(_peak_of_training(Path(options.child), options.count))
        return
    from machine import describe

    bytes_per_image = options.size**2 * 4  # three channels and the mask
    many = options.megabytes * MB // bytes_per_image
    small, large = (_measure(count, options.size) for count in (FEW, many))
    store = (many - FEW) * bytes_per_image
    print(describe("torch", "lightning"))
    print(f"peak with {FEW} images      {small / MB:8.0f} MB")
    print(f"peak with {many} images    {large / MB:8.0f} MB")
    print(f"store                    {store / MB:8.0f} MB")
    print(f"more memory / store      {(large - small) / store:8.2f}")


def _measure(count: int, size: int) -> int:
    """Peak memory in bytes of a process that trains."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, __file__, "--child", scratch, "--count", str(count), "--size", str(size)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _peak_of_training(scratch: Path, count: int) -> int:
    import pandas as pd

    from medloom.files import read_json
    from medloom.recipe import load_recipe
    from medloom.training import train
    from throughput import noise_store

    plain = load_recipe("brain-mri-small").plain()
    plain["preprocess"]["size"] = [_options().size] * 2
    plain["model"] = {"name": "unet", "args": {"channels": [4, 8], "num_res_units": 0}}
    plain["train"] |= {"epochs": 1, "device": "cpu", "batch_size": 16}
    recipe = load_recipe("brain-mri-small").model_validate(plain)
    store = noise_store(scratch, recipe, count)
    split = ["validation" if row % 8 == 0 else "train" for row in range(count)]
    catalogue = pd.DataFrame({"sample_id": store.sample_ids, "split": split, "sha256": ""})
    train(recipe, catalogue, store, scratch / "run")
    return int(read_json(scratch / "run" / "training.json")["peak_rss_bytes"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
