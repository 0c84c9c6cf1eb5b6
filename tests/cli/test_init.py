from __future__ import annotations

import json

import numpy as np
import pytest

from medloom.cli.main import main
from medloom.imaging import encode_png
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


def images(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros((40, 40), np.uint8)
        pixels[4:9, 4:9] = 255
        path.write_bytes(encode_png(pixels))
    return folder


def test_init_looks_at_a_folder_and_writes_its_recipe(folder, capsys):
    images(folder / "polyps", [f"{part}/{n}.png" for part in ("images", "masks") for n in range(4)])
    assert main(["init", "polyps", "-o", "mine.yaml"]) == 0
    said = capsys.readouterr()
    assert "medloom run mine.yaml --data polyps" in said.out
    assert "4 images" in said.err
    assert "No patient was found" in said.err
    assert load_recipe(folder / "mine.yaml").data.image == "images/{sample}.png"
    assert main(["init", "polyps", "-o", "mine.yaml"]) == 2


def test_init_says_what_it_found_as_json(folder, capsys):
    images(folder / "polyps", [f"{part}/{n}.png" for part in ("images", "masks") for n in range(4)])
    assert main(["init", "polyps", "--json", "--set", "train.epochs=2"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["recipe"], facts["samples"]) == ("polyps.yaml", 4)
    assert {"key": "train.epochs", "value": 2, "evidence": "as you said", "instead": "", "check": ""} in facts[
        "findings"
    ]


def test_init_without_a_terminal_stops_with_the_settings_to_choose_from(folder, capsys):
    images(folder / "both", [f"{part}/{n}.png" for part in ("images", "lung masks", "edema masks") for n in range(4)])
    assert main(["init", "both"]) == 2
    said = capsys.readouterr().err
    assert "--set 'data.mask=lung masks/{sample}.png'" in said
    assert "--set 'data.mask=edema masks/{sample}.png'" in said
    assert not list(folder.glob("*.yaml"))
    assert main(["init", "both", "--set", "data.mask=lung masks/{sample}.png"]) == 0


def test_init_refuses_settings_for_a_built_in_recipe(folder, capsys):
    assert main(["init", "brain-mri", "--set", "train.epochs=2"]) == 2
    assert "edit the recipe instead" in capsys.readouterr().err


def test_init_says_what_it_did_not_find(folder, capsys):
    assert main(["init", "brain-mir"]) == 2
    assert "there is no recipe, folder or zip 'brain-mir', did you mean 'brain-mri'?" in capsys.readouterr().err


def test_init_takes_keys_that_stand_in_no_section(folder, capsys):
    images(folder / "polyps", [f"{part}/{n}.png" for part in ("images", "masks") for n in range(4)])
    assert main(["init", "polyps", "-o", "mine.yaml", "--set", "description=Polyps, by hand"]) == 0
    assert load_recipe("mine.yaml").description == "Polyps, by hand"


@pytest.mark.parametrize("setting", ["trian.epochs=5", "sedd=3"])
def test_init_says_which_key_there_is_not(folder, capsys, setting):
    images(folder / "polyps", [f"{part}/{n}.png" for part in ("images", "masks") for n in range(4)])
    assert main(["init", "polyps", "--set", setting]) == 2
    assert setting.partition("=")[0].partition(".")[0] in capsys.readouterr().err
    assert not (folder / "polyps.yaml").exists()
