"""Published weights that are on this machine, without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from medloom.models import disks
from medloom.models.here import weights_here


@pytest.fixture(autouse=True)
def without_packages(monkeypatch):
    monkeypatch.delenv("MEDLOOM_WEIGHTS", raising=False)
    monkeypatch.setattr(disks, "find_spec", lambda name: None)


def test_what_a_mirror_has_is_found_with_its_licence(tmp_path, monkeypatch):
    assert weights_here() == ()
    monkeypatch.setenv("MEDLOOM_WEIGHTS", str(tmp_path))
    for path in ("efficientnet-lite0/efficientnet-lite0-57934424.pth", "Lab-Rasool/RadImageNet/ResNet50.pt"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(b"weights")
    found = {one.name: one for one in weights_here()}
    assert set(found) == {"efficientnet-lite0", "radimagenet-resnet50"}
    lite = found["efficientnet-lite0"]
    assert (lite.architecture, lite.licence) == ("tf_efficientnet_lite0", "Apache-2.0")
    assert lite.text == "found in the folder that MEDLOOM_WEIGHTS names, Apache-2.0"
    assert str(tmp_path) not in str(found)


def test_looking_for_weights_imports_no_torch():
    code = "import sys; from medloom.models.here import weights_here; weights_here(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
