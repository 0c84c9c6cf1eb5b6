"""A new kind of answer is a file of its own and lines in tables: from the recipe to an HTTP answer."""

from __future__ import annotations

import json

import numpy as np
import pytest
from starlette.testclient import TestClient

import medloom
from medloom.cli.main import main
from medloom.files import read_json
from medloom.imaging import encode_png
from medloom.packaging import read_bundle
from medloom.recipe import parse_recipe
from medloom.recipe.reference import reference
from medloom.serving import Service, create_app
from support import angle_lines

RECIPE = """
name: hands
target: {kind: angle, columns: [turn]}
data: {layout: csv, labels: {file: turns.csv, patient: who}}
preprocess: {size: [16, 16], normalise: {method: imagenet}}
augment: {flip: {p: 0}, rotate: {p: 0}, crop: {p: 0}}
model: {name: perceptron}
train: {epochs: 3, batch_size: 8, device: cpu, optimizer: {lr: 0.01}}
evaluate: {bootstrap: 20}
"""


@pytest.fixture(autouse=True)
def angles(monkeypatch):
    angle_lines.install(monkeypatch)


def write_hands(folder) -> None:
    """A bright bar through the middle, turned by the angle of the label."""
    folder.mkdir()
    rows = ["image,turn,who"]
    y, x = np.mgrid[-8:8, -8:8] + 0.5
    for number in range(40):
        turn = 9.0 * number
        along = np.cos(np.deg2rad(turn)) * x + np.sin(np.deg2rad(turn)) * y
        pixels = np.where(along > 2, 220, 30).astype(np.uint8)[..., None]
        (folder / f"{number:03d}.png").write_bytes(encode_png(pixels))
        rows.append(f"{number:03d},{turn},p{number // 2}")
    (folder / "turns.csv").write_text("\n".join(rows) + "\n")


def test_a_kind_is_added_through_the_tables_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_hands(tmp_path / "images")
    recipe = tmp_path / "hands.yaml"
    recipe.write_text(RECIPE)

    result = medloom.run(recipe, data=tmp_path / "images")

    test = result.summary["test"]["metrics"]
    assert list(test) == ["circular_error"]
    assert 0.0 <= test["circular_error"]["value"] <= 180.0
    cases = (result.folder / "evaluation" / "cases.csv").read_text()
    assert "truth_0" in cases
    assert "Circular error" in (result.folder / "report.html").read_text()
    assert main(["verify", str(result.bundle)]) == 0

    image = (tmp_path / "images" / "003.png").read_bytes()
    with read_bundle(result.bundle) as bundle:
        client = TestClient(create_app(Service.of(bundle.predictor(), bundle.manifest)))
    answer = client.post("/invocations", content=image, headers={"Content-Type": "image/png"})
    assert answer.status_code == 200
    expected = medloom.load(result.bundle).predict(image).plain()["angles"]
    assert answer.json()["angles"] == expected
    assert 0.0 <= expected["turn"] < 360.0


def test_predict_writes_the_table_of_a_new_kind(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MEDLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_hands(tmp_path / "images")
    (tmp_path / "hands.yaml").write_text(RECIPE)
    assert main(["run", "hands.yaml", "--data", "images", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert main(["predict", said["bundle"], "images", "-o", "out"]) == 0
    assert (
        (tmp_path / "out" / "predictions.csv")
        .read_text()
        .startswith("file,page,angle_turn,decision,notes,warnings,error\n")
    )
    assert read_json(tmp_path / "runs" / "hands" / "evaluation" / "summary.json")["target"] == {
        "kind": "angle",
        "names": ["turn"],
    }


def test_the_reference_and_the_errors_know_the_new_kind():
    assert "## `target` (angle)" in reference()
    with pytest.raises(medloom.errors.RecipeError, match=r"loss.name: expected one of periodic; got 'mse'"):
        parse_recipe(RECIPE, ["loss.name=mse"])
