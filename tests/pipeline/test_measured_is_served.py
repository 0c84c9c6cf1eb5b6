"""What is measured is what is served: the per-case table holds what the packaged bundle answers, in every runtime."""

from __future__ import annotations

import json
import shutil
import tarfile

import numpy as np
import pytest
import yaml

import medloom
from medloom import packaging, pipeline
from medloom.data import PhantomPlan, make_phantom, open_source, read_catalogue
from medloom.errors import UserError
from medloom.evaluation.tables import read_cases
from medloom.inference import MaskPrediction
from medloom.packaging import export
from medloom.recipe import parse_recipe
from medloom.registry import RUNTIMES

MASKS = {
    "name": "lesions",
    "target": {"kind": "masks", "mask_values": {"background": 0, "lesion": 255}},
    "data": {"layout": "lgg-mri", "channels": ["pre", "FLAIR", "post"]},
    "preprocess": {"size": [32, 32]},
    "model": {"name": "unet", "args": {"channels": [8, 16], "num_res_units": 1, "norm": "batch"}},
    "train": {"epochs": 3, "batch_size": 8, "device": "cpu", "precision": "32"},
    "evaluate": {"bootstrap": 0, "views": 2, "max_false_positive_rate": 1.0},
}


@pytest.fixture(scope="module")
def runs(place, pictures, make_recipe):
    """A trained run of labels and one of masks, each measured and packaged with the default runtime."""
    phantoms = make_phantom(PhantomPlan(patients=6, size=32, slices=(4, 5)), place / "phantoms")
    labels = make_recipe(
        {"kind": "binary"}, model={"name": "test_efficientnet"}, evaluate={"bootstrap": 0, "batch_size": 5}
    )
    made = {"labels": (labels, pictures), "masks": (parse_recipe(yaml.safe_dump(MASKS)), phantoms)}
    return {
        name: medloom.run(recipe, data=images, run=place / name, workers=1).folder
        for name, (recipe, images) in made.items()
    }


@pytest.fixture(params=["labels", "masks"])
def trained(request, runs, tmp_path, monkeypatch):
    """A copy of one of them; its graph is not exported again, for the weights do not change."""
    monkeypatch.setattr(export, "export_onnx", lambda network, path, **settings: path)
    return shutil.copytree(runs[request.param], tmp_path / "run")


def answers(run, bundle):
    """What the bundle answers for every test image, by sample, in the columns of the per-case table."""
    predictor = medloom.load(bundle)
    rows = read_catalogue(run.folder / "catalogue.csv")
    found = {}
    with open_source(pipeline.find_images(run)) as source:
        for row in rows[rows["split"] == "test"].to_dict("records"):
            prediction = predictor.predict(source.read(row["image"]))
            found[row["sample_id"]] = _columns(prediction)
    return found


def _columns(prediction) -> dict[str, float]:
    if isinstance(prediction, MaskPrediction):
        lesion = prediction.mask > 0
        return {"predicted_px": int(lesion.sum()), "probability": float(prediction.probabilities[-1].max())}
    return {"score": prediction.scores[-1], "decision": int(prediction.decision[0] == "1")}


@pytest.mark.parametrize("runtime", list(RUNTIMES))
def test_the_table_of_cases_holds_what_the_packaged_bundle_answers_to_the_last_bit(trained, runtime):
    # PyTorch rounds batches of another size otherwise, in the last bit; the others do not.
    size = ["evaluate.batch_size=1"] if runtime == "torch" else []
    run = pipeline.open_run(trained, overrides=[f"package.runtime={runtime}", *size])
    summary = pipeline.evaluate(run)
    assert summary["measured_with"]["runtime"] == runtime
    bundle = pipeline.package(run)
    pipeline.report(run)
    with tarfile.open(bundle) as archive:
        manifest = json.load(archive.extractfile("bundle.json"))
    assert (manifest["runtime"], manifest["measured"]["runtime"]) == (runtime, runtime)
    assert f"computed with {runtime} in fp32" in (trained / "report.html").read_text()
    with packaging.read_bundle(bundle) as opened:
        golden = np.load(opened.folder / "golden" / "probabilities.npy")
        image = (opened.folder / "golden" / "input.npy").read_bytes()
    np.testing.assert_array_equal(medloom.load(bundle).predict(image).probabilities, golden)
    cases = read_cases(trained / "evaluation" / "cases.csv").set_index("sample_id")
    answered = answers(run, bundle)
    assert sorted(cases.index[cases["split"] == "test"]) == sorted(answered)
    for sample, columns in answered.items():
        for name, value in columns.items():
            assert value == cases.loc[sample, name], (sample, name)


def test_metrics_of_one_runtime_are_not_packaged_with_another(trained):
    with pytest.raises(UserError, match="runtime changed since"):
        pipeline.package(pipeline.open_run(trained, overrides=["package.runtime=torch"]))
