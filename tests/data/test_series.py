"""A recipe may take one DICOM series of folders that hold several."""

import numpy as np
import pytest

from medloom.data import open_source, prepare
from medloom.data.series import of_series
from medloom.errors import DataError
from medloom.imaging import encode_png
from medloom.recipe import MasksRecipe
from medloom.transforms import Preprocess
from support.dicoms import write_dicom


@pytest.fixture
def folder(tmp_path):
    """Five patients with a plain and a bright series each; only slices of the bright one show what the mask says."""
    rng = np.random.default_rng(0)
    for patient in range(5):
        for number in range(2):
            mask = np.zeros((32, 32), np.uint8)
            mask[4:12, 6:20] = 255
            for place, uid in enumerate((f"1.2.{patient}.1", f"1.2.{patient}.2")):
                plane = rng.integers(0, 20, (32, 32)).astype(np.uint8) + np.uint8(100 * place)
                name = f"p{patient}/s{place}_{number}"
                write_dicom(tmp_path / "images" / f"{name}.dcm", plane, f"p{patient}", series=uid, number=number)
                (tmp_path / "masks" / f"{name}.png").parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / "masks" / f"{name}.png").write_bytes(encode_png(mask))
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def _chosen(folder, series):
    with open_source(folder) as source:
        return of_series(source.names(), source.read, series)


def test_an_index_takes_a_series_of_each_folder_and_other_files_stay(folder):
    every = _chosen(folder, None).names
    for series, place in (("0", "s0"), ("1", "s1")):
        found = _chosen(folder, series)
        assert found.names == [name for name in every if not name.endswith(".dcm") or f"/{place}_" in name]
        assert found.notes == (f"10 DICOM files of other series than data.series: {series} left out.",)
    assert _chosen(folder, None).notes == ()


def test_a_uid_takes_that_series_alone(folder):
    found = [name for name in _chosen(folder, "1.2.3.2").names if name.endswith(".dcm")]
    assert found == ["images/p3/s1_0.dcm", "images/p3/s1_1.dcm"]


@pytest.mark.parametrize("series", ["2", "1.2.9.9", "x"])
def test_a_series_that_is_not_there_is_refused_with_those_that_are(folder, series):
    with pytest.raises(DataError, match="is not there") as caught:
        _chosen(folder, series)
    assert caught.value.problems[0] == "images/p0: series 0: 2 files, series 1: 2 files"
    assert "Doe" not in str(caught.value)


def test_images_without_a_series_are_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(encode_png(np.zeros((4, 4), np.uint8)))
    with pytest.raises(DataError, match="there are no DICOM images"):
        _chosen(tmp_path, "0")


def test_a_recipe_prepares_the_series_that_it_names(folder):
    recipe = MasksRecipe.model_validate(
        {
            "name": "one",
            "data": {
                "layout": "image-mask",
                "image": "images/{patient}/{sample}.dcm",
                "mask": "masks/{patient}/{sample}.png",
                "series": "1",
                "policy": "quarantine",
                "quarantine_limit": 1.0,
            },
            "preprocess": {"size": [32, 32]},
        }
    )
    with open_source(folder) as source:
        found = prepare(
            recipe, source, folder / "run", folder / "cache", workers=1, preprocess=Preprocess.of(recipe.preprocess)
        )
    assert len(found.catalogue) == 10
    assert all("/s1_" in name for name in found.catalogue["image"])
    assert any("other series than data.series: 1 left out" in text for text in found.facts["warnings"])
