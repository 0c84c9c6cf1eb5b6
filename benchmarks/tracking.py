"""What tracking adds to a training: the same run tracked by MLflow and by nobody, in turn.

    python benchmarks/tracking.py [--rounds 5] [--trackers mlflow]

Each training is a process of its own on the same phantom images, prepared once. The time is that of the training alone
(``training.json``), without start-up and without what is sent after the last epoch, and the processor time that of the
whole process, which the tracker's thread is part of.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import describe
from medloom.files import read_json

PHANTOM = ["data.path=null", "data.kaggle=null", "data.phantom.patients=12", "data.phantom.size=96"]
SMALL = ["preprocess.size=[96,96]", "train.epochs=12", "train.device=cpu", "evaluate.bootstrap=20"]
GOAL = 1.02


def main() -> None:
    """Measure and print."""
    options = _options()
    print(describe("torch", "lightning"))
    with tempfile.TemporaryDirectory() as scratch:
        _train(Path(scratch), "first", [])  # makes and prepares the images
        rounds = [
            (_train(Path(scratch), f"without-{turn}", []), _train(Path(scratch), f"with-{turn}", options.trackers))
            for turn in range(options.rounds)
        ]
    for what, index in (("seconds of training", 0), ("processor seconds in all", 1)):
        without, tracked = ([pair[side][index] for pair in rounds] for side in (0, 1))
        ratio = statistics.median(tracked) / statistics.median(without)
        medians = f"without {statistics.median(without):.2f}, with {statistics.median(tracked):.2f}"
        print(f"{what:26} {medians}, ratio {ratio:.3f}")
    print(f"goal: {GOAL} of the seconds of training; trackers {', '.join(options.trackers)}; {options.rounds} rounds")


def _train(scratch: Path, name: str, trackers: list[str]) -> tuple[float, float]:
    """Seconds of the training, and processor seconds of the process."""
    settings = [*PHANTOM, *SMALL, f"tracking=[{','.join(trackers)}]"]
    command = [sys.executable, "-m", "medloom", "run", "brain-mri-small", "--run", name, "--runs", str(scratch)]
    before = _children_s()
    subprocess.run(
        [*command, *(part for setting in settings for part in ("--set", setting))],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(read_json(scratch / name / "training.json")["seconds"]), _children_s() - before


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trackers", nargs="+", default=["mlflow"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
