"""Every built-in recipe from images to a bundle, small, through the command line."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, RLELossless, generate_uid

import medloom
from medloom import pipeline
from medloom.cli.main import main
from medloom.data import PhantomPlan, make_phantom, open_source, read_catalogue
from medloom.data.catalogue import meta_of
from medloom.recipe import builtin_names

SMALL = [
    "preprocess.size=[32, 32]",
    "train.epochs=1",
    "train.batch_size=8",
    "train.device=cpu",
    "evaluate.bootstrap=50",
]
SEGMENTATION = ["model.args={channels: [4, 8], num_res_units: 1}"]
LABELS = [
    "preprocess.crop=[24, 24]",
    "model.name=test_efficientnet",
    "data.phantom.size=32",
    "data.phantom.slices=[2, 3]",
]
SETTINGS = {
    "brain-mri-pretrained": [],
    "chest-xray": [*LABELS, "data.phantom.patients=24"],
    "chest-xray-pretrained": ["preprocess.crop=[24, 24]", *LABELS[2:], "data.phantom.patients=24"],
    "labels-deep": ["model.name=test_efficientnet", "data.page=all"],
    "labels-shallow": ["data.page=all"],
    "dicom-csv": ["model.name=perceptron", "preprocess.crop=[24, 24]"],
    "melanoma": [*LABELS, "data.phantom.patients=16", "data.phantom.prevalence=0.4"],
}
QUICK = ("brain-mri-small", "dicom-csv")  # the others are left to `make test-slow`


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    plan = PhantomPlan(patients=6, size=32, slices=(4, 5))
    return make_phantom(plan, tmp_path_factory.mktemp("phantoms") / "set")


@pytest.fixture(scope="module")
def pairs(phantoms, tmp_path_factory):
    """The same as PNG, one grey image and a mask beside it: what the recipe ``image-mask`` takes."""
    folder = tmp_path_factory.mktemp("pairs")
    for path in sorted(phantoms.rglob("*.tif")):
        pixels = np.asarray(Image.open(path))
        target = folder / path.parent.name / f"{path.stem}.png"
        target.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels if pixels.ndim == 2 else pixels[..., 1]).save(target)
    return folder


def write_dicom(path, pixels, *, inverted: bool, packed: bool) -> None:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = MRImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    dataset.PatientName = "Nobody^At^All"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelData = (4095 - pixels if inverted else pixels).astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    if packed:
        dataset.compress(RLELossless)
    dataset.save_as(path, enforce_file_format=True)


@pytest.fixture(scope="module")
def dicoms(tmp_path_factory):
    """DICOM files of several kinds and sizes, and a CSV that names them without their suffix."""
    folder, rng = tmp_path_factory.mktemp("dicoms"), np.random.default_rng(0)
    lines = ["image,level"]
    for number in range(36):
        pixels = rng.integers(0, 900, (20 + number % 3, 24))
        pixels[6:14, 6:14] += 2500 * (number % 2)
        write_dicom(folder / f"1.2.840.{number}.dcm", pixels, inverted=number % 3 == 0, packed=number % 4 == 0)
        lines.append(f"1.2.840.{number},{number % 2}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def finished():
    return {}


@pytest.fixture
def run(phantoms, pairs, dicoms, place, finished, capsys):
    """Run a recipe on small images, once, and return what it said as JSON."""
    given = {
        "image-mask": pairs,
        "dicom-csv": dicoms,
        "labels-deep": dicoms,
        "labels-shallow": dicoms,
        "chest-xray": None,
        "chest-xray-pretrained": None,
        "melanoma": None,
    }

    def start(recipe):
        if recipe not in finished:
            data = given.get(recipe, phantoms)
            words = [f"--data={data}"] if data else ["--set", "data.kaggle=null"]
            settings = [*SMALL, *SETTINGS.get(recipe, SEGMENTATION)]
            words += [word for setting in settings for word in ("--set", setting)]
            assert main(["run", recipe, "--workers", "1", "--json", *words]) == 0
            finished[recipe] = json.loads(capsys.readouterr().out)
            assert finished[recipe]["phantom"] is (data in (None, phantoms))
        return finished[recipe]

    return start


@pytest.mark.parametrize(
    "recipe", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in builtin_names()]
)
def test_every_built_in_recipe_runs_from_images_to_a_bundle_that_predicts(run, recipe, place):
    result = run(recipe)
    assert len(result["pages"]) == 2
    assert all((place / page).is_file() for page in result["pages"])
    for name in result["summary"]["headlines"]:
        assert set(result["summary"]["test"]["metrics"][name]) >= {"value", "low", "high", "n"}
    rows = read_catalogue(place / result["run"] / "catalogue.csv")
    with open_source(pipeline.find_images(pipeline.Run.open(place / result["run"]))) as source:
        image = source.read(rows["image"][0])
    predictor = medloom.load(result["bundle"])
    plain = predictor.predict(image).plain()
    if predictor.target.truth_is_mask:
        assert (plain["height"], plain["width"]) == (32, 32)
    else:
        assert sum(plain["probabilities"].values()) == pytest.approx(1)
        assert plain["decision"] in predictor.target.names
    assert main(["verify", result["bundle"]]) == 0


@pytest.mark.parametrize("recipe", ["dicom-csv", pytest.param("melanoma", marks=pytest.mark.slow)])
def test_predicting_the_test_images_gives_the_scores_that_were_measured(run, recipe, place, tmp_path):
    result = run(recipe)
    rows = read_catalogue(place / result["run"] / "catalogue.csv").query("split == 'test'")
    data = pipeline.find_images(pipeline.Run.open(place / result["run"]))
    columns = medloom.load(result["bundle"]).tables
    words = []
    if columns:
        meta = [{"name": image, **row} for image, row in zip(rows["image"], meta_of(rows), strict=True)]
        with (tmp_path / "meta.csv").open("w") as file:
            writer = csv.DictWriter(file, list(meta[0]))
            writer.writeheader()
            writer.writerows(meta)
        words = ["--metadata", str(tmp_path / "meta.csv")]
    images = [f"{data}/{image}" for image in rows["image"]]
    assert main(["predict", result["bundle"], *images, "-o", str(tmp_path / "out"), *words]) == 0
    with (tmp_path / "out" / "predictions.csv").open() as file:
        predicted = {row["file"]: row for row in csv.DictReader(file)}
    with (place / result["run"] / "evaluation" / "cases.csv").open() as file:
        cases = {row["sample_id"]: row for row in csv.DictReader(file)}
    names = result["summary"]["target"]["names"]
    for image, sample in zip(rows["image"], rows["sample_id"], strict=True):
        row = predicted[image.rpartition("/")[2]]
        score = next(value for key, value in row.items() if names[1] in key and key not in ("file", "decision"))
        assert float(score) == pytest.approx(float(cases[sample]["score"]), abs=2e-6)
        assert row["decision"] == names[int(cases[sample]["decision"])]
