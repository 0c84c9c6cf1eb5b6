"""Rounds on real processes, which are killed and hang: the result is that of undisturbed ones, to the bit."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medloom.rounds.coordinator import Account, Coordinator, RoundError, Rules
from medloom.rounds.mean import mean_of
from medloom.rounds.processes import Processes
from medloom.rounds.store import FolderStore
from support.round_workers import RATE, gradient, make_compute, manifest_of, samples

ROUNDS = 100
INPUTS, TRUTH = samples()


def batch_of(number: int) -> list[int]:
    return np.random.default_rng(number).permutation(len(TRUTH))[: 7 + number % 5].tolist()


def descend(folder: Path, seed: int | None, account: Account) -> np.ndarray:
    """Weights after a hundred rounds on three processes."""
    store, weights = FolderStore(folder / "store"), {"w": np.zeros(5)}
    (folder / "marks").mkdir(parents=True)
    with Processes(3, store, make_compute, (seed,)) as workers:
        coordinator = Coordinator(store, workers, Rules(lease_s=300.0 if seed is None else 2.0), account)
        for number in range(ROUNDS):
            marks = {"marks": str(folder / "marks")}
            manifest = manifest_of(weights, batch_of(number), 3, number, **marks)
            weights = {"w": weights["w"] - RATE * mean_of(coordinator.run(manifest, weights).parts)["w"]}
    return weights["w"]


def test_a_hundred_rounds_with_kills_hangs_and_faults_end_with_the_same_weights(tmp_path):
    calm, wild = Account(), Account()
    expected = descend(tmp_path / "calm", None, calm)
    found = descend(tmp_path / "wild", 4, wild)
    np.testing.assert_array_equal(found, expected, strict=True)
    assert (calm.rounds, calm.orders, calm.again) == (ROUNDS, 3 * ROUNDS, 0)
    faults = len(list((tmp_path / "wild" / "marks").iterdir()))
    assert wild.rounds == ROUNDS
    assert wild.again >= faults > 20  # on a busy machine more may be late than those that hang
    whole = np.zeros(5)
    for number in range(ROUNDS):
        rows = batch_of(number)
        whole -= RATE * gradient(whole, INPUTS[rows], TRUTH[rows])
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-12)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_cannot_begin_fails_the_round_and_says_how_it_ended(tmp_path):
    store, weights = FolderStore(tmp_path), {"w": np.zeros(5)}
    with Processes(2, store, die) as workers, pytest.raises(RoundError, match=r"killed by signal 9"):
        Coordinator(store, workers, Rules()).run(manifest_of(weights, [0, 1, 2], 2), weights)


def test_no_process_is_left_when_it_is_closed(tmp_path):
    with Processes(2, FolderStore(tmp_path), make_compute) as workers:
        workers.start()
        processes = [worker.process for worker in workers._workers]
    assert len(processes) == 2
    assert [process.is_alive() for process in processes] == [False, False]


ALONE = """
import os, sys
from pathlib import Path
from medloom.rounds.processes import Processes
from medloom.rounds.store import FolderStore
from support.round_workers import make_compute

if __name__ == "__main__":
    workers = Processes(2, FolderStore(Path(sys.argv[1])), make_compute)
    workers.start()
    print(*(worker.process.pid for worker in workers._workers), flush=True)
    sys.stdin.read()
"""


def test_workers_end_when_the_coordinator_is_killed(tmp_path):
    script = tmp_path / "alone.py"
    script.write_text(ALONE)
    tests = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, *sys.path])}
    command = [sys.executable, str(script), str(tmp_path / "store")]
    alone = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
    watched = [os.pidfd_open(int(pid)) for pid in alone.stdout.readline().split()]
    alone.kill()
    alone.wait()
    for pid in watched:
        ready = select.select([pid], [], [], 30)[0]
        os.close(pid)
        assert ready, "a worker outlived its coordinator"
    alone.stdin.close()
    alone.stdout.close()
