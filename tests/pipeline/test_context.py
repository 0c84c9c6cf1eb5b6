"""A run whose network sees neighbouring slices, from images to a bundle that answers as it was measured."""

import json
import zipfile

import pandas as pd
import pytest

import medloom
from medloom.cli.main import main
from medloom.data import open_source, read_catalogue
from medloom.pipeline import Run, find_images

TINY = [
    "data.context=1",
    "data.phantom.patients=5",
    "data.phantom.size=32",
    "data.phantom.slices=[4, 5]",
    "preprocess.size=[32, 32]",
    "model.args={channels: [4, 8], num_res_units: 1}",
    "train.epochs=1",
    "train.device=cpu",
    "evaluate.threshold=0.5",
    "evaluate.min_region_px=0",
    "evaluate.bootstrap=20",
]


@pytest.mark.slow
def test_what_is_measured_of_a_patient_is_what_the_bundle_answers(place, capsys):
    assert main(["run", "brain-mri-small", "--json", *(word for one in TINY for word in ("--set", one))]) == 0
    made = json.loads(capsys.readouterr().out)
    assert main(["verify", made["bundle"]]) == 0
    run = Run.open(place / made["run"])
    cases = pd.read_csv(run.folder / "evaluation/cases.csv").set_index("sample_id")
    rows = read_catalogue(run.folder / "catalogue.csv").query("split == 'test'")
    with open_source(find_images(run)) as source, zipfile.ZipFile(place / "patient.zip", "w") as archive:
        for name in rows["image"]:
            archive.writestr(name.rpartition("/")[2], source.read(name))
    volume = medloom.load(made["bundle"]).predict(place / "patient.zip")
    assert volume.slice_px[:, 1].tolist() == cases.loc[rows["sample_id"], "predicted_px"].tolist()
    assert volume.area_px > 0
