import json

import numpy as np
import pytest
from PIL import Image as PillowImage

from medloom.cli.main import main
from medloom.imaging import decode, encode_png
from support.bundles import write_tiny_bundle


@pytest.fixture(scope="module")
def bundle_path(tmp_path_factory):
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "model.tar.gz", phantom=True)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.full((40, 50, 3), 20, np.uint8)
    pixels[10:20, 10:25, 2] = 250
    PillowImage.fromarray(pixels).save(folder / "lesion.tif")
    PillowImage.fromarray(pixels[..., 0]).save(folder / "lesion_mask.tif")
    PillowImage.fromarray(np.zeros_like(pixels)).save(folder / "blank.png")
    return folder


def test_a_folder_is_segmented_in_the_size_of_its_images(bundle_path, images, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["predict", str(bundle_path), str(images), "-o", str(out)]) == 0
    text = capsys.readouterr().out
    assert "2 of 2 images predicted, 1 with class1" in text
    assert "phantoms" in text
    for name in ("masks/lesion.png", "overlays/blank.png"):
        with PillowImage.open(out / name) as image:
            assert image.size == (50, 40)
    assert len((out / "predictions.csv").read_text().splitlines()) == 3


def test_a_bad_file_is_named_the_rest_go_on_and_the_exit_code_is_3(bundle_path, images, tmp_path, capsys):
    (images / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n rest is missing")
    assert main(["predict", str(bundle_path), str(images), "-o", str(tmp_path / "out"), "--json"]) == 3
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert (result["images"], result["failed"], result["with_foreground"], result["phantom"]) == (3, 1, 1, True)
    assert "bad.png" in captured.err


def test_nothing_to_predict_exits_with_2(bundle_path, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["predict", str(bundle_path), str(tmp_path / "empty"), "-o", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
    assert "error:" in capsys.readouterr().err


def test_masks_are_left_out_unless_asked_for(bundle_path, images, tmp_path, capsys):
    code = main(["predict", str(bundle_path), str(images), "-o", str(tmp_path / "out"), "--skip", "*.png", "--json"])
    assert code == 3  # a mask has one channel, the model takes three
    names = [result["file"] for result in json.loads(capsys.readouterr().out)["results"]]
    assert names == ["lesion.tif", "lesion_mask.tif"]


def test_predicting_imports_no_torch(bundle_path, images, tmp_path, modules_after):
    command = ["predict", str(bundle_path), str(images), "-o", str(tmp_path / "out")]
    loaded = modules_after(f"from medloom.cli.main import main\nassert main({command!r}) == 0")
    assert loaded.isdisjoint({"torch", "lightning", "monai"})


def test_uncertainty_lies_beside_the_masks(tmp_path, capsys):
    bundle = write_tiny_bundle(tmp_path / "model.tar.gz")
    pixels = np.zeros((40, 50, 3), np.uint8)
    pixels[10:20, 10:20, 2] = 120
    (tmp_path / "slice.png").write_bytes(encode_png(pixels))
    call = ["predict", str(bundle), str(tmp_path / "slice.png"), "-o", str(tmp_path / "out")]
    assert main([*call, "--uncertainty", "variance"]) == 0
    assert main([*call, "--uncertainty"]) == 0
    found = decode((tmp_path / "out/uncertainty/slice.png").read_bytes()).pixels[..., 0]
    assert found.shape == (40, 50)
    assert found.dtype == np.uint8
    assert found.max() > 100
    header, row = (tmp_path / "out/predictions.csv").read_text().splitlines()
    assert row.split(",")[header.split(",").index("uncertainty")] == "uncertainty/slice.png"
    assert main([*call, "--uncertainty=doubt"]) == 2
    assert "there is no uncertainty 'doubt'" in capsys.readouterr().err
