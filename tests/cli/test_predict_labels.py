"""``medloom predict`` with a classifier, with volumes and with metadata from a table."""

import csv
import json

import nibabel
import numpy as np
import pytest
from PIL import Image as PillowImage

import medloom
from medloom.cli.main import main
from support.bundles import tiny_label_recipe, tiny_recipe, write_tiny_bundle, write_tiny_label_bundle


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return write_tiny_label_bundle(tmp_path_factory.mktemp("plain") / "model.tar.gz", phantom=True)


@pytest.fixture(scope="module")
def with_metadata(tmp_path_factory):
    folder = tmp_path_factory.mktemp("metadata")
    return write_tiny_label_bundle(folder / "model.tar.gz", tiny_label_recipe(metadata=True))


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grey")
    return write_tiny_bundle(folder / "model.tar.gz", tiny_recipe(channels=("grey",)))


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name, value in (("001.png", 200), ("002.png", 20)):
        PillowImage.fromarray(np.full((20, 24), value, np.uint8)).save(folder / name)
    return folder


def _rows(folder):
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_is_classified_with_the_probabilities_of_the_python_api(classifier, images, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["predict", str(classifier), str(images), "-o", str(out)]) == 0
    text = capsys.readouterr().out
    assert "2 of 2 images predicted: 1 benign, 1 malignant; see" in text
    assert "phantoms" in text
    bright, dark = _rows(out)
    assert [bright["decision"], dark["decision"]] == ["malignant", "benign"]
    expected = medloom.load(classifier).predict((images / "001.png").read_bytes()).scores
    assert float(bright["probability_malignant"]) == pytest.approx(expected[1], abs=1e-6)
    assert sorted(path.name for path in out.iterdir()) == ["predictions.csv"]


def test_a_bad_file_is_named_the_rest_go_on_and_the_exit_code_is_3(classifier, images, tmp_path, capsys):
    (images / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n rest is missing")
    assert main(["predict", str(classifier), str(images), "-o", str(tmp_path / "out"), "--json"]) == 3
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert (result["images"], result["failed"]) == (3, 1)
    assert result["decisions"] == {"benign": 1, "malignant": 1}
    assert [one.get("decision") for one in result["results"]] == ["malignant", "benign", None]
    assert "bad.png" in captured.err


def test_the_json_of_an_image_has_the_keys_of_a_servers_answer(classifier, images, tmp_path, capsys):
    assert main(["predict", str(classifier), str(images), "-o", str(tmp_path / "out"), "--json"]) == 0
    first, *_ = json.loads(capsys.readouterr().out)["results"]
    expected = medloom.load(classifier).predict((images / "001.png").read_bytes())
    assert first == {"file": first["file"], "page": None, "error": "", "notes": [], **expected.plain()}
    assert {"probabilities", "decision", "operating_point"} <= first.keys()


def test_metadata_of_the_table_reach_the_model_and_what_is_missing_is_said(with_metadata, images, tmp_path, capsys):
    table = tmp_path / "people.csv"
    table.write_text("sex,file,age,name\nmale,002,61,Jane Doe\nfemale,1,30,John Doe\n")
    command = ["predict", str(with_metadata), str(images), "-o", str(tmp_path / "out")]
    assert main([*command, "--metadata", str(table), "--id", "file"]) == 0
    captured = capsys.readouterr()
    first, second = _rows(tmp_path / "out")
    predictor = medloom.load(with_metadata)
    blank = predictor.predict((images / "001.png").read_bytes()).scores[1]
    known = predictor.predict((images / "002.png").read_bytes(), metadata={"age": 61, "sex": "male"}).scores[1]
    assert float(first["probability_malignant"]) == pytest.approx(blank, abs=1e-6)
    assert float(second["probability_malignant"]) == pytest.approx(known, abs=1e-6)
    assert "1 of 2, 001.png" in captured.err
    assert "about none of the images: 1, line 3" in captured.err
    assert "Doe" not in captured.err + captured.out


def test_without_a_table_the_columns_are_named_that_count_as_blank(with_metadata, images, tmp_path, capsys):
    assert main(["predict", str(with_metadata), str(images), "-o", str(tmp_path / "out")]) == 0
    assert "the model also takes age, sex" in capsys.readouterr().err


def test_categories_that_training_never_saw_are_said(with_metadata, images, tmp_path, capsys):
    (tmp_path / "people.csv").write_text("image,age,sex\n001,50,male\n002,500,diverse\n")
    command = ["predict", str(with_metadata), str(images), "-o", str(tmp_path / "out"), "--json"]
    assert main([*command, "--metadata", str(tmp_path / "people.csv")]) == 0
    captured = capsys.readouterr()
    assert "metadata sex: a category that training never saw, for 1 of 2 images" in captured.err
    found = [result["metadata"] for result in json.loads(captured.out)["results"]]
    assert [(one["missing"], one["unknown"], one["outside"]) for one in found] == [([], [], []), ([], ["sex"], ["age"])]
    first, second = _rows(tmp_path / "out")
    assert (first["warnings"], first["error"]) == ("", "")
    assert second["warnings"].startswith("metadata age: outside what training saw")
    assert main([*command, "--strict", "--metadata", str(tmp_path / "people.csv")]) == 3
    first, second = _rows(tmp_path / "out")
    assert (first["error"], second["probability_malignant"]) == ("", "")
    assert second["error"].startswith("unlike the training data: metadata age: outside")


def test_a_value_that_is_no_number_is_an_error_of_its_image_alone(with_metadata, images, tmp_path, capsys):
    (tmp_path / "people.csv").write_text("image,age,sex\n001,old,\n002,30,\n")
    command = ["predict", str(with_metadata), str(images), "-o", str(tmp_path / "out")]
    assert main([*command, "--metadata", str(tmp_path / "people.csv")]) == 3
    first, second = _rows(tmp_path / "out")
    assert "age: expected a number" in first["error"]
    assert (second["error"], second["decision"]) == ("", "benign")
    assert "old" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        ("image,age,sex\n001,1,\n001.png,2,\n", [], "line 2: about the same image as line 3"),
        ("image,age,sex\nx,1,\nx,2,\n", [], "line 2: about the same image as line 3"),
        ("image,age,sex\n001,1,\n", ["--id", "file"], "no column 'file'"),
        ("image,weight\n001,1\n", [], "none of the metadata columns that the model takes: age, sex"),
        (None, [], "cannot be read"),
    ],
)
def test_a_table_that_does_not_fit_stops_before_anything_is_written(
    with_metadata, images, tmp_path, capsys, text, options, reason
):
    table = tmp_path / "people.csv"
    if text is not None:
        table.write_text(text)
    command = ["predict", str(with_metadata), str(images), "-o", str(tmp_path / "out"), "--metadata", str(table)]
    assert main([*command, *options]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_metadata_for_models_that_take_none_are_refused(classifier, segmenter, images, tmp_path, capsys):
    (tmp_path / "people.csv").write_text("image,age\n001,1\n")
    for bundle in (classifier, segmenter):
        command = ["predict", str(bundle), str(images), "-o", str(tmp_path / "out")]
        assert main([*command, "--metadata", str(tmp_path / "people.csv")]) == 2
        assert "takes no metadata" in capsys.readouterr().err
    assert main([*command, "--id", "image"]) == 2


@pytest.fixture
def scan(tmp_path):
    voxels = np.full((20, 24, 4), 20, np.uint8)
    voxels[5:12, 8:18, 1:3] = 250
    path = tmp_path / "scans" / "head.nii.gz"
    path.parent.mkdir()
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-0.5, 0.75, 3.0, 1.0])), path)
    return path


def test_a_volume_in_a_folder_is_segmented_into_a_volume_that_lies_upon_it(segmenter, scan, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["predict", str(segmenter), str(scan.parent), "-o", str(out), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["results"]
    given, found = nibabel.load(scan), nibabel.load(out / "masks/head.nii.gz")
    np.testing.assert_array_equal(found.affine, given.affine)
    truth, mask = np.asarray(given.dataobj) == 250, np.asarray(found.dataobj) == 1
    assert mask.shape == truth.shape
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.9
    assert (row["slices"], row["area_px"]) == (4, int(mask.sum()))
    assert row["volume_ml"] == pytest.approx(mask.sum() * 0.5 * 0.75 * 3.0 / 1000)


def test_a_volume_is_classified_page_by_page(classifier, scan, tmp_path):
    assert main(["predict", str(classifier), str(scan), "-o", str(tmp_path / "all")]) == 0
    assert [row["page"] for row in _rows(tmp_path / "all")] == ["0", "1", "2", "3"]
    assert main(["predict", str(classifier), str(scan), "--page", "1", "-o", str(tmp_path / "one")]) == 0
    (row,) = _rows(tmp_path / "one")
    assert row == _rows(tmp_path / "all")[1]


def _write_series(folder, uid, count=3):
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    folder.mkdir(parents=True)
    for number in range(count):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"1.2.3.{number}"
        data.SeriesInstanceUID = uid
        data.PatientName, data.PatientID = "Doe^Jane", "canary-7"
        data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 20, 24, 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
        data.ImageOrientationPatient, data.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.5, 0.75]
        data.ImagePositionPatient = [0, 0, 5 * number]
        pixels = np.full((20, 24), 20, np.uint8)
        pixels[4:9, 6:15] = 250 if number == 2 else 20
        data.PixelData = pixels.tobytes()
        data["PixelData"].VR = "OB"
        data.save_as(folder / f"IM{(number * 2) % 3}", enforce_file_format=True)


def test_folders_are_read_as_one_series_each_and_one_of_several_is_reported(segmenter, tmp_path, capsys):
    _write_series(tmp_path / "good", "1.2.3")
    _write_series(tmp_path / "mixed" / "a", "1.2.4")
    _write_series(tmp_path / "mixed" / "b", "1.2.5", count=2)
    folders = [str(tmp_path / name) for name in ("good", "mixed")]
    assert main(["predict", str(segmenter), *folders, "--series", "-o", str(tmp_path / "out")]) == 3
    captured = capsys.readouterr()
    assert "mixed: the files belong to 2 series" in captured.err
    good, mixed = _rows(tmp_path / "out")
    assert (good["file"], good["slices"], good["foreground"], good["error"]) == ("good", "3", "yes", "")
    assert (mixed["file"], mixed["mask"]) == ("mixed", "")
    found = nibabel.load(tmp_path / "out" / good["mask"])
    assert found.shape == (24, 20, 3)
    at = np.argwhere(np.asarray(found.dataobj)).min(axis=0)
    assert at[2] == 2  # the highest slice, whatever its file is called
    np.testing.assert_allclose(found.affine @ [0, 0, 2, 1], [0, 0, 10, 1])
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    for canary in (b"Doe", b"canary"):
        assert canary not in written + captured.err.encode() + captured.out.encode()


def test_one_of_several_series_is_chosen_by_its_index_or_uid(segmenter, tmp_path, capsys):
    _write_series(tmp_path / "mixed" / "a", "1.2.4")
    _write_series(tmp_path / "mixed" / "b", "1.2.5", count=2)
    command = ["predict", str(segmenter), str(tmp_path / "mixed"), "-o", str(tmp_path / "out"), "--series"]
    assert main(command) == 3
    error = capsys.readouterr().err
    assert "choose one by its index or UID (--series)" in error
    assert "series 1: 2 slices" in error
    for series, slices in (("0", "3"), ("1", "2"), ("1.2.5", "2"), ("1.2.4", "3")):
        assert main([*command, series]) == 0
        assert _rows(tmp_path / "out")[0]["slices"] == slices
    assert main([*command, "2"]) == 3


def test_a_series_and_a_page_exclude_each_other(segmenter, scan, tmp_path, capsys):
    command = ["predict", str(segmenter), str(scan.parent), "--series", "--page", "1", "-o", str(tmp_path / "out")]
    assert main(command) == 2
    assert "--series" in capsys.readouterr().err


def test_the_help_says_both_tasks(capsys):
    assert main(["predict", "--help"]) == 0
    text = capsys.readouterr().out
    for word in ("Segment or classify", "--metadata", "--id", "--series", "NIfTI"):
        assert word in text


def test_classifying_imports_no_torch(with_metadata, images, scan, tmp_path, modules_after):
    (tmp_path / "people.csv").write_text("image,age,sex\n001,1,\n")
    command = ["predict", str(with_metadata), str(images), str(scan), "-o", str(tmp_path / "out")]
    command += ["--metadata", str(tmp_path / "people.csv")]
    loaded = modules_after(f"from medloom.cli.main import main\nassert main({command!r}) == 0")
    assert loaded.isdisjoint({"torch", "lightning", "monai"})
