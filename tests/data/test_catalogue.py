"""The catalogue survives a round trip through its file."""

import pandas as pd
import pytest

from medloom.data import open_source
from medloom.data.catalogue import COLUMNS, hash_of, image_files, join_files, matches, read_catalogue, write_catalogue
from medloom.errors import DataError
from medloom.files import sha256_bytes


def frame():
    row = {
        "sample_id": "001", "patient_id": "007", "image": 'a,"b".tif', "frame": 0, "mask": "NA", "height": 4,
        "width": 5, "channels": 3, "dtype": "uint8", "sha256": "00", "foreground_px": 0,
        "labels": "", "meta": "", "split": "train", "fold": -1,
    }  # fmt: skip
    return pd.DataFrame([row, {**row, "sample_id": "1e5", "image": "ü.tif", "mask": "", "foreground_px": 9}])


def test_ids_stay_strings_and_numbers_numbers(tmp_path):
    write_catalogue(frame(), tmp_path / "catalogue.csv")
    found = read_catalogue(tmp_path / "catalogue.csv")
    pd.testing.assert_frame_equal(found, frame().assign(context=""), check_dtype=False)
    assert found["patient_id"].tolist() == ["007", "007"]
    assert found["foreground_px"].dtype == "int64"


def test_only_the_catalogues_columns_are_written(tmp_path):
    write_catalogue(frame().assign(real_name="Smith"), tmp_path / "catalogue.csv")
    written = [name for name in COLUMNS if name != "context"]
    assert (tmp_path / "catalogue.csv").read_text().splitlines()[0] == ",".join(written)
    write_catalogue(frame().assign(context='["001","1e5"]'), tmp_path / "catalogue.csv")
    assert (tmp_path / "catalogue.csv").read_text().splitlines()[0] == ",".join(COLUMNS)


def test_a_missing_or_foreign_file_says_what_to_run(tmp_path):
    with pytest.raises(DataError, match="medloom prepare"):
        read_catalogue(tmp_path / "catalogue.csv")
    (tmp_path / "catalogue.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="lacks sample_id"):
        read_catalogue(tmp_path / "catalogue.csv")


@pytest.mark.parametrize("files", [["a.tif"], ["a.tif", "b.tif"], ["", "bü.tif"]])
def test_the_files_of_an_image_fit_into_a_cell(files):
    assert image_files(join_files(files)) == files


@pytest.mark.parametrize("page", [None, 0, 2])
@pytest.mark.parametrize("files", [["a"], ["a", "", "b"]])
def test_the_image_of_a_row_is_known_again_by_its_bytes(tmp_path, files, page):
    held = {name: name.encode() for name in files if name}
    for name, data in held.items():
        (tmp_path / name).write_bytes(data)
    hashes = [sha256_bytes(held[name]) if name else "" for name in files]
    row = pd.Series({"image": join_files(files), "frame": page or 0, "sha256": hash_of(hashes, page)})
    with open_source(tmp_path) as source:
        assert matches(row, source)
        (tmp_path / "a").write_bytes(b"another")
        assert not matches(row, source)
