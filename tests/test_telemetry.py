"""Nothing of a user's leaves the machine, and nothing is left in the user's home, whatever command is run.

The slow test needs strace: apt-get install strace.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from medloom.cli.main import COMMANDS
from medloom.imaging import encode_png
from medloom.telemetry import SWITCHES
from support.bundles import write_tiny_bundle

RUN = ("brain-mri-small", "--runs", "runs", "--run", "tiny", "--data", "images")
SETTINGS = (
    *("--set", "train.epochs=1", "--set", "preprocess.size=[32,32]", "--set", "model.args={channels: [4, 8]}"),
    *("--set", "evaluate.bootstrap=5", "--set", "train.compile=false"),
)
SEARCHED = ("--set", "tune.preset=auto", "--set", "tune.space={train.batch_size: {choices: [8]}}")
BUNDLE = "runs/tiny/model.tar.gz"

# In this order: each has what it needs from those before it.
CALLS: dict[str, tuple[str, ...]] = {
    "recipes": (),
    "names": ("networks",),
    "init": ("image-mask", "-o", "mine.yaml"),
    "doctor": (),
    "data phantom": ("images", "--patients", "9", "--size", "48", "--set", "data.phantom.slices=[6,8]"),
    "data get": ("image-mask",),
    "inspect": ("images",),
    "deidentify": ("dicom", "-o", "clean"),
    "run": (*RUN, *SETTINGS),
    "prepare": ("brain-mri-small", "--run", "./runs/alone", "--data", "images", *SETTINGS),
    "train": ("runs/alone",),
    "tune": ("brain-mri-small", "--data", "images", "--trials", "1", *SETTINGS, *SEARCHED),
    "learning-curve": (*("brain-mri-small", "--data", "images", "--shares", "0.5", "1", "--jobs", "1", *SETTINGS),),
    "evaluate": ("runs/alone",),
    "compare": ("tiny", "alone"),
    "package": ("runs/alone",),
    "report": ("runs/alone",),
    "review": ("tiny", "--server", "http://127.0.0.1:9", "--limit", "1"),
    "track": ("runs/alone",),
    "ui": (),
    "verify": (BUNDLE,),
    "predict": (BUNDLE, "images", "-o", "out", "--skip", "*_mask*"),
    "batch": (BUNDLE, "images", "-o", "bulk", "--skip", "*_mask*"),
    "pipeline": ("event.json",),
    "drift": (BUNDLE, "images", "--skip", "*_mask*"),
    "explain": (BUNDLE, "images", "-o", "why", "--skip", "*_mask*", "--method", "occlusion"),
    "serve": (BUNDLE, "--port", "0"),
    "runs list": (),
    "runs show": ("tiny",),
    "runs delete": ("alone", "--yes"),
    "image build": ("serve", BUNDLE, "-o", "context"),
    "lambda package": (BUNDLE, "--runtime", "python3.11"),
    "lambda deploy": (BUNDLE, "--dry-run"),
    "lambda list": (),
    "lambda delete": ("tiny", "--yes"),
    "sagemaker policy": ("train",),
    "sagemaker train": ("brain-mri-small", "--data", "images", "--image", "medloom-train", "--dry-run"),
    "sagemaker tune": ("brain-mri-small", "--data", "images", "--image", "medloom-train", "--dry-run"),
    "sagemaker deploy": (BUNDLE, "--image", "medloom-serve", "--dry-run"),
    "sagemaker transform": (BUNDLE, "images", "-o", "there", "--image", "medloom-serve", "--dry-run"),
    "sagemaker batch": (BUNDLE, "images", "-o", "answers", "--image", "medloom-train", "--dry-run"),
    "sagemaker status": ("tiny",),
    "sagemaker logs": ("tiny",),
    "sagemaker pull": ("tiny",),
    "sagemaker list": (),
    "sagemaker delete": ("tiny", "--yes"),
    "cache list": (),
    "cache prune": ("--yes",),
}

AWS = ("status", "logs", "pull", "list", "delete")
CODES = {
    "pipeline": 2,
    "review": 1,
    "data get": 2,
    "inspect": 3,
    "ui": 2,
    "lambda package": 2,
    **{f"sagemaker {name}": 2 for name in AWS},
}
"""Exit codes other than 0: that recipe has no data set to get, the folder holds a note that is no image, the pages of
MLflow are not installed, Lambda has no such Python, and there is no region of AWS."""

_SERVED_S = 12
"""ONNX Runtime reported nine seconds after its session was made."""


@pytest.fixture
def home(tmp_path):
    """A home of its own for the processes of a test."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def environment(home, tmp_path):
    """The environment of such a process: outside of CI, where libraries behave, and without the switches."""
    unset = (*SWITCHES, "CI", "GITHUB_ACTIONS", "XDG_CACHE_HOME", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE")
    plain = {name: value for name, value in os.environ.items() if name not in unset}
    return plain | {"HOME": str(home), "MEDLOOM_CACHE": str(tmp_path / "cache")}


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_importing_medloom_switches_telemetry_off_for_children_too(environment):
    code = "import medloom, os, subprocess, sys; print(subprocess.check_output(['env'], text=True))"
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    said = said.stdout
    assert {f"{name}={value}" for name, value in SWITCHES.items()} <= set(said.splitlines())


@pytest.mark.parametrize(
    "code",
    [
        "from medloom.cli.main import main; assert main(['verify', 'model.tar.gz']) == 0",
        "from medloom.cli.main import main; assert main(['predict', 'model.tar.gz', 'a.png', '-o', 'out']) == 0",
        "import medloom; medloom.load('model.tar.gz').predict(open('a.png', 'rb').read())",
        "from medloom.inference import build_runtime; build_runtime('onnx', __import__('pathlib').Path('model.onnx'))",
    ],
    ids=["verify", "predict", "load", "runtime"],
)
def test_a_model_that_is_used_leaves_nothing_in_the_users_home(home, environment, tmp_path, code):
    write_tiny_bundle(tmp_path / "model.tar.gz")
    (tmp_path / "model.onnx").write_bytes((tmp_path / "model.tar.onnx").read_bytes())
    (tmp_path / "a.png").write_bytes(encode_png(np.zeros((32, 32, 3), np.uint8)))
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, check=True, capture_output=True)
    assert files_in(home) == []


def test_every_command_is_in_the_table_below():
    assert set(CALLS) == set(COMMANDS)


@pytest.mark.slow
def test_no_command_looks_anything_up_connects_or_writes_elsewhere(home, environment, tmp_path):
    if shutil.which("strace") is None:
        pytest.fail("this test needs strace: apt-get install strace")
    (tmp_path / "dicom").mkdir()
    shutil.copy(get_testdata_file("CT_small.dcm"), tmp_path / "dicom")
    found: dict[str, list[str]] = {}
    for command, arguments in CALLS.items():
        lines = traced(command, arguments, environment, tmp_path)
        if lines:
            found[command] = lines
    assert found == {}
    assert files_in(home) == []


def traced(command: str, arguments: tuple[str, ...], environment: dict[str, str], folder: Path) -> list[str]:
    """Run a command under strace and return the system calls that would leave the machine."""
    trace = folder / f"{command.replace(' ', '-')}.trace"
    strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace)]
    program = [*strace, sys.executable, "-m", "medloom.cli.main", *command.split(), *arguments]
    if command == "serve":
        run_served(program, environment, folder)
    else:
        done = subprocess.run(program, env=environment, cwd=folder, check=False, capture_output=True, text=True)
        assert done.returncode == CODES.get(command, 0), done.stderr
    calls = trace.read_text(errors="replace").splitlines()
    return [line for line in calls if re.search(r"AF_INET6?\b", line) and not re.search(r"127\.0\.0\.1|::1", line)]


def run_served(program: list[str], environment: dict[str, str], folder: Path) -> None:
    """Serve for longer than it took ONNX Runtime to report, ask once, and stop."""
    server = subprocess.Popen(
        program, env=environment, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    found = (re.search(r"http://[\d.:]+", line) for line in server.stderr)
    address = next(match[0] for match in found if match)
    with urllib.request.urlopen(f"{address}/ping") as answer:
        assert answer.status == 200
    with pytest.raises(subprocess.TimeoutExpired):
        server.wait(_SERVED_S)
    os.killpg(server.pid, signal.SIGTERM)
    server.communicate(timeout=30)
