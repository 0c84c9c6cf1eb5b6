"""However its files are stored, a data set is learned from in one orientation."""

import gzip
import io

import nibabel
import numpy as np
import pytest
from PIL import Image as PillowImage

from medloom.data import open_source, preparation, prepare
from medloom.errors import DataError
from medloom.recipe import MasksRecipe
from medloom.transforms import Preprocess
from support.orientations import nifti, stored

SHAPE = (18, 16, 5)
AFFINE = np.array([[0.9, 0, 0, -20], [0, 1.1, 0, 30], [0, 0, 4, -7], [0, 0, 0, 1]], float)
VALUES = {"background": 0, "lesion": 1}


def image(patient):
    return np.random.default_rng(patient).integers(1, 900, SHAPE).astype(np.int16)


def mask(patient):
    return np.random.default_rng(50 + patient).integers(0, 2, SHAPE).astype(np.uint8)


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Prepare volumes by the orientation of image and mask of each patient."""
    monkeypatch.setattr(preparation, "describe", lambda *a, **k: {})

    def made(orientations, *, size=SHAPE[1::-1], **data):
        for patient, codes in enumerate(orientations):
            for part, voxels, how in (("image", image(patient), codes[0]), ("mask", mask(patient), codes[1])):
                (tmp_path / f"set/p{patient}_{part}.nii.gz").parent.mkdir(exist_ok=True)
                data_gz = gzip.compress(nifti(*stored(voxels, AFFINE, how)))
                (tmp_path / f"set/p{patient}_{part}.nii.gz").write_bytes(data_gz)
        return again(size=size, **data)

    def again(*, size=SHAPE[1::-1], suffix=".nii.gz", preprocess=None, **data):
        patterns = {"image": "{sample}_image.nii.gz", "mask": "{sample}_mask" + suffix, "page": "all", **data}
        recipe = MasksRecipe.model_validate(
            {
                "name": "test",
                "target": {"mask_values": VALUES},
                "data": {"layout": "image-mask", **patterns},
                "preprocess": {"size": size, **(preprocess or {})},
            }
        )
        with open_source(tmp_path / "set") as source:
            steps = Preprocess.of(recipe.preprocess)
            return prepare(recipe, source, tmp_path / "run", tmp_path / "cache", workers=1, preprocess=steps)

    made.again = again
    made.folder = tmp_path / "set"
    return made


def directions(found):
    """What ``prepare`` says about directions."""
    return {key: found.facts["orientation"][key] for key in ("plane", "stored")}


def displayed(voxels, plane):
    """Slices (N, h, w) of a volume in RAS as they are looked at, from back, feet and left; by nibabel and NumPy."""
    codes = {"axial": "LPS", "coronal": "LIA", "sagittal": "PIR"}[plane]
    return stored(voxels, AFFINE, codes)[0].T


def pixels(found, patient, plane):
    """What the store holds of a patient, in the order of the display."""
    rows = found.catalogue[found.catalogue["image"] == f"p{patient}_image.nii.gz"]
    index = found.store.rows(rows["sample_id"].tolist())
    return found.store.images[index, 0], found.store.masks[index]


def same(stacks, voxels, masks, plane):
    """Whether stacks are those of a volume, whichever slice is the first."""
    wanted = displayed(voxels, plane), displayed(masks, plane)
    return any(
        all(np.array_equal(one[::step], other) for one, other in zip(stacks, wanted, strict=True)) for step in (1, -1)
    )


@pytest.mark.parametrize("codes", [("RAS", "LPS"), ("LPI", "PSR"), ("ARS", "ILA")])
def test_the_store_holds_slices_as_they_are_looked_at(codes, work):
    found = work([codes] * 3)
    assert directions(found) == {"plane": "axial", "stored": {codes[0][:2]: 3 * SHAPE[2]}}
    for patient in range(3):
        assert same(pixels(found, patient, "axial"), image(patient), mask(patient), "axial")


@pytest.mark.parametrize("other", ["PSR", "SAR", "RIP", "PIL", "SRA"])
def test_volumes_in_another_plane_are_cut_along_that_of_most(other, work):
    found = work([("RAS", "RAS"), ("LPS", "RAS"), ("RAS", "RAS"), (other, "LAI"), (other, other)])
    assert found.facts["orientation"]["plane"] == "axial"
    assert len(found.catalogue) == 5 * SHAPE[2]
    assert found.catalogue.groupby("image")["frame"].apply(list).tolist() == [list(range(SHAPE[2]))] * 5
    for patient in range(5):
        assert same(pixels(found, patient, "axial"), image(patient), mask(patient), "axial")


@pytest.mark.parametrize(
    ("plane", "size", "count"),
    [("axial", (16, 18), 5), ("coronal", (16, 18), 16), ("sagittal", (16, 18), 18)],
)
def test_the_recipe_can_name_the_plane(plane, size, count, work):
    found = work([("RAS", "RAS"), ("PIR", "LPS"), ("LPS", "LPS")], size=size, plane=plane)
    assert len(found.catalogue) == 3 * count
    assert found.facts["orientation"]["plane"] == plane
    assert found.catalogue["foreground_px"].sum() == sum(int(mask(patient).sum()) for patient in range(3))


def test_as_stored_is_as_stored(work):
    found = work([("RAS", "RAS"), ("LPS", "LPS"), ("LAS", "LAS")], plane="stored")
    assert directions(found) == {"plane": None, "stored": {"RA": 5, "LP": 5, "LA": 5}}
    images, masks = pixels(found, 0, "axial")
    np.testing.assert_array_equal(images, image(0).T)
    np.testing.assert_array_equal(masks, mask(0).T)
    again = work.again()
    assert again.store.key != found.store.key
    assert again.facts["orientation"]["plane"] == "axial"
    assert work.again(plane="axial").store.key == again.store.key


def test_a_page_that_is_named_is_that_of_the_file_and_planes_may_then_differ(work):
    found = work([("RAS", "RAS"), ("LPS", "LPS"), ("PSR", "PSR")], page=3)
    assert directions(found) == {"plane": "any", "stored": {"RA": 1, "LP": 1, "PS": 1}}
    assert "The images are slices of several planes: 2 axial, 1 sagittal." in " ".join(found.facts["warnings"])
    with pytest.raises(DataError) as caught:
        work.again(page=3, plane="axial")
    (problem,) = caught.value.problems
    assert problem.startswith("p2_image.nii.gz: page 3: the image is a sagittal slice; expected axial ones")


def test_a_mask_that_does_not_say_where_it_lies_cannot_follow_an_image_that_is_cut_anew(work):
    work([("RAS", "RAS"), ("LPS", "LPS"), ("PSR", "PSR")])
    bare = nibabel.Nifti1Image(np.zeros((16, 5, 18), np.uint8), None)
    bare.header.set_sform(None, 0)
    bare.header.set_qform(None, 0)
    (work.folder / "p2_mask.nii.gz").write_bytes(gzip.compress(bare.to_bytes()))
    with pytest.raises(DataError) as caught:
        work.again()
    assert list(caught.value.problems) == [
        "p2_mask.nii.gz: it does not say where it lies in the patient, and its image is cut into axial slices"
    ]


def test_images_without_directions_make_the_store_that_they_always_made(work, tmp_path):
    keys = set()
    for plane in ("auto", "axial", "stored"):
        for patient in range(3):
            for part, array in (("image", image(patient)[:, :, 0].T % 256), ("mask", mask(patient)[:, :, 0].T)):
                stream = io.BytesIO()
                PillowImage.fromarray(array.astype(np.uint8)).save(stream, "PNG")
                work.folder.mkdir(exist_ok=True)
                (work.folder / f"p{patient}_{part}.png").write_bytes(stream.getvalue())
        found = work.again(image="{sample}_image.png", suffix=".png", plane=plane, page=None)
        keys.add(found.store.key)
        assert directions(found) == {"plane": "axial" if plane == "axial" else None, "stored": {}}
        np.testing.assert_array_equal(found.store.images[0, 0], image(0)[:, :, 0].T % 256)
    assert len(keys) == 1


def sized(folder, spacings, size=(16, 12)):
    """Images without a place whose pixels have these sizes."""
    folder.mkdir(exist_ok=True)
    for patient, (row_mm, column_mm) in enumerate(spacings):
        for part in ("image", "mask"):
            voxels = np.full((*size[::-1], 1), 1 + patient if part == "image" else 1, np.uint8)
            affine = np.diag([-column_mm, -row_mm, 1.0, 1.0])
            (folder / f"p{patient}_{part}.nii.gz").write_bytes(gzip.compress(nifti(voxels, affine)))


def test_pixels_of_several_sizes_are_said_and_one_spacing_brings_them_to_one(work):
    sized(work.folder, [(0.5, 0.5), (1.0, 1.0), (0.5, 0.75), (0.5, 0.5)])
    found = work.again(page=None, size=(16, 16))
    assert found.facts["orientation"]["spacing_mm"] == {"known": 4, "least": [0.5, 0.5], "most": [1.0, 1.0]}
    (said,) = [text for text in found.facts["warnings"] if "several sizes" in text]
    assert "rows 0.5 to 1 mm apart, columns 0.5 to 1 mm apart" in said

    spaced = work.again(page=None, size=(32, 32), preprocess={"spacing": [0.5, 0.5], "fit": "pad"})
    assert not [text for text in spaced.facts["warnings"] if "several sizes" in text]
    heights = [int((spaced.store.masks[row] > 0).any(axis=1).sum()) for row in range(4)]
    widths = [int((spaced.store.masks[row] > 0).any(axis=0).sum()) for row in range(4)]
    assert (heights, widths) == ([16, 32, 16, 16], [12, 24, 18, 12])
    with pytest.raises(DataError) as caught:
        work.again(page=None, size=(16, 16), preprocess={"spacing": [0.5, 0.5], "fit": "pad"})
    assert len(caught.value.problems) == 2
    assert "takes 32x24 of 0.5x0.5 mm (preprocess.spacing), and the network sees 16x16" in caught.value.problems[0]
