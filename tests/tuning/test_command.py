"""``medloom tune`` as a user types it: in processes of its own, killed and begun again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
import yaml

from medloom.cli.main import main
from medloom.tuning import Study
from medloom.tuning.storage import opened

PROGRAM = (sys.executable, "-m", "medloom.cli.main")


@pytest.fixture
def command(recipe_of, pictures, place):
    """A command that does a study in two processes; its recipe is long enough to be killed in the middle."""
    plain = recipe_of({"train.optimizer.lr": {"log_uniform": [1e-4, 1e-1]}}, train={"epochs": 400}).plain()
    (place / "mine.yaml").write_text(yaml.safe_dump(plain))
    return ["tune", "mine.yaml", "--data", str(pictures), "--trials", "4", "--jobs", "2", "--study", "mine"]


@pytest.mark.slow
def test_a_study_that_is_killed_twice_goes_on_and_loses_only_the_trials_that_were_under_way(command, place, capsys):
    for ends_with in ("epoch 30/400", "epoch 390/400"):
        process = subprocess.Popen([*PROGRAM, *command], stderr=subprocess.PIPE, text=True)
        next(line for line in process.stderr if ends_with in line)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    done = subprocess.run([*PROGRAM, *command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    trials = opened(Study.open(place / "studies" / "mine").resolved()).get_trials()
    assert len([trial for trial in trials if trial.state.name in ("COMPLETE", "PRUNED")]) == 4
    assert len([trial for trial in trials if trial.user_attrs.get("lost")]) <= 4
    assert not [trial for trial in trials if trial.state.name == "RUNNING"]
    assert facts["best"]["score"] == min(trial.value for trial in trials if trial.state.name == "COMPLETE")
    assert main(["verify", facts["bundle"]]) == 0


def test_what_is_wrong_is_said_before_anything_is_made(command, place, capsys):
    assert main([*command, "--set", "tune.space={train.epoch: {integer: [1, 2]}}"]) == 2
    assert "train.epoch: unknown key, did you mean 'epochs'" in capsys.readouterr().err
    assert main([*command, "--timeout", "soon"]) == 2
    assert "--timeout: expected a time" in capsys.readouterr().err
    assert not (place / "studies").exists()
