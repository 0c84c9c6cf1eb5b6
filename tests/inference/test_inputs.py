"""What is found in the paths that a user names."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image as PillowImage

from medloom.errors import DataError
from medloom.imaging import DEFAULT_BUDGET, FILE_BUDGET
from medloom.inference.inputs import ImageFile, SeriesFolder, open_images, read_input


def _png():
    buffer = io.BytesIO()
    PillowImage.fromarray(np.zeros((8, 8), np.uint8)).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    (folder / "P1").mkdir(parents=True)
    for name in ("P1/a.png", "P1/a_mask.png", "b.PNG", "scan.nii.gz", "other.NII.GZ", "plain.nii", "c.dcm"):
        (folder / name).write_bytes(_png())
    for name in ("notes.txt", "table.csv", "backup.gz"):
        (folder / name).write_text("no image")
    return folder


FOUND = ["P1/a.png", "b.PNG", "c.dcm", "other.NII.GZ", "plain.nii", "scan.nii.gz"]


def _zip(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*.*"):
            archive.write(file, file.relative_to(folder))
    return path


def test_a_folder_and_a_zip_of_it_list_the_same_images_and_volumes_without_masks(images, tmp_path):
    for path in (images, _zip(images, tmp_path / "images.zip")):
        with open_images([path], ["*_mask.*"]) as found:
            assert [one.name for one in found] == FOUND
            assert found[0].read() == _png()
    with open_images([images]) as found:
        assert len(found) == len(FOUND) + 1


def test_a_zip_among_the_images_is_listed_and_refused_unless_it_is_skipped(images, tmp_path):
    _zip(images, images / "more.ZIP")
    for path in (images, _zip(images, tmp_path / "images.zip")):
        with open_images([path], ["*_mask.*"]) as found:
            assert [one.name for one in found] == sorted([*FOUND, "more.ZIP"])
            with pytest.raises(DataError, match="name it by itself"):
                next(one for one in found if one.name == "more.ZIP").read()
        with open_images([path], ["*_mask.*", "*.ZIP"]) as found:
            assert [one.name for one in found] == FOUND


def test_of_a_named_file_that_is_far_too_large_not_all_is_read(tmp_path):
    with (tmp_path / "huge.tif").open("wb") as file:
        file.truncate(FILE_BUDGET.max_bytes + 2**30)
    with open_images([tmp_path / "huge.tif"]) as (image,):
        assert len(image.read()) == FILE_BUDGET.max_bytes + 1


def test_dicom_as_scanners_write_it_is_found_without_a_suffix(tmp_path, write_series):
    for name, data in zip(("IM0001", "1.2.840.7"), write_series(np.zeros((2, 4, 6), np.int16)), strict=True):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "README").write_text("no image")
    with open_images([tmp_path]) as found:
        assert [one.name for one in found] == ["1.2.840.7", "IM0001"]


def test_a_missing_path_is_an_error(tmp_path):
    with pytest.raises(DataError), open_images([tmp_path / "nothing"]):
        pass


def test_the_stem_of_a_file_has_no_suffix_of_an_image_and_that_of_a_series_is_its_name():
    assert ImageFile("p.1/a.b.nii.gz", bytes).stem == "p.1/a.b"
    assert SeriesFolder("1.2.840.dcm", list).stem == "1.2.840.dcm"


def _write_series(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(files):
        (folder / f"IM{number:03d}").write_bytes(data)
    return folder


VOXELS = np.arange(4 * 5 * 6, dtype=np.uint16).reshape(4, 5, 6)


def test_a_folder_is_one_series_whatever_its_files_are_called_and_its_other_files_are_left_alone(
    tmp_path, write_series
):
    folder = _write_series(tmp_path / "1.2.840.1" / "deep", write_series(VOXELS)).parent
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(20))
    (folder / "notes.txt").write_text("not DICOM")
    with open_images([folder, _zip_all(folder, tmp_path / "s.zip")], series="") as found:
        assert [one.name for one in found] == ["1.2.840.1", "s.zip"]
        for one in found:
            volume = read_input(one, page=None, budget=DEFAULT_BUDGET)
            np.testing.assert_array_equal(volume.voxels, VOXELS)


def _zip_all(folder, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return path


def test_several_series_in_a_folder_are_an_error_that_counts_their_slices(tmp_path, write_series):
    _write_series(tmp_path / "both" / "one", write_series(VOXELS))
    _write_series(tmp_path / "both" / "two", write_series(VOXELS[:3], SeriesInstanceUID="1.2.9"))
    with (
        open_images([tmp_path / "both"], series="") as (found,),
        pytest.raises(DataError, match=r"2 series.*\n.*series 0: 4 slices\n.*series 1: 3 slices"),
    ):
        read_input(found, page=None, budget=DEFAULT_BUDGET)


def test_a_damaged_file_of_a_series_is_not_left_out(tmp_path, write_series):
    folder = _write_series(tmp_path / "series", write_series(VOXELS))
    (folder / "cut.dcm").write_bytes(b"no DICOM")
    with open_images([folder], series="") as (found,), pytest.raises(DataError, match="1 files are no DICOM"):
        read_input(found, page=None, budget=DEFAULT_BUDGET)


def test_a_folder_without_dicom_is_no_series(images):
    with open_images([images], ["c.dcm"], series="") as (found,), pytest.raises(DataError, match="no DICOM files"):
        read_input(found, page=None, budget=DEFAULT_BUDGET)
