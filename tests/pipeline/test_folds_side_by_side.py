"""Folds side by side, stopped and killed in every way, end with the bundle of folds one after another."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from medloom.cli.main import main
from medloom.files import sha256_file
from medloom.locks import sole
from medloom.pipeline import Run, is_measured
from medloom.training.tree import read_tree

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds the processes in /proc"),
]

FOLDS = 3
EPOCHS = 500
"""Enough that a signal finds every fold in the middle."""
SETTINGS = [
    f"split.folds={FOLDS}",
    "data.phantom.patients=12",
    "data.phantom.size=32",
    "data.phantom.slices=[3, 4]",
    "data.phantom.prevalence=0.4",
    "preprocess.size=[32, 32]",
    "preprocess.crop=null",
    "model.name=perceptron",
    "train.device=cpu",
    "train.precision=32",
    "train.early_stopping.patience=null",
    "evaluate.bootstrap=20",
]


@dataclass(frozen=True)
class Ended:
    """A command that has ended, and where its run stood then."""

    code: int
    said: str
    measured: list[bool]
    epochs: list[int]


def command(name: str, *words: str) -> list[str]:
    settings = [*SETTINGS, f"train.epochs={EPOCHS}"]
    return ["run", "melanoma", "--run", name, *(word for one in settings for word in ("--set", one)), *words]


def start(name: str, *words: str, when_both_train=lambda parent: None) -> Ended:
    """Run the command in a process of its own; ``when_both_train`` gets it when the first two folds have an epoch."""
    called = [sys.executable, "-m", "medloom.cli.main", *command(name, "--jobs", "2", *words)]
    said, training = [], set()
    with subprocess.Popen(called, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as parent:
        for line in parent.stdout:
            said.append(line)
            found = re.match(r"(fold \d/3)  epoch ", line)
            if found and len(training) < 2:
                training.add(found[1])
                if len(training) == 2:
                    when_both_train(parent)
    measured, epochs = [], []
    for number in range(FOLDS):
        folder = Path("runs", name, f"fold-{number}")
        with sole(folder):  # whoever was left behind has ended
            measured.append(is_measured(Run.open(folder)))
            lines = folder / "metrics.jsonl"
            epochs.append(len(lines.read_text().splitlines()) if lines.exists() else 0)
    return Ended(parent.returncode, "".join(said), measured, epochs)


def kill_first_fold(parent) -> None:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = path.read_text().split("\0")
        if words[-3:-2] == ["fold"] and words[-2].endswith("fold-0"):
            os.kill(int(path.parent.name), signal.SIGKILL)


@pytest.fixture(scope="module")
def one_thread(place):
    """Everywhere, because another number of threads may change last digits."""
    patch = pytest.MonkeyPatch()
    patch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    patch.undo()


@pytest.fixture(scope="module")
def in_turn(place, one_thread):
    """The run directory of folds one after another."""
    assert main(command("in-turn")) == 0
    return place / "runs" / "in-turn"


@pytest.fixture(scope="module")
def disturbed(place, one_thread):
    """A run whose command was stopped, killed, and lost a fold; after that it was left alone."""
    return {
        "stopped": start("disturbed", when_both_train=lambda parent: parent.send_signal(signal.SIGTERM)),
        "killed": start("disturbed", when_both_train=lambda parent: parent.kill()),
        "fold killed": start("disturbed", when_both_train=kill_first_fold),
        "left alone": main(command("disturbed", "--jobs", "2")),
    }


def test_sigterm_saves_every_fold_and_is_no_failure(disturbed):
    ended = disturbed["stopped"]
    assert ended.code == 0
    assert ended.measured == [False] * FOLDS
    assert all(0 < epochs < EPOCHS for epochs in ended.epochs[:2])
    assert ended.epochs[2] == 0
    assert ended.said.rstrip().endswith("\nstopped and saved; the same command goes on from here")
    assert ended.said.count("  stopped and saved") == 2


def test_folds_whose_command_is_killed_stop_by_themselves(disturbed):
    ended = disturbed["killed"]
    assert ended.code == -signal.SIGKILL
    assert ended.measured == [False] * FOLDS
    before = disturbed["stopped"].epochs
    assert all(then < now < EPOCHS for then, now in zip(before[:2], ended.epochs[:2], strict=True))


def test_a_killed_fold_is_named_and_the_others_are_finished(disturbed):
    ended = disturbed["fold killed"]
    assert ended.code == 1
    (error,) = [line for line in ended.said.splitlines() if line.startswith("error: ")]
    assert error.startswith("error: fold 1/3 was killed by signal 9 (SIGKILL), most likely by the system for want of")
    assert "train.micro_batch" in error
    assert error.endswith("or fewer folds at a time (--jobs); the same command does what is left")
    assert ended.measured == [False, True, True]
    assert "Traceback" not in ended.said


def test_every_line_of_a_fold_says_which_and_there_is_one_for_each_epoch(disturbed):
    said = disturbed["fold killed"].said
    lines = [line for line in said.splitlines() if re.search(r"\bepoch \d+/", line)]
    assert all(re.match(rf"fold [123]/3  epoch \d+/{EPOCHS}  train_loss ", line) for line in lines)
    third = [line for line in lines if line.startswith("fold 3/3")]
    assert [int(re.search(r"epoch (\d+)", line)[1]) for line in third] == list(range(1, EPOCHS + 1))


def test_the_end_is_that_of_folds_one_after_another_to_the_last_bit(disturbed, in_turn, place):
    assert disturbed["left alone"] == 0
    folder = place / "runs" / "disturbed"
    files = ["model.tar.gz", "evaluation/summary.json", "evaluation/cases.csv"]
    files += [f"fold-{number}/evaluation/{name}" for number in range(FOLDS) for name in ("cases.csv", "summary.json")]
    assert {name: sha256_file(folder / name) for name in files} == {name: sha256_file(in_turn / name) for name in files}
    for number in range(FOLDS):
        one, other = (
            read_tree(run / f"fold-{number}" / "checkpoints" / "best.safetensors") for run in (folder, in_turn)
        )
        assert one["epoch"] == other["epoch"]
        assert all(torch.equal(tensor, other["network"][name]) for name, tensor in one["network"].items())


def test_what_is_wrong_for_all_folds_is_said_in_one_line_and_begins_no_further_fold(place, one_thread, capsys):
    assert main(command("wrong", "--jobs", "2", "--set", "loss.args={widht: 3}")) == 2
    said = capsys.readouterr().err
    assert "fold 1/3  error: there is no argument of loss 'cross-entropy' named 'widht'" in said
    assert re.search(r"^error: fold 1/3 failed, see above.*; the same command does what is left$", said, re.M)
    assert "fold 3/3  " not in said
    assert "Traceback" not in said
