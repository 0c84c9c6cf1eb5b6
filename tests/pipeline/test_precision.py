"""A model in fewer bits: what that costs is measured before it is packaged, and too much is not packaged."""

from __future__ import annotations

import json
import shutil
import tarfile

import numpy as np
import onnx
import pytest
import yaml

import medloom
from medloom import packaging, pipeline
from medloom.cli.main import main
from medloom.data import PhantomPlan, make_phantom, open_source, read_catalogue
from medloom.errors import UserError
from medloom.evaluation.tables import read_cases
from medloom.packaging import precision
from medloom.recipe import parse_recipe
from medloom.registry import RUNTIMES

RECIPE = {
    "name": "lesions",
    "target": {"kind": "masks", "mask_values": {"background": 0, "lesion": 255}},
    "data": {"layout": "lgg-mri", "channels": ["pre", "FLAIR", "post"]},
    "preprocess": {"size": [32, 32]},
    "model": {"name": "unet", "args": {"channels": [8, 16], "num_res_units": 1, "norm": "batch"}},
    "train": {"epochs": 15, "batch_size": 8, "device": "cpu", "precision": "32"},
    "evaluate": {"bootstrap": 50, "max_false_positive_rate": 1.0},
}


@pytest.fixture(scope="module")
def trained(place):
    images = make_phantom(PhantomPlan(patients=12, size=32, slices=(5, 6)), place / "phantoms")
    return medloom.run(parse_recipe(yaml.safe_dump(RECIPE)), data=images, run=place / "run", workers=1).folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def _manifest(folder) -> dict:
    with tarfile.open(folder / "model.tar.gz") as archive:
        return json.load(archive.extractfile("bundle.json"))


def _files(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_figures_of_a_bundle_in_8_bits_are_those_of_its_answers(run, capsys):
    assert main(["package", str(run), "--precision", "int8", "--precision-limit", "1"]) == 0
    manifest, summary = _manifest(run), json.loads((run / "evaluation" / "summary.json").read_text())
    assert manifest["precision"]["name"] == manifest["measured"]["precision"] == "int8"
    assert summary["measured_with"]["precision"] == "int8"
    assert manifest["precision"]["calibrated_on"] == sum(read_catalogue(run / "catalogue.csv")["split"] == "validation")
    assert {one["runtime"] for one in manifest["agreement"]} == {"openvino", "torch"}
    cases, rows = read_cases(run / "evaluation" / "cases.csv"), read_catalogue(run / "catalogue.csv")
    predictor = medloom.load(run / "model.tar.gz")
    with open_source(pipeline.find_images(pipeline.open_run(run))) as source:
        for row in rows[rows["split"] == "test"].to_dict("records"):
            found = predictor.predict(source.read(row["image"]))
            case = cases[cases["sample_id"] == row["sample_id"]].iloc[0]
            assert case["predicted_px"] == (found.mask > 0).sum()
            assert case["probability"] == float(found.probabilities[-1].max())
    assert packaging.verify(run / "model.tar.gz").tolerance == 0.1
    with packaging.read_bundle(run / "model.tar.gz") as bundle:
        pages = [(run / "report.html").read_text(), (bundle.folder / "MODEL_CARD.md").read_text()]
    for page in pages:
        assert "computed with onnx in int8" in page
        assert "in int8 and" in page
    assert "What it costs is measured on validation" in capsys.readouterr().err


def test_the_loss_is_that_of_the_first_metric_on_validation_with_a_paired_interval(run):
    pipeline.evaluate(pipeline.open_run(run, overrides=["package.precision=int8", "package.precision_limit=1"]))
    found = json.loads((run / "evaluation" / "summary.json").read_text())["precision"]
    assert found["metric"] == "dice_foreground"
    assert found["loss"] == pytest.approx(found["exact"]["value"] - found["reduced"]["value"])
    assert found["difference"]["low"] <= found["difference"]["value"] <= found["difference"]["high"]
    before = medloom.load(pipeline.open_run(run).bundle)  # still that in float32
    assert before.runtime.name == "onnx"


def test_a_loss_above_the_limit_ends_with_both_figures_and_leaves_the_run_as_it_was(run, monkeypatch, capsys):
    reduce = precision.reduce_graph

    def badly(graph, name, **samples):
        reduce(graph, name, **samples)
        model = onnx.load(graph)
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 4:
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros(tuple(tensor.dims), np.float32), tensor.name))
        onnx.save(model, graph)

    monkeypatch.setattr(precision, "reduce_graph", badly)
    before = _files(run)
    assert main(["package", str(run), "--precision", "int8"]) == 1
    said = capsys.readouterr().err
    found = medloom.load(run / "model.tar.gz")
    assert found.runtime.name == "onnx"
    assert "in int8 and" in said
    assert "in float32" in said
    assert "at most 0.002 is let through" in said
    assert _files(run) == before


def test_a_precision_that_the_runtime_cannot_execute_is_said_and_nothing_is_packaged(run, capsys):
    before = _files(run)
    assert main(["package", str(run), "--precision", "bf16"]) == 2
    assert "package.precision=bf16: ONNX Runtime cannot execute that here" in capsys.readouterr().err
    assert _files(run) == before


def test_a_precision_that_is_computed_as_float32_is_said(run, capsys):
    pipeline.evaluate(pipeline.open_run(run, overrides=["package.precision=fp16"]))
    summary = json.loads((run / "evaluation" / "summary.json").read_text())
    layers = precision._layers_of_onnx(run / "model.onnx")
    computed = summary["precision"]["computed"]
    assert computed.startswith("Here onnx computes" if layers.get("fp16") else "Here onnx has no arithmetic for fp16")
    assert abs(summary["precision"]["loss"]) < 0.002


def test_torch_has_no_8_bits(run):
    with pytest.raises(UserError, match="torch computes in fp32, bf16 or fp16, not in int8"):
        pipeline.evaluate(pipeline.open_run(run, overrides=["package.precision=int8", "package.runtime=torch"]))


def test_metrics_in_float32_are_not_packaged_with_fewer_bits(run):
    with pytest.raises(UserError, match="precision changed since"):
        pipeline.package(pipeline.open_run(run, overrides=["package.precision=int8"]))


def test_answers_by_another_runtime_come_with_a_warning(run, tmp_path, capsys):
    np.save(tmp_path / "image.npy", np.zeros((32, 32, 3), np.uint8))
    arguments = ["predict", str(run / "model.tar.gz"), str(tmp_path / "image.npy"), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--runtime", "torch"]) == 0
    said = capsys.readouterr().err
    assert "lesions was measured with onnx in fp32, not with torch: on 8 images of its own" in said
    assert main([*arguments, "--runtime", "onnx"]) == 0
    assert "measured with" not in capsys.readouterr().err


SEVERAL = [
    "data.phantom.patients=30",
    "data.phantom.size=32",
    "data.phantom.slices=[2, 3]",
    "data.phantom.prevalence=0.4",
    "preprocess.size=[32, 32]",
    "preprocess.crop=null",
    "model.name=test_efficientnet",
    "train.epochs=1",
    "train.device=cpu",
    "train.precision=32",
    "evaluate.bootstrap=20",
    "package.precision=int8",
    "package.precision_limit=1",
]


@pytest.mark.parametrize("several", ["split.folds=2", "train.seeds=2"])
def test_of_several_networks_with_metadata_the_bundle_says_what_8_bits_cost(tmp_path, several):
    run = medloom.run("melanoma", run=tmp_path / "run", settings=[*SEVERAL, several], workers=1).folder
    manifest, summary = _manifest(run), json.loads((run / "evaluation" / "summary.json").read_text())
    members = [json.loads(path.read_text())["precision"] for path in run.glob("*-[01]/evaluation/summary.json")]
    assert manifest["precision"]["name"] == manifest["measured"]["precision"] == "int8"
    assert manifest["precision"]["loss"] == summary["precision"]["loss"]
    if several == "split.folds=2":
        assert summary["precision"]["loss"] == max(one["loss"] for one in members)
        assert "whose network loses most of the 2" in summary["precision"]["cases"]
    assert precision._layers_of_onnx(run / "model.onnx")["int8"]
    assert packaging.verify(run / "model.tar.gz").tolerance == 0.1
    with packaging.read_bundle(run / "model.tar.gz") as bundle:
        assert "in int8 and" in (bundle.folder / "MODEL_CARD.md").read_text()
    image, person = np.random.default_rng(0).integers(40, 160, (32, 32, 3), np.uint8), {"sex": "female"}
    answers = [medloom.load(run / "model.tar.gz", runtime=name).predict(image, metadata=person) for name in RUNTIMES]
    np.testing.assert_allclose([answer.scores for answer in answers], [answers[0].scores] * len(answers), atol=0.25)
