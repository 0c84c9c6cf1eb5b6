"""Run every benchmark in its own process and print one report.

``python benchmarks/run_all.py [NAME...]`` runs all, or those named. A benchmark that fails is reported and the
rest go on; the exit code is then 1.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent

BENCHMARKS = {
    "startup": "The command line answers",
    "decode": "Decoding alone",
    "prepare": "Preparation against the fastest decoder",
    "jpeg": "Preparation of JPEG against the fastest decoder",
    "dicom": "DICOM beside pydicom alone",
    "survey": "A recipe from a folder of 100,000 files",
    "augmentation": "Augmentation beside MONAI, TorchIO and albumentations",
    "throughput": "Training against one batch in memory",
    "monai_baseline": "The same work the usual way",
    "tracking": "What tracking adds to a training",
    "tuning": "Trials an hour beside a plain Optuna loop",
    "diagnosis": "What diagnosis adds to a training",
    "memory": "Peak memory of training",
    "profiling": "What the account of a training's time costs",
    "inference": "Runtimes beside each other",
    "runtimes": "Runtimes and precisions: speed, memory and agreement",
    "batch": "Bulk prediction against the network alone, and a listing of very many files",
    "serving": "The server beside its network alone and beside others",
    "attacks": "What the server answers while it is attacked",
    "image": "Container images: size, contents, first answer",
    "soak": "What the server holds on to after many requests",
}


def main() -> int:
    """Run the benchmarks and return the exit code."""
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    failed = [name for name in names if not run(name)]
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return 1 if failed else 0


def run(name: str) -> bool:
    """Run one benchmark; its output goes straight through."""
    print(f"\n== {BENCHMARKS[name]} ({name}.py)", flush=True)
    begin = time.perf_counter()
    code = subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=False).returncode
    print(f"-- {time.perf_counter() - begin:.0f} s" + (f", exit code {code}" if code else ""), flush=True)
    return code == 0


if __name__ == "__main__":
    sys.exit(main())
