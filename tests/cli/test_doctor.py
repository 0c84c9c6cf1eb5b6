from __future__ import annotations

import json

from medloom.cli import doctor
from medloom.cli.main import main


def test_doctor_says_what_is_installed_and_what_the_machine_can_do(capsys):
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["packages"]["numpy"]
    assert facts["devices"]["cores"] >= 1
    assert set(facts["codecs"]) >= {"tiff", "png", "jpeg", "npy"}
    assert set(facts["extras"]) >= {"train", "serve", "openvino", "kaggle", "dev"}
    assert facts["memory"]["total_gib"] > 0
    assert facts["disk"]["here"]["free_gib"] >= 0


def test_doctor_is_readable(capsys):
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for section in ("packages", "extras", "devices", "codecs", "memory", "disk", "compiler"):
        assert f"\n{section}\n" in shown


def test_an_extra_that_is_not_installed_says_how_to_install_it(capsys, monkeypatch):
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "uvicorn" else version(name))
    assert main(["doctor"]) == 0
    assert "lacks uvicorn; pip install 'medloom[serve]'" in capsys.readouterr().out
