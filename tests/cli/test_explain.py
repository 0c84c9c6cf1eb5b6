"""``medloom explain`` as a user types it."""

import json

import numpy as np
import pytest

from medloom.cli.main import main
from medloom.imaging import encode_png
from support.bundles import tiny_label_recipe, write_tiny_bundle, write_tiny_label_bundle


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(2):
        pixels = rng.integers(0, 60, (40, 48), dtype=np.uint8)
        pixels[5:15, 5:15] = 250
        (folder / f"scan{number}.png").write_bytes(encode_png(pixels))
    return folder


def test_occlusion_needs_no_torch_and_shows_what_is_bright(images, tmp_path, capsys, modules_after):
    bundle = write_tiny_label_bundle(tmp_path / "model.tar.gz", tiny_label_recipe(metadata=True))
    table = tmp_path / "people.csv"
    table.write_text("image,age,sex\nscan0,71,male\nscan1,,female\n")
    call = ["explain", str(bundle), str(images), "-o", str(tmp_path / "why"), "--method", "occlusion"]
    call += ["--metadata", str(table), "--json"]
    code = f"from medloom.cli.main import main\nassert main({call!r}) == 0"
    assert "torch" not in modules_after(code)
    facts = json.loads((tmp_path / "why/explanation.json").read_text())
    assert [one["image"] for one in facts["images"]] == ["scan0.png", "scan1.png"]
    values = np.load(tmp_path / "why" / facts["images"][0]["map"])
    assert values.shape == (40, 48)
    assert values[5:15, 5:15].mean() > 3 * abs(values[25:, 25:]).mean()
    told = facts["images"][0]["metadata"]
    assert told["told"] - told["without"] == pytest.approx(sum(told["columns"].values()), abs=1e-6)
    assert facts["metadata"]["images"] == 2
    assert facts["check"]["passes"] is None
    page = (tmp_path / "why/explanation.html").read_text()
    assert "was not checked" in page
    assert page.count("data:image/png") == 4
    assert "What metadata add" in page


def test_a_bad_file_is_reported_and_the_rest_go_on(images, tmp_path, capsys):
    (images / "broken.png").write_bytes(b"no image")
    bundle = write_tiny_label_bundle(tmp_path / "model.tar.gz")
    call = ["explain", str(bundle), str(images), "-o", str(tmp_path / "why"), "--method", "occlusion", "--no-check"]
    assert main(call) == 3
    captured = capsys.readouterr()
    assert "2 images explained by occlusion" in captured.out
    assert "broken.png" in captured.err
    assert "broken.png" in (tmp_path / "why/explanation.html").read_text()


def test_masks_are_explained_where_they_lie(images, tmp_path):
    recipe_bundle = write_tiny_bundle(tmp_path / "masks.tar.gz")
    colour = np.zeros((40, 48, 3), np.uint8)
    colour[5:15, 5:15, 2] = 250
    (tmp_path / "slice.png").write_bytes(encode_png(colour))
    call = ["explain", str(recipe_bundle), str(tmp_path / "slice.png"), "-o", str(tmp_path / "why")]
    assert main([*call, "--method", "occlusion"]) == 0
    facts = json.loads((tmp_path / "why/explanation.json").read_text())
    assert facts["images"][0]["about"] == "class1"
    values = np.load(tmp_path / "why" / facts["images"][0]["map"])
    assert values[7:13, 7:13].min() > 0.3
    assert abs(values[30:]).max() < 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "grad-cam"], "did you mean 'gradcam'"),
        (["--method", "occlusion", "--class", "ill"], "there is no class 'ill'"),
        (["--method", "occlusion", "--id", "image"], "--id names a column"),
    ],
)
def test_what_cannot_be_done_is_said(images, tmp_path, capsys, options, message):
    bundle = write_tiny_label_bundle(tmp_path / "model.tar.gz")
    assert main(["explain", str(bundle), str(images), "-o", str(tmp_path / "why"), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_bundle_in_no_run_needs_images(tmp_path, capsys):
    bundle = write_tiny_label_bundle(tmp_path / "model.tar.gz")
    assert main(["explain", str(bundle), "--method", "occlusion"]) == 2
    assert "lies in no run" in capsys.readouterr().err
