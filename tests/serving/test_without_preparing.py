"""Who serves need not install what preparing and training need: neither pandas and SciPy nor PyTorch."""

import os
import subprocess
import sys
import urllib.request
from io import BytesIO

import numpy as np
import pytest
import tifffile

from support.server_process import serving_process

REFUSED = ("pandas", "scipy", "torch", "lightning", "monai", "matplotlib", "sklearn")
HOOK = f"""
import sys

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {REFUSED}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refusing())
"""
_EVERYTHING = """
import importlib, pkgutil
import medloom.imaging, medloom.inference, medloom.serving, medloom.serving.http

for room in (medloom.imaging, medloom.inference, medloom.serving):
    for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
        if not module.name.startswith(("medloom.imaging.deidentify", "medloom.inference.runtimes.torch",
                                       "medloom.serving.batch.labelled")):
            importlib.import_module(module.name)
"""


@pytest.fixture(scope="module")
def refusing(tmp_path_factory):
    """An environment for a process in which none of these can be imported."""
    folder = tmp_path_factory.mktemp("hook")
    (folder / "sitecustomize.py").write_text(HOOK)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


def _run(arguments, environment):
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_whatever_answers_is_imported_without_them(refusing):
    found = _run(["-c", _EVERYTHING], refusing)
    assert found.returncode == 0, found.stderr


def test_a_batch_is_predicted_without_them(bundle_path, refusing, tmp_path):
    tifffile.imwrite(tmp_path / "a.tiff", np.zeros((40, 30, 3), np.uint8), compression="lzw")
    found = _run(
        ["-m", "medloom", "batch", str(bundle_path), str(tmp_path / "a.tiff"), "--output", str(tmp_path / "out")],
        refusing,
    )
    assert found.returncode == 0, found.stderr
    assert "1 of 1 images predicted" in found.stdout + found.stderr


@pytest.mark.parametrize(
    ("command", "extra"),
    [("prepare brain-mri-small", "prepare"), ("deidentify there", "prepare")],
    ids=["prepare", "dicom"],
)
def test_a_command_that_needs_them_says_what_to_install(command, extra, refusing, tmp_path):
    (tmp_path / "there").touch()
    found = subprocess.run(
        [sys.executable, "-m", "medloom", *command.split(), *(["--output", "out"] if "there" in command else [])],
        env=refusing, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert found.returncode == 2
    assert f"pip install 'medloom[{extra}]'" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.slow
def test_a_server_without_them_answers_a_tiff_in_every_form(bundle_path, refusing):
    file = BytesIO()
    tifffile.imwrite(file, np.zeros((40, 30, 3), np.uint8), compression="lzw")
    with serving_process(bundle_path, environment=refusing) as server:
        for accepted in ("application/json", "image/png", "image/tiff", "application/x-npy"):
            request = urllib.request.Request(
                f"http://127.0.0.1:{server.port}/invocations",
                file.getvalue(),
                {"Content-Type": "image/tiff", "Accept": accepted},
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert answer.status == 200
                assert answer.headers["content-type"].startswith(accepted)
