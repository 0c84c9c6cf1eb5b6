"""From images to a bundle with the real parts, on phantoms."""

import json
import subprocess
import sys
import tarfile

import numpy as np
import pandas as pd
import pytest

import medloom as package
from medloom.data import open_source, read_catalogue
from medloom.files import sha256_file
from medloom.pipeline import Run, find_images


def test_a_run_leaves_a_bundle_the_pages_and_the_facts(finished):
    folder, said = finished
    assert said["phantom"] is True
    for name in ("model.tar.gz", "report.html", "data_report.html", "catalogue.csv", "metrics.jsonl", "recipe.yaml"):
        assert (folder / name).stat().st_size > 0
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("page", ["report.html", "data_report.html"])
def test_every_page_says_phantom_and_loads_nothing_from_elsewhere(finished, page):
    html = (finished[0] / page).read_text()
    assert "phantom" in html.lower()
    assert 'src="http' not in html
    assert 'href="http' not in html


def test_the_best_epoch_is_the_one_that_is_reported_and_packaged(finished):
    folder, said = finished
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    best = max(lines, key=lambda line: (line["dice_balanced"], -line["epoch"]))
    assert said["training"]["best_epoch"] == best["epoch"]
    assert said["training"]["best_metric"] == pytest.approx(best["dice_balanced"])


def test_the_bundle_predicts_what_was_measured(finished):
    folder, said = finished
    cases = pd.read_csv(folder / "evaluation" / "cases.csv").query("split == 'test'").set_index("sample_id")
    catalogue = read_catalogue(folder / "catalogue.csv").set_index("sample_id")
    predictor = package.load(folder / "model.tar.gz")
    with open_source(find_images(Run.open(folder))) as source:
        for sample in cases.index[:6]:
            prediction = predictor.predict(source.read(catalogue.loc[sample, "image"]))
            assert prediction.mask.shape == (64, 64)
            assert prediction.area_px == cases.loc[sample, "predicted_px"]
            assert prediction.probability == pytest.approx(cases.loc[sample, "probability"], abs=1e-4)
    assert predictor.point.threshold == said["summary"]["operating_point"]["threshold"]


def test_the_three_runtimes_agree_on_a_trained_bundle(finished):
    image = np.random.default_rng(0).integers(0, 200, (64, 64, 3)).astype(np.uint8)
    answers = [
        package.load(finished[0] / "model.tar.gz", runtime=name).predict(image).probabilities
        for name in ("onnx", "openvino", "torch")
    ]
    np.testing.assert_allclose(answers[1], answers[0], atol=1e-3)
    np.testing.assert_allclose(answers[2], answers[0], atol=1e-3)


def test_the_same_command_again_changes_nothing(finished, medloom):
    folder, _ = finished
    before = sha256_file(folder / "model.tar.gz"), (folder / "metrics.jsonl").read_text()
    code, out, _ = medloom("run", "brain-mri-small", "--run", "first")
    assert code == 0
    assert "medloom serve" in out
    assert "PHANTOM" in out
    assert (sha256_file(folder / "model.tar.gz"), (folder / "metrics.jsonl").read_text()) == before


def test_another_recipe_under_the_same_name_is_refused_with_what_changed(finished, medloom):
    code, _, err = medloom("run", "brain-mri-small", "--run", "first", **{"train.batch_size": "4"})
    assert code == 2
    assert "train.batch_size" in err
    assert "--run" in err


def test_no_name_of_a_patient_leaves_the_catalogue(finished):
    """Names are in the files' paths, so the catalogue has them; nothing else may."""
    folder, _ = finished
    source = find_images(Run.open(folder))
    names = {name.split("/")[-2] for name in open_source(source).names() if name.endswith(".tif")}
    assert len(names) == 7
    with tarfile.open(folder / "model.tar.gz") as bundle:
        contents = {member.name: bundle.extractfile(member).read() for member in bundle if member.isfile()}
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in ("catalogue.csv", "model.tar.gz"):
            contents[path.name] = path.read_bytes()
    found = {(file, name) for file, data in contents.items() for name in names if name.encode() in data}
    assert not found


def test_predicting_with_a_bundle_needs_no_torch(finished):
    folder, _ = finished
    with open_source(find_images(Run.open(folder))) as source:
        slice_ = next(name for name in source.names() if name.endswith("_1.tif"))
    script = (
        "import sys, medloom; from pathlib import Path; "
        "p = medloom.load(sys.argv[1]).predict(Path(sys.argv[2]).read_bytes()); "
        "print(p.mask.shape, 'torch' in sys.modules)"
    )
    image = f"{find_images(Run.open(folder))}/{slice_}"
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder / "model.tar.gz"), image], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["(64,", "64)", "False"]


def test_a_run_can_be_extended(finished, medloom):
    folder, _ = finished
    code, _, err = medloom("train", "first", "--set", "train.epochs=4")
    assert (code, len((folder / "metrics.jsonl").read_text().splitlines())) == (0, 4), err


def test_blank_first_slices_do_not_stop_a_network_that_normalises_by_instance(medloom):
    """What it makes of them are rounding errors, which no two runtimes share."""
    few = {"data.phantom.slices": "[20, 22]", "data.phantom.seed": 3, "train.epochs": 1, "train.compile": "false"}
    code, out, err = medloom("run", "brain-mri", "--run", "instance", **few, **{"model.args.norm": "INSTANCE"})
    assert code == 0, err
    assert "model.tar.gz" in out
