"""What the pixels say: channels, pages, window and normalisation; and how few files are looked into."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

from medloom.data.survey import Device, survey, written
from medloom.data.survey.whole import _survey
from medloom.imaging import encode_png
from medloom.recipe import parse_recipe
from support.dicoms import write_dicom


class MadeUp:
    """A source of names without files; counts what is read."""

    location = "made-up"

    def __init__(self, names, content):
        self.listed, self.content, self.reads = sorted(names), content, 0

    def names(self):
        return self.listed

    def stamp(self, name):
        return name

    def read(self, name):
        self.reads += 1
        return self.content(name)

    def head(self, name, most):
        return self.read(name)[:most]


def volumes(folder, image, mask):
    for name, data in (("images", image), ("labels", mask)):
        (folder / name).mkdir()
        for number in range(3):
            volume = nibabel.Nifti1Image(data.astype(np.int16), np.diag([1.0, 1.0, 3.0, 1.0]))
            nibabel.save(volume, folder / name / f"scan{number}.nii.gz")
    return folder


def recipe_of(folder):
    return parse_recipe(written(survey(folder)))


def truth():
    mask = np.zeros((32, 32, 4), np.uint8)
    mask[5:12, 5:12, 1:3] = 1
    return mask


def test_hounsfield_units_are_cut_to_a_window_and_every_slice_is_a_sample(tmp_path):
    air = np.linspace(-1000, 900, 32 * 32 * 4).reshape(32, 32, 4)
    found = survey(volumes(tmp_path, air, truth()))
    recipe = parse_recipe(written(found))
    assert recipe.preprocess.window == (40.0, 400.0)
    assert not recipe.preprocess.normalise.nonzero
    assert (recipe.data.page, recipe.data.channels) == ("all", ("grey",))
    assert any("preprocess.window" in check and "lung is [-600, 1500]" in check for check in found.checks)


def test_mri_is_normalised_by_itself_over_what_is_above_zero(tmp_path):
    recipe = recipe_of(volumes(tmp_path, np.linspace(0, 900, 32 * 32 * 4).reshape(32, 32, 4), truth()))
    assert recipe.preprocess.window is None
    assert (recipe.preprocess.normalise.method, recipe.preprocess.normalise.nonzero) == ("zscore", True)


def test_labels_of_radiographs_take_what_backbones_expect(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(12):
        folder = tmp_path / ("normal", "pneumonia")[number % 2]
        folder.mkdir(exist_ok=True)
        pixels = rng.integers(0, 4000, (48, 32)).astype(np.uint16)
        write_dicom(folder / f"{number}.dcm", pixels, f"P{number}", series=f"1.2.{number}", number=0, Modality="DX")
    found = survey(tmp_path)
    recipe = parse_recipe(written(found))
    assert (recipe.preprocess.normalise.method, recipe.preprocess.window) == ("imagenet", "auto")
    assert (recipe.preprocess.fit, recipe.preprocess.colour) == ("pad", "rgb")
    assert not any("No patient was found" in text for text in found.warnings)
    assert any("12 DICOM files looked into have a PatientID" in text for text in found.notes)


@pytest.mark.parametrize("kind", ["masks", "classes", "table"])
def test_of_many_files_only_a_few_are_read(kind):
    grey, mask = np.full((32, 32), 80, np.uint8), np.pad(np.full((9, 9), 255, np.uint8), (3, 20))
    pictures = {"images": encode_png(grey), "masks": encode_png(mask)}
    count = 5000
    rows = "\n".join(f"{n:05d},{n // 3},{'no' if n % 2 else 'yes'}" for n in range(count))
    names = {
        "masks": [f"{folder}/P{n // 20:04d}_{n % 20}.png" for folder in pictures for n in range(count)],
        "classes": [f"{'ab'[n % 2]}/P{n // 20:04d}_{n % 20}.png" for n in range(count)],
        "table": ["labels.csv", *(f"images/{n:05d}.png" for n in range(count))],
    }[kind]
    table = f"image,patient,label\n{rows}".encode()
    source = MadeUp(names, lambda name: table if name.endswith(".csv") else pictures.get(name.split("/")[0], grey_png))
    grey_png = pictures["images"]
    found = _survey(source, "made-up", {}, Device())
    assert (found.samples, found.patients) == (count, {"masks": 250, "classes": 250, "table": 1667}[kind])
    assert source.reads < 100
