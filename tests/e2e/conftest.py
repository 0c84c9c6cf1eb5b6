import json
import sys

import pytest

from medloom.cli.main import main

TINY = {
    "data.phantom.patients": "7",
    "data.phantom.size": "64",
    "data.phantom.slices": "[8, 12]",
    "preprocess.size": "[64, 64]",
    "model.args.channels": "[8, 16, 32]",
    "train.epochs": "3",
    "train.device": "cpu",
    "evaluate.bootstrap": "50",
}


class Medloom:
    """The command line in a folder of its own."""

    def __init__(self, folder, capsys):
        self.folder = folder
        self._capsys = capsys

    def __call__(self, *arguments, **values):
        """Run a command; returns exit code, stdout and stderr."""
        settings = [part for key, value in {**TINY, **values}.items() for part in ("--set", f"{key}={value}")]
        self._capsys.readouterr()
        code = main([*arguments, *(settings if arguments[0] in ("run", "prepare") else ())])
        out, err = self._capsys.readouterr()
        return code, out, err


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with runs and a cache, shared by the tests of a module."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("e2e")
    patch.setenv("MEDLOOM_CACHE", str(folder / "cache"))
    patch.setenv("KAGGLE_CONFIG_DIR", str(folder / "no-credentials"))
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        patch.delenv(name, raising=False)
    patch.chdir(folder)
    yield folder
    patch.undo()


@pytest.fixture
def medloom(place, capsys):
    return Medloom(place, capsys)


@pytest.fixture(scope="module")
def finished(place):
    """One run from phantoms to a bundle, as a user makes it; returns its folder and what it printed as JSON."""
    settings = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]
    with (place / "out.json").open("w") as out:
        stdout, sys.stdout = sys.stdout, out
        try:
            code = main(["run", "brain-mri-small", "--run", "first", "--json", *settings])
        finally:
            sys.stdout = stdout
    assert code == 0
    return place / "runs" / "first", json.loads((place / "out.json").read_text())
