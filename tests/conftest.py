"""What every test may rely on."""

import multiprocessing
import signal
import subprocess
import sys

import pytest

import medloom.models.operators  # noqa: F401 - tests that import MONAI or Lightning themselves need it first

# Processes of the tests are forked from one that has imported everything, so each starts in no time. It takes its
# list when it starts, so the list is made before any test can start it.
multiprocessing.set_forkserver_preload(["medloom.training.loop", "medloom.data.building"])

# A shell starts what runs in its background with Ctrl-C ignored, and children inherit it; tests press it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The working directory, with a cache, shared by the tests of a module."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("place")
    patch.setenv("MEDLOOM_CACHE", str(folder / "cache"))
    patch.chdir(folder)
    yield folder
    patch.undo()


@pytest.fixture
def modules_after():
    """Run code in a Python of its own; returns the packages that it imported."""

    def run(code: str) -> set[str]:
        code += "\nimport sys; print('\\nMODULES', *{name.partition('.')[0] for name in sys.modules})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return set(done.stdout.rpartition("MODULES ")[2].split())

    return run


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory):
    """An MLflow store with its tables and nothing in them, to be copied: making the tables takes seconds."""
    from medloom.tracking.mlflow import MlflowTracker

    path = tmp_path_factory.mktemp("mlflow") / "template.db"
    _ = MlflowTracker(f"sqlite:///{path}", "unused").client
    return path
