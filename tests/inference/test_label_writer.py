"""The table of labels: one row a file or page, whatever a file is."""

import csv
import io

import nibabel
import numpy as np
import pytest
import tifffile

from medloom.data.metadata import TableEncoding
from medloom.inference.inputs import ImageFile, SeriesFolder
from medloom.inference.writers import summary
from medloom.serving.batch import predict_files

PAGES = np.random.default_rng(0).random((3, 16, 20)).astype(np.float32)


def _npy(pixels):
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()


def _tiff(pages):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pages, photometric="minisblack")
    return buffer.getvalue()


def _file(name, data):
    return ImageFile(name, lambda: data)


def _table(folder):
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_file_has_a_row_with_the_predictors_own_probabilities(make_labels, tmp_path):
    predictor = make_labels()
    predict_files(predictor, [_file("P1/a.npy", _npy(PAGES[0])), _file("b.npy", _npy(-PAGES[1]))], tmp_path)
    first, second = _table(tmp_path)
    columns = ["file", "page", "probability_benign", "probability_malignant", "decision", "notes", "warnings", "error"]
    assert list(first) == columns
    assert (first["file"], first["page"], first["decision"]) == ("P1/a.npy", "", "malignant")
    assert (second["file"], second["decision"], second["error"]) == ("b.npy", "benign", "")
    scores = predictor.predict(PAGES[0]).scores
    assert float(first["probability_benign"]) == pytest.approx(scores[0], abs=1e-6)
    assert float(first["probability_malignant"]) == pytest.approx(scores[1], abs=1e-6)


def test_labels_that_are_on_are_joined_and_numbers_have_values(make_labels, linear_runtime, tmp_path):
    names = ("left", "right")
    several = make_labels(linear_runtime(2), kind="multi-label", names=names)
    predict_files(several, [_file("a.npy", _npy(PAGES[0]))], tmp_path / "several")
    assert _table(tmp_path / "several")[0]["decision"] == "left;right"
    numbers = make_labels(linear_runtime(2, sigmoid=False), kind="regression", names=names)
    results = predict_files(numbers, [_file("a.npy", _npy(PAGES[0]))], tmp_path / "numbers")
    assert (summary(numbers.target, results).counts, summary(numbers.target, results).text) == ({"decisions": {}}, "")
    (row,) = _table(tmp_path / "numbers")
    assert list(row) == ["file", "page", "value_left", "value_right", "decision", "notes", "warnings", "error"]
    assert float(row["value_right"]) == pytest.approx(2 * float(row["value_left"]), abs=1e-5)


def test_a_bad_file_is_reported_and_the_rest_go_on(make_labels, tmp_path):
    def gone():
        raise FileNotFoundError("it was removed")

    files = [
        _file("broken.npy", _npy(PAGES[0])[:150]),
        ImageFile("gone.npy", gone),
        _file("colours.npy", _npy(np.zeros((8, 8, 3), np.uint8))),
        _file("good.npy", _npy(PAGES[0])),
    ]
    seen = []
    results = predict_files(make_labels(), files, tmp_path, progress=lambda *at: seen.append(at))
    assert [bool(result.error) for result in results] == [True, True, True, False]
    assert [row["probability_benign"] == "" for row in _table(tmp_path)] == [True, True, True, False]
    assert "this model takes 1: grey" in results[2].error
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.fixture(params=["tiff", "nifti", "dicom", "series"])
def several(request, write_dicom, write_series):
    """The same three pages in a file of each kind that can hold them."""
    pixels = (PAGES * 250).astype(np.uint8)
    volume = nibabel.Nifti1Image(pixels.T, np.eye(4)).to_bytes()
    return {
        "tiff": lambda: _file("a.tif", _tiff(pixels)),
        "nifti": lambda: _file("a.nii", volume),
        "dicom": lambda: _file("a.dcm", write_dicom(pixels)),
        "series": lambda: SeriesFolder("a", lambda: write_series(pixels)),
    }[request.param](), pixels


def test_a_file_with_several_pages_has_a_row_for_each(make_labels, tmp_path, several):
    image, pixels = several
    predictor = make_labels()
    results = predict_files(predictor, [image], tmp_path)
    assert [result.page for result in results] == [0, 1, 2]
    for result, page in zip(results, pixels, strict=True):
        assert result.scores["malignant"] == pytest.approx(predictor.predict(page).scores[1], abs=1e-6)
    assert [(row["file"], row["page"]) for row in _table(tmp_path)] == [(image.name, str(n)) for n in range(3)]


def test_one_page_can_be_asked_for(make_labels, tmp_path, several):
    image, pixels = several
    predictor = make_labels()
    if isinstance(image, SeriesFolder):  # always taken whole
        assert len(predict_files(predictor, [image], tmp_path, page=2)) == 3
        return
    (result,) = predict_files(predictor, [image], tmp_path, page=2)
    assert result.page == 2
    assert result.scores["malignant"] == pytest.approx(predictor.predict(pixels[2]).scores[1], abs=1e-6)
    (missing,) = predict_files(predictor, [image], tmp_path, page=7)
    assert "page_required" in missing.error


def test_a_page_that_cannot_be_decoded_is_one_row(make_labels, tmp_path):
    data = bytearray(_tiff(np.ones((3, 16, 20), np.float32)))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        at = file.pages[1].dataoffsets[0]
    data[at : at + 4] = np.float32(np.nan).tobytes()
    results = predict_files(make_labels(), [_file("a.tif", bytes(data))], tmp_path)
    assert [bool(result.error) for result in results] == [False, True, False]
    assert "non_finite" in results[1].error


def test_metadata_belong_to_their_file_and_to_all_of_its_pages(make_labels, linear_runtime, tmp_path):
    rows = [{"age": "40"}, {"age": "60"}]
    runtime = linear_runtime()
    predictor = make_labels(runtime, tables=(TableEncoding.fit(rows, numeric=("age",)),))
    files = [_file("a.npy", _npy(PAGES[0])), _file("b.tif", _tiff(PAGES)), _file("c.npy", _npy(PAGES[0]))]
    given = [{"age": "60"}, {"age": "40"}, {"age": "old"}]
    results = predict_files(predictor, files, tmp_path, metadata=given)
    assert [row for call in runtime.calls for row in call[1].tolist()] == [[1, 0], [-1, 0], [-1, 0], [-1, 0]]
    assert "age: expected a number" in results[-1].error


def test_the_summary_counts_decisions_and_says_which_metadata_training_never_saw(make_labels, linear_runtime, tmp_path):
    table = TableEncoding.fit([{"sex": "female"}], categorical=("sex",))
    predictor = make_labels(linear_runtime(), tables=(table,))
    files = [_file("a.npy", _npy(PAGES[0])), _file("b.npy", _npy(-9 * PAGES[0])), _file("c.npy", _npy(PAGES[0]))]
    results = predict_files(predictor, files, tmp_path, metadata=[{"sex": "female"}, {"sex": "other"}, {}])
    whole = summary(predictor.target, results)
    assert whole.counts == {"decisions": {"benign": 1, "malignant": 2}}
    assert whole.text == ": 1 benign, 2 malignant"
    assert whole.warnings == ("metadata sex: a category that training never saw, for 1 of 3 images",)
    assert results[0].plain()["decision"] == "malignant"


def test_the_table_says_what_decoding_did(make_labels, tmp_path):
    stream = io.BytesIO()
    image = nibabel.Nifti1Image(np.zeros((6, 5, 1), np.int16), np.eye(4))
    stream.write(image.to_bytes() + b"<tail/>")
    results = predict_files(
        make_labels(), [_file("a.nii", stream.getvalue()), _file("b.npy", _npy(PAGES[0]))], tmp_path
    )
    noted, plain = _table(tmp_path)
    assert noted["error"] == ""
    assert "bytes behind the voxels ignored" in noted["notes"]
    assert plain["notes"] == ""
    assert "bytes behind the voxels ignored" in results[0].plain()["notes"]
