"""Every built-in recipe from images to a bundle, small, through the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import medloom
from medloom.cli.main import main
from medloom.data import make_phantom
from medloom.recipe import PhantomConfig, builtin_names

SMALL = [
    "preprocess.size=[32, 32]",
    "model.args={channels: [4, 8], num_res_units: 1}",
    "train.epochs=1",
    "train.batch_size=8",
    "evaluate.bootstrap=50",
]


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    config = PhantomConfig(patients=6, size=32, slices=(4, 5))
    return make_phantom(config, tmp_path_factory.mktemp("phantoms") / "set")


@pytest.fixture(scope="module")
def pairs(phantoms, tmp_path_factory):
    """The same as PNG, one grey image and a mask beside it: what the recipe ``image-mask`` takes."""
    folder = tmp_path_factory.mktemp("pairs")
    for path in sorted(phantoms.rglob("*.tif")):
        pixels = np.asarray(Image.open(path))
        target = folder / path.parent.name / f"{path.stem}.png"
        target.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels if pixels.ndim == 2 else pixels[..., 1]).save(target)
    return folder


QUICK = "brain-mri-small"  # the others are left to `make test-slow`


@pytest.mark.parametrize(
    "recipe", [pytest.param(name, marks=[] if name == QUICK else pytest.mark.slow) for name in builtin_names()]
)
def test_every_built_in_recipe_runs_from_images_to_a_bundle_that_predicts(
    recipe, phantoms, pairs, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("MEDLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    data = pairs if recipe == "image-mask" else phantoms
    overrides = [word for setting in SMALL for word in ("--set", setting)]
    assert main(["run", recipe, "--data", str(data), "--workers", "1", "--json", *overrides]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["phantom"] is (data is phantoms)
    assert all((tmp_path / page).is_file() for page in result["pages"])
    assert len(result["pages"]) == 2
    assert set(result["summary"]["test"]["figures"]["dice_lesion"]) >= {"value", "low", "high", "n"}
    image = next(
        path
        for path in sorted(data.rglob("*"))
        if path.is_file() and "mask" not in path.name and path.suffix != ".json"
    )
    prediction = medloom.load(result["bundle"]).predict(image.read_bytes())
    assert prediction.mask.shape == (32, 32)
    assert main(["verify", result["bundle"]]) == 0
