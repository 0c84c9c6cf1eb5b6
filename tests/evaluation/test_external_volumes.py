"""Folders of masks in any format, measured where their voxels lie; compared with NumPy, nibabel, SciPy and MONAI."""

import gzip
import itertools
import json

import nibabel
import numpy as np
import pandas as pd
import pytest
import tifffile
from monai.metrics import compute_hausdorff_distance

from medloom.cli.main import main
from medloom.errors import DataError, UserError
from medloom.evaluation.external import evaluate_masks
from medloom.metrics import hausdorff95
from support.segmentations import AFFINE as SEG_AFFINE
from support.segmentations import make_labels, write_seg

AFFINE = np.diag([0.8, 1.5, 3.0, 1.0])
ORIENTATIONS = [
    np.column_stack([order, signs])
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


def _labels(seed=0, shape=(9, 8, 7), values=(0, 1, 2)):
    rng = np.random.default_rng(seed)
    truth = rng.choice(values, shape, p=[0.7, 0.2, 0.1][: len(values)] if len(values) == 3 else None).astype(np.uint8)
    guess = np.where(rng.random(shape) < 0.8, truth, rng.choice(values, shape)).astype(np.uint8)
    return truth, guess


def _dice(truth, guess, value):
    a, b = truth == value, guess == value
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def _write(path, voxels, affine=AFFINE, orientation=None):
    """Write voxels (i, j, k) with nibabel, stored in another orientation if one is asked for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(voxels, affine)
    nibabel.save(image if orientation is None else image.as_reoriented(orientation), path)


def _measure(tmp_path, **options):
    summary = evaluate_masks(tmp_path / "true", tmp_path / "predicted", tmp_path / "out", resamples=0, **options)
    return summary, pd.read_csv(tmp_path / "out" / "cases.csv")


def test_volumes_have_the_same_dice_however_they_are_stored(tmp_path):
    pairs = []
    for number, orientation in enumerate(ORIENTATIONS):
        truth, guess = _labels(number)
        _write(tmp_path / "true" / f"case{number:02d}.nii.gz", truth)
        _write(tmp_path / "predicted" / f"case{number:02d}.nii", guess, orientation=orientation)
        pairs.append((truth, guess))
    summary, cases = _measure(tmp_path)
    assert len(cases) == 2 * len(ORIENTATIONS)
    for value in (1, 2):
        found = cases[cases["class"] == f"class {value}"]["dice"]
        np.testing.assert_allclose(found, [_dice(truth, guess, value) for truth, guess in pairs])
    assert "over images" in summary["warnings"][0]


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
def test_distances_in_a_volume_go_through_its_slices_and_are_in_mm(tmp_path):
    truth, guess = np.zeros((2, 14, 12, 10), np.uint8)
    truth[3:9, 3:8, 2:7] = 1
    guess[5:11, 2:8, 4:9] = 1
    _write(tmp_path / "true" / "a.nii.gz", truth)
    _write(tmp_path / "predicted" / "a.nii.gz", guess, orientation=ORIENTATIONS[29])
    _, cases = _measure(tmp_path)
    batch = (np.stack([mask == 0, mask == 1])[None] for mask in (guess, truth))
    expected = compute_hausdorff_distance(*batch, percentile=95, spacing=(0.8, 1.5, 3.0)).item()
    assert cases["hd95_unit"].tolist() == ["mm"]
    assert cases["hd95"].item() == pytest.approx(expected, rel=1e-5)
    assert cases["pixels"].item() == truth.size


def test_another_grid_is_refused_naming_both(tmp_path):
    truth, guess = _labels()
    _write(tmp_path / "true" / "a.nii.gz", truth)
    _write(tmp_path / "predicted" / "a.nii.gz", guess, np.diag([0.8, 1.5, 2.0, 1.0]))
    _write(tmp_path / "true" / "b.nii.gz", truth)
    _write(tmp_path / "predicted" / "b.nii.gz", guess[:-1])
    with pytest.raises(DataError) as caught:
        _measure(tmp_path)
    first, second = caught.value.problems
    assert first.startswith(
        "a.nii.gz: it lies on another grid than its prediction: 7 slices of 8x9 pixels of 1.5x0.8x3 mm"
    )
    assert "its prediction 7 slices of 8x9 pixels of 1.5x0.8x2 mm" in first
    assert second.startswith("b.nii.gz: it lies on another grid")


FORMATS = {
    "npy": lambda path, voxels: np.save(path, voxels),
    "npy as float": lambda path, voxels: np.save(path, voxels.astype(np.float64)),
    "tif": lambda path, voxels: tifffile.imwrite(path, voxels, photometric="minisblack"),
    "zipped tif": lambda path, voxels: tifffile.imwrite(path, voxels, compression="zlib", photometric="minisblack"),
}


@pytest.mark.parametrize("first", FORMATS)
@pytest.mark.parametrize("second", FORMATS)
def test_stacks_without_a_place_are_compared_slice_by_slice(tmp_path, first, second):
    truth, guess = _labels()
    for folder, kind, voxels in (("true", first, truth), ("predicted", second, guess)):
        (tmp_path / folder).mkdir()
        FORMATS[kind](tmp_path / folder / f"a.{kind.split()[-1].replace('float', 'npy')}", voxels)
    _, cases = _measure(tmp_path)
    assert cases["dice"].tolist() == pytest.approx([_dice(truth, guess, 1), _dice(truth, guess, 2)])
    assert set(cases["hd95_unit"]) == {"px"}


def test_a_volume_without_a_place_is_not_compared_with_one_that_has_one(tmp_path):
    truth, guess = _labels()
    _write(tmp_path / "true" / "a.nii.gz", truth)
    (tmp_path / "predicted").mkdir()
    np.save(tmp_path / "predicted" / "a.npy", guess.T)
    with pytest.raises(DataError, match=r"cannot be measured") as caught:
        _measure(tmp_path)
    assert "the prediction does not say where its voxels lie" in caught.value.problems[0]


def test_one_slice_as_nifti_and_as_png_is_compared_as_stored_and_it_is_said(tmp_path):
    from PIL import Image

    truth, guess = _labels(shape=(9, 8, 1))
    _write(tmp_path / "true" / "a.nii.gz", truth)
    (tmp_path / "predicted").mkdir()
    Image.fromarray(guess[..., 0].T).save(tmp_path / "predicted" / "a.png")
    summary, cases = _measure(tmp_path)
    assert cases["dice"].tolist() == pytest.approx([_dice(truth, guess, 1), _dice(truth, guess, 2)])
    assert "1 of the masks were compared as they are stored" in summary["warnings"][-1]


@pytest.mark.parametrize("values", [(0, 1, 2, 4), (0, 300, 1000), (0, 2, 1)])
def test_values_of_any_size_are_classes_of_their_own(tmp_path, values):
    rng = np.random.default_rng(0)
    truth, guess = rng.choice(values, (2, 9, 8, 7)).astype(np.uint16)
    _write(tmp_path / "true" / "a.nii.gz", truth)
    _write(tmp_path / "predicted" / "a.nii.gz", guess.astype(np.float32), orientation=ORIENTATIONS[5])
    _, cases = _measure(tmp_path)
    found = dict(zip(cases["class"], cases["dice"], strict=True))
    assert found == {f"class {value}": pytest.approx(_dice(truth, guess, value)) for value in values[1:]}
    named = [f"{name}={value}" for name, value in zip(("background", "x", "y", "z"), values, strict=False)]
    _, cases = _measure(tmp_path, classes=named)
    found = dict(zip(cases["class"], cases["dice"], strict=True))
    assert found["y"] == pytest.approx(_dice(truth, guess, values[2]))


def test_values_of_no_class_are_refused_with_what_to_do(tmp_path):
    truth, guess = _labels(values=(0, 1, 4))
    _write(tmp_path / "true" / "a.nii.gz", truth)
    _write(tmp_path / "predicted" / "a.nii.gz", guess)
    with pytest.raises(DataError, match=r"the values 4, which belong to no class.*background=0"):
        _measure(tmp_path, classes=("background", "core", "rim"))


@pytest.mark.parametrize("classes", [("a=0", "b"), ("a=0", "b=x"), ("a=0", "b=0"), ("a", "a"), ("=0", "b=1")])
def test_classes_that_cannot_be_understood_are_refused(tmp_path, classes):
    truth, guess = _labels()
    _write(tmp_path / "true" / "a.nii.gz", truth)
    _write(tmp_path / "predicted" / "a.nii.gz", guess)
    with pytest.raises(UserError, match="--classes"):
        _measure(tmp_path, classes=classes)


def test_one_class_of_another_value_on_either_side_is_said_unless_it_is_black_and_white(tmp_path):
    truth = np.zeros((5, 5, 5), np.uint8)
    truth[1:3] = 1
    for value, warned in ((1, False), (255, False), (2, True)):
        folder = tmp_path / str(value)
        _write(folder / "true" / "a.nii", truth)
        _write(folder / "predicted" / "a.nii", truth * np.uint8(value))
        summary, cases = _measure(folder)
        assert cases["dice"].tolist() == [1.0]
        assert any(f"the value 1 beside 0 and predicted ones {value}" in one for one in summary["warnings"]) == warned


@pytest.mark.parametrize("bad", [np.float32(0.5), np.float32(-1), np.float32(np.nan), np.float32(70000)])
def test_what_holds_no_class_values_is_named(tmp_path, bad):
    truth, guess = _labels()
    _write(tmp_path / "true" / "a.nii", truth)
    _write(tmp_path / "predicted" / "a.nii", np.where(guess, bad, guess))
    np.save(tmp_path / "true" / "b.npy", np.where(guess, bad, guess))
    np.save(tmp_path / "predicted" / "b.npy", guess)
    with pytest.raises(DataError, match="2 masks") as caught:
        _measure(tmp_path)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["a.nii", "b.npy"]


def test_the_command_measures_what_predict_writes(tmp_path, capsys, monkeypatch):
    truth, guess = _labels(values=(0, 255))
    _write(tmp_path / "true" / "P1" / "scan.nii.gz", truth)
    (tmp_path / "out" / "masks" / "P1").mkdir(parents=True)
    data = nibabel.Nifti1Image(guess, AFFINE).as_reoriented(ORIENTATIONS[3]).to_bytes()
    (tmp_path / "out" / "masks" / "P1" / "scan.nii.gz").write_bytes(gzip.compress(data))
    folders = ["--labels", str(tmp_path / "true"), "--predictions", str(tmp_path / "out" / "masks")]
    assert main(["evaluate", *folders, "-o", str(tmp_path / "measured"), "--resamples", "0", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["test"]["metrics"]["dice_foreground"]["value"] == pytest.approx(_dice(truth, guess, 255))


def _seg(path, labels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write_seg(labels, **options))


def _dices(cases):
    return dict(zip(cases["class"], cases["dice"], strict=True))


@pytest.mark.parametrize("seg_is", ["true", "predicted"])
@pytest.mark.parametrize("orientation", [None, *ORIENTATIONS[1::9]])
@pytest.mark.parametrize("keep_empty", [True, False])
def test_a_dicom_segmentation_is_compared_with_nifti_where_its_frames_lie(tmp_path, seg_is, orientation, keep_empty):
    labels, other = make_labels(0), make_labels(1)
    other[0] = 5  # a slice that the segmentation leaves out
    nifti_is = "predicted" if seg_is == "true" else "true"
    _seg(tmp_path / seg_is / "case.dcm", labels, keep_empty=keep_empty)
    _write(tmp_path / nifti_is / "case.nii.gz", other.T, SEG_AFFINE, orientation)
    summary, cases = _measure(tmp_path)
    expected = {f"class {value}": pytest.approx(_dice(labels, other, value)) for value in (1, 2, 5)}
    assert _dices(cases) == expected
    assert set(cases["hd95_unit"]) == {"mm"}
    assert set(cases["pixels"]) == {labels.size}
    assert len(summary["warnings"]) == 1


def test_two_segmentations_meet_although_each_leaves_other_slices_out(tmp_path):
    labels, other = make_labels(0), make_labels(1)
    labels[5], other[1:3] = 0, 0
    _seg(tmp_path / "true" / "a.dcm", labels)
    _seg(tmp_path / "predicted" / "IM0", other, order=lambda n: range(n - 1, -1, -1))
    (tmp_path / "predicted" / "IM0").rename(tmp_path / "predicted" / "a.dcm")
    _, cases = _measure(tmp_path)
    assert _dices(cases) == {f"class {value}": pytest.approx(_dice(labels, other, value)) for value in (1, 2, 5)}


def test_a_segmentation_on_another_grid_is_refused(tmp_path):
    labels = make_labels()
    moved = SEG_AFFINE.copy()
    moved[2, 3] += 1.25
    _seg(tmp_path / "true" / "a.dcm", labels)
    _write(tmp_path / "predicted" / "a.nii.gz", labels.T, moved)
    _seg(tmp_path / "true" / "b.dcm", labels)
    _write(tmp_path / "predicted" / "b.nii.gz", labels[:4].T, SEG_AFFINE)
    with pytest.raises(DataError, match="2 masks") as caught:
        _measure(tmp_path)
    assert all("lies on another grid than its prediction" in problem for problem in caught.value.problems)
    assert "Doe" not in str(caught.value)


def test_a_segmentation_is_measured_in_mm(tmp_path):
    labels, other = np.zeros((2, 9, 14, 12), np.uint8)
    labels[2:7, 3:9, 3:8] = 1
    other[3:8, 5:11, 2:8] = 1
    _seg(tmp_path / "true" / "a.dcm", labels)
    _seg(tmp_path / "predicted" / "a.dcm", other)
    _, cases = _measure(tmp_path)
    assert cases["hd95"].item() == pytest.approx(hausdorff95(labels, other, (2.5, 0.5, 0.75)))


def test_two_files_are_compared_whatever_their_names(tmp_path, capsys):
    truth, guess = _labels()
    _write(tmp_path / "true.nii.gz", truth)
    _write(tmp_path / "x" / "predicted.nii", guess, orientation=ORIENTATIONS[7])
    _write(tmp_path / "x" / "another.nii", guess)
    files = ["--labels", str(tmp_path / "true.nii.gz"), "--predictions", str(tmp_path / "x" / "predicted.nii")]
    assert main(["evaluate", *files, "-o", str(tmp_path / "out"), "--resamples", "0", "--json"]) == 0
    capsys.readouterr()
    cases = pd.read_csv(tmp_path / "out" / "cases.csv")
    assert cases["dice"].tolist() == pytest.approx([_dice(truth, guess, 1), _dice(truth, guess, 2)])


@pytest.mark.parametrize("ending", ["", "_mask"])
def test_two_masks_that_differ_in_their_format_alone_are_named(tmp_path, ending):
    truth, _ = _labels()
    for folder in ("true", "predicted"):
        _write(tmp_path / folder / f"a{ending}.nii.gz", truth)
    np.save(tmp_path / "true" / f"a{ending}.npy", truth)
    with pytest.raises(DataError, match="differ in their ending alone"):
        _measure(tmp_path)
