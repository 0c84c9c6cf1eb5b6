import csv
import io
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PillowImage

from medloom.inference.inputs import ImageFile, open_images
from medloom.inference.writers import summary
from medloom.serving.batch import predict_files
from medloom.targets import Target


def _png(height=20, width=30, value=255):
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[4:12, 5:15] = value
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def _read(path):
    with PillowImage.open(path) as image:
        return np.asarray(image)


def _rows(folder):
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def predictor(make_predictor):
    return make_predictor()


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    (folder / "P1").mkdir(parents=True)
    (folder / "P1/a.png").write_bytes(_png())
    (folder / "P1/a_mask.png").write_bytes(_png())
    (folder / "b.PNG").write_bytes(_png(value=0))
    (folder / "notes.txt").write_text("no image")
    return folder


def test_a_named_file_is_read_whatever_it_is_called(tmp_path, predictor):
    (tmp_path / "slice_mask.dat").write_bytes(_png())
    with open_images([tmp_path / "slice_mask.dat"], ["*_mask.*"]) as found:
        (result,) = predict_files(predictor, found, tmp_path / "out")
    assert result.error == ""


def test_masks_overlays_and_table_agree(images, tmp_path, predictor):
    out = tmp_path / "out"
    with open_images([images], ["*_mask.*"]) as found:
        predict_files(predictor, found, out)
    positive, empty = _rows(out)
    assert (positive["file"], positive["foreground"], positive["error"]) == ("P1/a.png", "yes", "")
    assert (empty["file"], empty["foreground"], empty["area_px"]) == ("b.PNG", "no", "0")
    mask = _read(out / positive["mask"])
    assert mask.shape == (20, 30)
    assert (mask == 255).sum() == int(positive["area_px"]) > 0
    assert _read(out / positive["overlay"]).shape == (20, 30, 3)
    assert positive["area_mm2"] == ""


def test_a_bad_file_is_reported_and_the_rest_go_on(tmp_path, predictor):
    def gone():
        raise FileNotFoundError("it was removed")

    files = [
        ImageFile("broken.png", lambda: _png()[:60]),
        ImageFile("gone.png", gone),
        ImageFile("good.png", _png),
    ]
    seen = []
    results = predict_files(predictor, files, tmp_path, progress=lambda *at: seen.append(at))
    assert [bool(result.error) for result in results] == [True, True, False]
    assert "truncated" in results[0].error
    assert [row["error"] != "" for row in _rows(tmp_path)] == [True, True, False]
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_file_whose_name_is_no_utf8_is_predicted_and_named_in_the_table(tmp_path, predictor):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(_png())
    with open_images([folder]) as found:
        predict_files(predictor, found, out)
    (row,) = _rows(out)
    assert (row["file"], row["error"]) == ("caf\\udce9.png", "")
    assert (out / "masks" / os.fsdecode(b"caf\xe9.png")).is_file()


def test_names_that_collide_or_climb_get_files_of_their_own_below_the_output(tmp_path, predictor):
    names = ["a.png", "a.tif", "A.png", "../../up.png", "/etc/x.png", "..", "C:\\dir\\y.png"]
    out = tmp_path / "deep" / "out"
    results = predict_files(predictor, [ImageFile(name, _png) for name in names], out)
    assert len({result.mask.lower() for result in results}) == len(names)
    assert all((out / result.mask).resolve().is_relative_to(out) for result in results)
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("names", "said"), [(("background", "polyp"), ", 1 with polyp"), (("background", "a", "b"), ", 1 with foreground")]
)
def test_the_summary_counts_the_images_with_foreground_and_names_the_only_class(
    images, tmp_path, make_predictor, names, said
):
    class Ramp:
        name = "ramp"

        def run(self, batch_nchw, table_nf=None):
            first = np.clip(batch_nchw[:, :1], 0.0, 1.0)
            return first if len(names) == 2 else np.concatenate([1 - first, first, 0 * first], axis=1)

    predictor = make_predictor(Ramp(), names=names)
    with open_images([images], ["*_mask.*"]) as found:
        results = predict_files(predictor, found, tmp_path / "out")
    whole = summary(predictor.target, results)
    assert (whole.counts, whole.text, whole.warnings) == ({"with_foreground": 1}, said, ())
    assert [result.found for result in results] == [("foreground",), ()]


def test_metadata_for_a_model_of_masks_are_refused_file_by_file(tmp_path, predictor):
    (result,) = predict_files(predictor, [ImageFile("a.png", _png)], tmp_path, metadata=[{"age": "60"}])
    assert "this model takes no metadata" in result.error


class Bands:
    """Class 1 in the upper half and class 2 in the lower, each less sure than the other."""

    name = "bands"

    def run(self, batch_nchw, table_nf=None):
        answer = np.zeros((len(batch_nchw), 3, *batch_nchw.shape[2:]), np.float32)
        half = batch_nchw.shape[2] // 2
        answer[:, 0], answer[:, 1, :half], answer[:, 2, half:] = 0.1, 0.9, 0.8
        return answer


def test_a_table_of_several_classes_has_columns_for_each_and_masks_hold_the_users_values(tmp_path, make_predictor):
    target = Target("masks", ("background", "posterior", "anterior"), (0, 2, 1))
    predictor = replace(make_predictor(Bands(), names=target.names, size=(20, 30)), target=target)
    results = predict_files(predictor, [ImageFile("a.png", _png), ImageFile("b.png", lambda: b"\x89PNG")], tmp_path)
    first, bad = _rows(tmp_path)
    assert (first["area_px"], first["area_px_posterior"], first["area_px_anterior"]) == ("600", "300", "300")
    assert float(first["probability_posterior"]) == pytest.approx(0.9)
    assert float(first["probability_anterior"]) == pytest.approx(0.8)
    assert (first["volume_ml_posterior"], first["area_mm2_posterior"]) == ("", "")
    assert {bad[f"{name}_posterior"] for name in ("area_px", "area_mm2", "volume_ml", "probability")} == {""}
    mask = _read(tmp_path / first["mask"])
    assert (np.unique(mask[:10]).tolist(), np.unique(mask[10:]).tolist()) == ([2], [1])
    assert results[0].plain()["by_class"]["anterior"]["value"] == 1


def test_a_table_of_one_class_has_no_columns_of_classes(tmp_path, predictor):
    predict_files(predictor, [ImageFile("a.png", _png)], tmp_path)
    assert list(_rows(tmp_path)[0])[-2:] == ["warnings", "error"]


@pytest.mark.parametrize("name", [f"{'b' * 255}.png", f"{'d/' * 2040}e.png", "a.png/b.png"])
def test_a_name_that_cannot_be_written_is_an_error_row_and_the_rest_go_on(tmp_path, predictor, name):
    names = ["a.png", name, "z.png"]
    results = predict_files(predictor, [ImageFile(one, _png) for one in names], tmp_path / "out")
    assert [bool(result.error) for result in results] == [False, True, False]
    assert "cannot be written" in results[1].error
    assert [row["file"] for row in _rows(tmp_path / "out")] == names
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.png")) == ["a.png", "a.png", "z.png", "z.png"]


def test_a_full_disk_is_no_matter_of_one_file(tmp_path, predictor, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medloom.inference.writers.masks.write_soon", full)
    with pytest.raises(OSError, match="No space left"):
        predict_files(predictor, [ImageFile("a.png", _png)], tmp_path)


def test_the_table_says_what_decoding_did(tmp_path, predictor):
    exif = PillowImage.Exif()
    exif[274] = 3
    buffer = io.BytesIO()
    PillowImage.fromarray(np.zeros((20, 30, 3), np.uint8)).save(buffer, "png", exif=exif)
    results = predict_files(predictor, [ImageFile("a.png", buffer.getvalue), ImageFile("b.png", _png)], tmp_path)
    assert [row["notes"] for row in _rows(tmp_path)] == ["EXIF orientation applied", ""]
    assert results[0].plain()["notes"] == ["EXIF orientation applied"]
