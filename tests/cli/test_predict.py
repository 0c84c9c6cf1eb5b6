import json

import numpy as np
import pytest
from PIL import Image as PillowImage

import medloom
from medloom.cli.main import main
from medloom.imaging import decode, encode_png
from medloom.imaging.nifti import read_nifti_volume, write_nifti
from medloom.inference.answers.certainty import OF_MASKS, OF_TWO
from medloom.inference.quality import Quality
from support.bundles import tiny_recipe, write_tiny_bundle, write_tiny_label_bundle


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


def test_the_uncertainty_of_a_volume_has_its_geometry(tmp_path):
    quality = Quality("dice", OF_MASKS, (0.0, 0.0, 4.0, -2.0, -1.0), -2.2, 0.6, 0.1)
    bundle = write_tiny_bundle(tmp_path / "model.tar.gz", tiny_recipe(channels=("grey",)), quality=quality)
    voxels, affine = np.zeros((4, 30, 36), np.float32), np.diag([-2.0, -2.0, 5.0, 1.0])
    voxels[1:3, 8:18, 8:20] = 3.0
    voxels[2, 8:18, 8:20] = 1.1
    write_nifti(voxels, affine, tmp_path / "scan.nii.gz")
    call = ["predict", str(bundle), str(tmp_path / "scan.nii.gz"), "-o", str(tmp_path / "out"), "--uncertainty"]
    assert main(call) == 0
    found = read_nifti_volume((tmp_path / "out/uncertainty/scan.nii.gz").read_bytes())
    mask = read_nifti_volume((tmp_path / "out/masks/scan.nii.gz").read_bytes())
    assert found.voxels.dtype == np.float32
    assert found.voxels.shape == mask.voxels.shape == voxels.shape
    np.testing.assert_array_equal(found.affine, mask.affine)
    assert 0.0 <= found.voxels.min() < found.voxels.max() <= 1.0
    header, row = (tmp_path / "out/predictions.csv").read_text().splitlines()
    cells = dict(zip(header.split(","), row.split(","), strict=True))
    assert cells["uncertainty"] == "uncertainty/scan.nii.gz"
    plain = medloom.load(bundle).predict(tmp_path / "scan.nii.gz").plain()["quality"]
    assert len(plain["slices_dice"]) == 4
    assert float(cells["expected"]) == min(plain["slices_dice"])
    assert cells["review"] == " ".join(map(str, plain["slices"]))
    assert plain["review"] is bool(plain["slices"]) is True


def test_labels_have_no_uncertainty_of_pixels(tmp_path, capsys):
    bundle = write_tiny_label_bundle(
        tmp_path / "model.tar.gz", quality=Quality("correct", OF_TWO, (1.0, 0.0, 0.0), 0.0, 0.6, 0.1)
    )
    (tmp_path / "scan.png").write_bytes(encode_png(np.full((40, 50), 90, np.uint8)))
    call = ["predict", str(bundle), str(tmp_path / "scan.png"), "-o", str(tmp_path / "out")]
    assert main([*call, "--uncertainty"]) == 2
    assert "for masks alone" in capsys.readouterr().err
    assert main(call) == 0
    header, row = (tmp_path / "out/predictions.csv").read_text().splitlines()
    cells = dict(zip(header.split(","), row.split(","), strict=True))
    assert 0.5 <= float(cells["expected"]) <= 1.0
    assert cells["review"] in ("yes", "no")
