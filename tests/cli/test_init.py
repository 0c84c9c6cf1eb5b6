from __future__ import annotations

import json

import pytest

from medloom.cli.main import main
from medloom.recipe import load_recipe


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_init_writes_a_commented_recipe_that_loads(folder, capsys):
    assert main(["init", "brain-mri"]) == 0
    assert "medloom run brain-mri.yaml" in capsys.readouterr().out
    text = (folder / "brain-mri.yaml").read_text()
    assert text.count("#") > 50
    assert load_recipe(folder / "brain-mri.yaml") == load_recipe("brain-mri")


def test_init_leaves_a_file_that_is_there(folder, capsys):
    mine = folder / "brain-mri.yaml"
    mine.write_text("name: mine")
    assert main(["init", "brain-mri"]) == 2
    assert "--force" in capsys.readouterr().err
    assert mine.read_text() == "name: mine"


def test_init_replaces_a_file_when_told_to(folder):
    (folder / "brain-mri.yaml").write_text("name: mine")
    assert main(["init", "brain-mri", "--force"]) == 0
    assert load_recipe(folder / "brain-mri.yaml").name == "brain-mri"


def test_init_writes_where_it_is_told(folder, capsys):
    assert main(["init", "brain-mri", "--output", "deep/own.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"recipe": "deep/own.yaml"}
    assert (folder / "deep" / "own.yaml").is_file()
