"""A model that sees slices with those beside them gives one answer to a stack in whatever form it comes."""

import csv
import io
import zipfile

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from medloom.errors import DecodeError, InputError
from medloom.inference.inputs import open_images
from medloom.inference.stacks import Surrounded, in_order
from medloom.serving.batch import predict_files

AFFINE = np.array([[-0.75, 0, 0, -10], [0, -0.5, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]], np.float64)
DEPTH = 5
RNG = np.random.default_rng(0)
VOXELS = (RNG.random((DEPTH, 17, 12)) > 0.7).astype(np.uint8)
"""From the feet to the head."""

ABOVE = VOXELS[[*range(1, DEPTH), DEPTH - 1]]
"""What ``FakeRuntime`` answers: the last channel, which is the slice above, and the last one at the end."""


@pytest.fixture
def predictor(make_predictor):
    return make_predictor(channels=("grey",), size=(17, 12), context=1, orientation="axial")


def _png(plane):
    stream = io.BytesIO()
    PillowImage.fromarray(plane).save(stream, "png")
    return stream.getvalue()


def _pages(planes):
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for plane in planes:
            writer.write(plane, contiguous=False)
    return stream.getvalue()


@pytest.fixture
def forms(tmp_path, write_series, write_enhanced):
    """The same stack in all forms, and whether the file says where it lies."""
    flipped = AFFINE @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, DEPTH - 1], [0, 0, 0, 1]])
    nibabel.Nifti1Image(VOXELS.T, AFFINE).to_filename(tmp_path / "a.nii.gz")
    nibabel.Nifti1Image(VOXELS[::-1].T, flipped).to_filename(tmp_path / "downwards.nii")
    for name in ("series", "numbered"):
        (tmp_path / name).mkdir()
    for number, data in enumerate(write_series(VOXELS)):
        (tmp_path / "series" / f"IM{number}").write_bytes(data)
    (tmp_path / "enhanced.dcm").write_bytes(write_enhanced(VOXELS))
    with zipfile.ZipFile(tmp_path / "numbered.zip", "w") as archive:
        for number, plane in enumerate(VOXELS):
            (tmp_path / "numbered" / f"s_{number + 8}.png").write_bytes(_png(plane))
            (tmp_path / "numbered" / f"s_{number + 8}_mask.png").write_bytes(_png(plane))
            archive.writestr(f"deep/s_{number + 8}.png", _png(plane))
    (tmp_path / "pages.tif").write_bytes(_pages(VOXELS))
    return tmp_path


def test_every_form_of_a_stack_is_seen_with_its_neighbours(predictor, forms):
    for name in ("a.nii.gz", "series", "enhanced.dcm", "numbered", "numbered.zip", "pages.tif"):
        np.testing.assert_array_equal(predictor.predict(forms / name).mask, ABOVE, err_msg=name)
    np.testing.assert_array_equal(predictor.predict(forms / "downwards.nii").mask, ABOVE[::-1])
    np.testing.assert_array_equal(predictor.predict((forms / "pages.tif").read_bytes()).mask, ABOVE)
    found = predictor.predict(forms / "numbered")
    assert found.plain()["slices"] == DEPTH
    assert found.volume_ml is None


def test_the_network_sees_the_lowest_slice_first(predictor, forms):
    below = predictor.runtime.__class__()
    below.run = lambda batch, table=None: np.clip(batch[:, :1], 0, 1)
    predictor = type(predictor)(**{**vars(predictor), "runtime": below})
    np.testing.assert_array_equal(predictor.predict(forms / "a.nii.gz").mask, VOXELS[[0, *range(DEPTH - 1)]])


def test_slices_in_python_are_ordered_by_their_places_or_taken_as_given(predictor, forms):
    paths = sorted((forms / "series").iterdir())  # from the head to the feet
    masks = [found.mask for found in predictor.predict_slices(paths)]
    np.testing.assert_array_equal(masks, ABOVE[::-1])
    masks = [found.mask for found in predictor.predict_slices(list(VOXELS))]
    np.testing.assert_array_equal(masks, ABOVE)
    with pytest.raises(InputError, match="two slices of one stack are at one place"):
        predictor.predict_slices([paths[0], paths[0]])


@pytest.mark.parametrize("name", ["numbered/s_8.png", "series/IM0"])
def test_one_image_alone_is_refused_with_what_is_needed(predictor, forms, name):
    needed = "with 1 on either side of it, and this is one image alone; expected a whole volume"
    for ask in (
        lambda: predictor.predict(forms / name),
        lambda: predictor.predict((forms / name).read_bytes()),
        lambda: predictor.predict(VOXELS[0]),
        lambda: predictor.predict(forms / "pages.tif", page=2),
        lambda: predictor.predict(forms / "a.nii.gz", page=2),
        lambda: predictor.predict_slices([forms / name]),
        lambda: predictor.predict_batch([forms / name], on_error="raise"),
    ):
        with pytest.raises(InputError, match=needed):
            ask()


def test_files_of_several_stacks_or_without_numbers_are_no_volume(predictor, forms):
    (forms / "numbered" / "t_1.png").write_bytes(_png(VOXELS[0]))
    with pytest.raises(InputError, match="6 images are not known to be the slices of one stack"):
        predictor.predict(forms / "numbered")
    (forms / "numbered" / "t_1.png").rename(forms / "numbered" / "s_1.png")
    (forms / "numbered" / "s_1.png").write_bytes(_png(VOXELS[0, :9]))
    with pytest.raises(InputError, match="several sizes: 9x12, 17x12"):
        predictor.predict(forms / "numbered")


def _rows(folder):
    with (folder / "predictions.csv").open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_files_in_folders_are_predicted_with_those_beside_them(predictor, forms, tmp_path):
    (forms / "numbered" / "s_10.png").unlink()
    (forms / "numbered" / "alone.png").write_bytes(_png(VOXELS[0]))
    with open_images([forms], ["*_mask.*", "*.zip"]) as images:
        predict_files(predictor, images, tmp_path / "out")
    rows, masks = _rows(tmp_path / "out"), tmp_path / "out" / "masks"
    for number, above in ((8, 9), (9, 9), (11, 12), (12, 12)):
        with PillowImage.open(masks / f"numbered/s_{number}.png") as mask:
            np.testing.assert_array_equal(np.asarray(mask) > 0, VOXELS[above - 8])
        missing = number in (9, 11)
        assert ("one towards it was taken twice" in rows[f"numbered/s_{number}.png"]["warnings"]) == missing
    assert "one image alone" in rows["numbered/alone.png"]["error"]
    for number in range(DEPTH):  # from the head to the feet
        with PillowImage.open(masks / f"series/IM{number}.png") as mask:
            np.testing.assert_array_equal(np.asarray(mask) > 0, ABOVE[DEPTH - 1 - number])
    for name in ("a", "pages"):
        np.testing.assert_array_equal(nibabel.load(masks / f"{name}.nii.gz").dataobj, ABOVE.T)


def test_files_of_several_patients_in_one_folder_are_not_taken_for_a_stack_without_a_word(predictor, tmp_path):
    for name, plane in zip(("P1_7", "P2_7", "P3_7"), VOXELS, strict=False):
        (tmp_path / f"{name}.png").write_bytes(_png(plane))
    with open_images([tmp_path], ["*_mask.*"]) as images:
        predict_files(predictor, images, tmp_path / "out")
    assert all("may be of other patients" in row["warnings"] for row in _rows(tmp_path / "out").values())


def test_slices_of_stacks_with_numbers_of_their_own_are_not_doubted(predictor, tmp_path):
    for patient in (1, 2):
        for number, plane in enumerate(VOXELS):
            (tmp_path / f"P{patient}_{number}.png").write_bytes(_png(plane))
    with open_images([tmp_path], ["*_mask.*"]) as images:
        predict_files(predictor, images, tmp_path / "out")
    rows = _rows(tmp_path / "out")
    assert len(rows) == 2 * DEPTH
    assert not any("other patients" in row["warnings"] for row in rows.values())


def test_slices_from_files_may_be_as_large_as_other_images_from_files(make_predictor, tmp_path):
    predictor = make_predictor(channels=("grey",), size=(17, 12), context=1)
    paths = [tmp_path / "0.npy", tmp_path / "1.npy"]
    for path in paths:
        np.save(path, np.zeros((1850, 1850)))  # 27 MB, and a server takes 25 MiB
    assert [found.mask.shape for found in predictor.predict_slices(paths)] == [(1850, 1850)] * 2
    with pytest.raises(DecodeError) as refused:
        predictor.predict_slices([path.read_bytes() for path in paths])
    assert refused.value.code == "too_large"


def test_a_slice_beside_a_bad_file_says_so(predictor, forms, tmp_path):
    (forms / "numbered" / "s_9.png").write_bytes(_png(VOXELS[1])[:60])
    with open_images([forms / "numbered"], ["*_mask.*"]) as images:
        predict_files(predictor, images, tmp_path / "out")
    rows = _rows(tmp_path / "out")
    assert rows["s_9.png"]["error"].startswith("truncated")
    assert [rows[f"s_{number}.png"]["error"] for number in (8, 10, 11, 12)] == [""] * 4
    said = ["a slice beside it is missing" in rows[f"s_{number}.png"]["warnings"] for number in (8, 10, 11, 12)]
    assert said == [True, True, False, False]


def test_labels_of_slices_are_seen_with_those_beside_them(make_labels, linear_runtime, forms, tmp_path):
    predictor = make_labels(linear_runtime(), size=(17, 12), context=1, orientation="axial")
    expected = [found.scores[1] for found in predictor.predict_slices(list(VOXELS))]
    assert len(set(expected)) == DEPTH
    volume = predictor.predict(forms / "a.nii.gz")
    assert [found.scores[1] for found in volume.slices] == expected
    with open_images([forms], ["*_mask.*", "*.zip", "*.nii"]) as images:
        found = predict_files(predictor, images, tmp_path / "out")
    by_file = {}
    for one in found:
        assert one.error == ""
        by_file.setdefault(one.file.partition("/")[0], []).append(one.prediction.scores[1])
    assert by_file["a.nii.gz"] == by_file["pages.tif"] == expected
    assert sorted(by_file["numbered"]) == sorted(expected)
    assert by_file["series"] == by_file["enhanced.dcm"] == expected[::-1]


def test_a_model_without_context_sees_each_slice_by_itself(make_predictor, forms):
    predictor = make_predictor(channels=("grey",), size=(17, 12), orientation="axial")
    np.testing.assert_array_equal(predictor.predict(forms / "a.nii.gz").mask, VOXELS)
    np.testing.assert_array_equal([one.mask for one in predictor.predict_slices(list(VOXELS))], VOXELS)
    assert predictor.runtime.batches == [1] * (2 * DEPTH)


def test_a_slice_is_prepared_once_whatever_the_order_and_let_go_when_it_is_done_with(make_predictor):
    prepare = make_predictor(channels=("grey",), size=(17, 12)).prepare
    for order in ([0, 1, 2, 3, 4], [3, 0, 4, 2, 1]):
        prepared = []
        seen = Surrounded(
            lambda number, into=prepared: (into.append(number), prepare(VOXELS[number]))[1], in_order(5, 1)
        )
        for number in order:
            assert seen(number).slices == 3
        assert sorted(prepared) == [0, 1, 2, 3, 4]
        assert seen._kept == {}
