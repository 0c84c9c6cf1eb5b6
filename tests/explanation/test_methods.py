"""Methods of explanation: what they show, what they add up to, and where they say that they cannot."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from medloom.errors import UserError
from medloom.explanation import Asked, Seen, ask, check_maps, contributions, evidence, explain, map_of, seen_of
from medloom.explanation.metadata import made_up
from medloom.explanation.occlusion import occlusion
from medloom.inference import LabelPoint, MaskPoint, Predictor
from medloom.inference.answers import KINDS
from medloom.inference.runtimes.torch import TorchRuntime
from medloom.models.attribution import integrated_gradients, log_odds
from medloom.models.classifier import build_classifier
from medloom.models.ensemble import Ensemble
from medloom.models.mask_network import MaskNetwork
from medloom.registry import EXPLANATIONS
from medloom.targets import Target
from medloom.transforms import Normalise, Preprocess

SIZE = (32, 32)
CLASSES = ("a", "b", "c")


def classifier(outputs=3, columns=0, seed=0):
    torch.manual_seed(seed)
    metadata = "fused" if columns else "none"
    made = build_classifier(
        "test_resnet", in_channels=1, outputs=outputs, size=SIZE, table_features=columns, metadata=metadata
    )
    return made.eval()


def predictor_of(network, kind="multi-class", names=CLASSES, **options):
    target = Target(kind, names)
    thresholds = (0.5,) * KINDS[kind].thresholds(len(names)) if kind != "masks" else ()
    point = MaskPoint() if kind == "masks" else LabelPoint(thresholds)
    runtime = TorchRuntime(network, activation=target.activation)
    preprocess = Preprocess(size=SIZE, normalise=Normalise(method="none"))
    return Predictor(runtime, preprocess, target, ("grey",), point=point, **options)


def image(seed=0):
    rng = np.random.default_rng(seed)
    return np.kron(rng.normal(size=(8, 8, 1)), np.ones((4, 4, 1))).astype(np.float32)


def seen(predictor, words=None, seed=0):
    prepared = predictor.prepare(image(seed), metadata=words or {})
    return seen_of(predictor, "image", prepared, words or {})


class Squares(nn.Module):
    """Foreground is what is bright; the deepest map is that of its first layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.first = nn.Conv2d(1, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 1, 3, padding=1)

    def forward(self, images):
        return self.second(torch.relu(self.first(images)))


# Occlusion


@pytest.mark.parametrize(
    ("window", "stride"), [((4, 4), (2, 2)), ((5, 7), (3, 4)), ((8, 8), (8, 8)), ((32, 32), (1, 1))]
)
def test_occlusion_is_captums(window, stride):
    from captum import attr as captum

    network = classifier()
    given = torch.from_numpy(image().transpose(2, 0, 1))

    def forward(images):
        with torch.no_grad():
            return log_odds(network, network(images), "softmax")[:, 1]

    expected = captum.Occlusion(forward).attribute(
        given[None], sliding_window_shapes=(1, *window), strides=(1, *stride), baselines=given.mean().item()
    )
    found = occlusion(
        lambda images: forward(torch.from_numpy(images)).double().numpy(), given.numpy(), window=window, stride=stride
    )
    np.testing.assert_allclose(found, expected[0, 0], atol=2e-4)


def test_occlusion_shows_the_only_part_that_is_looked_at():
    def ask_corner(images):
        return images[:, 0, :8, :8].sum(axis=(1, 2)).astype(float)

    picture = np.zeros((1, 32, 32), np.float32)
    picture[:, :8, :8] = 1.0
    found = occlusion(ask_corner, picture, window=(4, 4), stride=(2, 2))
    assert found[:6, :6].min() > 0
    assert np.abs(found[12:, 12:]).max() == 0


# Integrated gradients


@pytest.mark.parametrize(("kind", "names", "outputs"), [("multi-class", CLASSES, 3), ("binary", ("well", "ill"), 1)])
def test_integrated_gradients_add_up_to_the_evidence(kind, names, outputs):
    predictor = predictor_of(classifier(outputs), kind, names)
    given = seen(predictor)
    asked = ask(predictor, given.answer)
    found = map_of(predictor, given, asked, "integrated-gradients")
    mean = np.full_like(given.prepared.network_input, given.prepared.network_input.mean())
    answers = np.stack([given.answer, predictor.runtime.run(mean[None])[0]])
    with_image, without = evidence(answers, asked, predictor.target.activation)
    assert found.values.shape == SIZE
    assert found.values.sum() == pytest.approx(with_image - without, abs=0.05 * abs(with_image - without) + 0.01)
    assert abs(found.gap) < 0.05 * abs(with_image - without) + 0.01


def test_integrated_gradients_of_a_linear_network_are_its_weights_times_the_image():
    torch.manual_seed(3)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    given = torch.randn(1, 1, 8, 8)
    found, gap = integrated_gradients(network, "sigmoid", given, None, output=0, steps=4)
    expected = network[1].weight.detach().reshape(8, 8) * (given - given.mean())[0, 0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert abs(gap) < 1e-4


def test_log_odds_of_classes_are_those_of_their_probabilities():
    logits = torch.randn(4, 3, 2, 2)
    p = logits.softmax(dim=1)
    torch.testing.assert_close(log_odds(nn.Identity(), logits, "softmax"), (p / (1 - p)).log(), atol=1e-4, rtol=1e-4)


def test_what_speaks_for_the_first_of_two_classes_speaks_against_the_second():
    predictor = predictor_of(classifier(1), "binary", ("well", "ill"))
    given = seen(predictor)
    for method in ("occlusion", "integrated-gradients"):
        one, other = (map_of(predictor, given, ask(predictor, given.answer, name), method) for name in ("well", "ill"))
        np.testing.assert_allclose(one.values, -other.values, atol=1e-5)
    with pytest.raises(UserError, match="Grad-CAM shows what speaks for an output, and well has none"):
        map_of(predictor, given, ask(predictor, given.answer, "well"), "gradcam")


# Every method and kind


@pytest.mark.parametrize("method", EXPLANATIONS)
@pytest.mark.parametrize("what", ["multi-class", "binary", "multi-label", "regression", "masks", "ensemble"])
def test_every_method_explains_every_kind(method, what):
    names, activation = {"binary": ("well", "ill")}.get(what, CLASSES), "softmax"
    if what == "masks":
        predictor = predictor_of(MaskNetwork(Squares(), "first"), "masks", ("background", "lesion"))
    elif what == "ensemble":
        predictor = predictor_of(Ensemble([classifier(seed=0), classifier(seed=1)], activation))
    else:
        predictor = predictor_of(classifier(1 if what == "binary" else 3), what, names)
    given = seen(predictor)
    found = map_of(predictor, given, ask(predictor, given.answer), method)
    assert found.values.shape == SIZE
    assert found.values.dtype == np.float32
    assert np.isfinite(found.values).all()


def test_a_runtime_without_gradients_says_what_works():
    predictor = predictor_of(classifier())

    class Onnx:
        name = "onnx"
        run = predictor.runtime.run

    alone = replace(predictor, runtime=Onnx())
    given = seen(alone)
    asked = ask(alone, given.answer)
    for method in ("gradcam", "integrated-gradients"):
        with pytest.raises(UserError, match=r"needs gradients, which the runtime onnx has not.*occlusion"):
            map_of(alone, given, asked, method)
    assert map_of(alone, given, asked, "occlusion").values.std() > 0
    found = check_maps(alone, [(given, asked)], "occlusion")
    assert found["passes"] is None
    assert "needs the network itself" in found["text"]
    with pytest.raises(UserError, match="did you mean 'occlusion'"):
        map_of(alone, given, asked, "oclusion")


# What is asked about


def test_the_likeliest_class_is_asked_about_and_any_other_by_its_name():
    predictor = predictor_of(classifier())
    answer = np.array([0.1, 0.2, 0.7], np.float32)
    assert (ask(predictor, answer).name, ask(predictor, answer, "a").output) == ("c", 0)
    with pytest.raises(UserError, match="there is no class 'd'"):
        ask(predictor, answer, "d")


def test_of_masks_the_pixels_of_the_class_are_asked_about():
    predictor = predictor_of(MaskNetwork(Squares(), "first"), "masks", ("background", "x", "y"))
    answer = np.zeros((3, 4, 4), np.float32)
    answer[0], answer[2, 1:3, 1:3], answer[0, 1:3, 1:3] = 1.0, 0.9, 0.1
    asked = ask(predictor, answer)
    assert (asked.name, asked.output, int(asked.region.sum())) == ("y", 2, 4)
    assert asked.found
    nothing = ask(predictor, answer, "x")
    assert nothing.region.all()
    assert not nothing.found
    with pytest.raises(UserError, match="background is the background"):
        ask(predictor, answer, "background")


# The check


@pytest.mark.parametrize("method", ["gradcam", "integrated-gradients"])
def test_maps_of_a_network_depend_on_its_weights(method):
    predictor = predictor_of(classifier())
    images = [(given := seen(predictor, seed=number), ask(predictor, given.answer)) for number in range(4)]
    before = predictor.runtime.run(image()[None].transpose(0, 3, 1, 2))
    found = check_maps(predictor, images, method)
    assert found["passes"] is True
    assert found["images"] == 4
    assert found["stages"][0]["random"] == "the last layer"
    assert found["stages"][-1]["random"] == "all layers"
    assert found["text"].startswith("The maps pass the check")
    np.testing.assert_array_equal(predictor.runtime.run(image()[None].transpose(0, 3, 1, 2)), before)


def test_maps_that_show_the_image_alone_do_not_pass(monkeypatch):
    predictor = predictor_of(classifier())
    images = [(given := seen(predictor, seed=number), ask(predictor, given.answer)) for number in range(3)]

    def edges(self, image_nchw, table_nf, output):
        return np.abs(np.gradient(image_nchw[0, 0])[0]).astype(np.float32)

    monkeypatch.setattr(TorchRuntime, "heatmap", edges)
    found = check_maps(predictor, images, "gradcam")
    assert found["passes"] is False
    assert found["stages"][-1]["rank_correlation"] == pytest.approx(1.0)
    assert "do NOT pass" in found["text"]


# Metadata


def with_metadata(network_seed=0):
    from medloom.data.metadata import TableEncoding

    rows = [{"age": str(age), "sex": sex} for age, sex in zip(range(30, 80, 5), "fm" * 5, strict=True)]
    encoding = TableEncoding.fit(rows, numeric=["age"], categorical=["sex"])
    network = classifier(1, len(encoding.names), network_seed)
    return predictor_of(network, "binary", ("well", "ill"), tables=(encoding,)), encoding


def test_what_metadata_add_adds_up_to_the_evidence():
    predictor, _ = with_metadata()
    given = seen(predictor, {"age": "71", "sex": "m"})
    asked = ask(predictor, given.answer)
    found = contributions(predictor, given, asked)
    assert found.exact
    assert set(found.columns) == {"age", "sex"}
    assert found.without + sum(found.columns.values()) == pytest.approx(found.told, abs=1e-5)
    assert found.told == pytest.approx(evidence(given.answer[None], asked, "sigmoid")[0], abs=1e-5)
    assert all(abs(value) > 1e-4 for value in found.columns.values())


def test_the_contributions_are_those_of_shap_by_hand():
    predictor, encoding = with_metadata()
    words = {"age": "71", "sex": "m"}
    given, others = seen(predictor, words), made_up(encoding)
    asked = ask(predictor, given.answer)

    def mean(**told):
        rows = [{**other, **told} for other in others]
        tables = predictor.encode(rows)
        images = np.repeat(given.prepared.network_input[None], len(rows), axis=0)
        return evidence(predictor.runtime.run(images, tables), asked, "sigmoid").mean()

    both, none = mean(**words), mean()
    age, sex = mean(age="71"), mean(sex="m")
    found = contributions(predictor, given, asked)
    assert found.columns["age"] == pytest.approx(((age - none) + (both - sex)) / 2, abs=1e-5)
    assert found.columns["sex"] == pytest.approx(((sex - none) + (both - age)) / 2, abs=1e-5)


def test_patients_who_are_made_up_are_spread_as_in_the_training():
    _, encoding = with_metadata()
    people = made_up(encoding)
    ages = [float(one["age"]) for one in people]
    assert 30 <= min(ages) < 40 < max(ages) <= 75
    assert sorted(one["sex"] for one in people) == ["f"] * 4 + ["m"] * 4


def test_a_model_without_metadata_has_no_contributions():
    predictor = predictor_of(classifier())
    given = seen(predictor)
    assert contributions(predictor, given, Asked("a", 0)) is None
    assert isinstance(given, Seen)


# Beside the rest


@pytest.mark.slow
def test_captum_is_imported_where_it_is_used_and_opens_no_connection():
    code = """
import socket, sys
import medloom.explanation, medloom.reports, medloom.models.heatmaps
assert "captum" not in sys.modules
def refuse(*_, **__):
    raise AssertionError("a connection was asked for")
socket.socket.connect = socket.getaddrinfo = refuse
import torch
from medloom.models.attribution import integrated_gradients
integrated_gradients(torch.nn.Flatten(), "identity", torch.ones(1, 1, 2, 2), None, output=0, steps=2)
assert "captum" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_maps_of_masks_are_checked_where_the_class_was_found(tmp_path):
    body = Squares()
    with torch.no_grad():
        for layer, bias in ((body.first, 0.0), (body.second, -2.0)):
            layer.weight.copy_(layer.weight.abs())
            layer.bias.fill_(bias)
    predictor = predictor_of(MaskNetwork(body, "first"), "masks", ("background", "lesion"))
    bright, dark = np.zeros((*SIZE, 1), np.float32), np.zeros((*SIZE, 1), np.float32)
    bright[8:20, 8:20] = 20.0
    images = [seen_of(predictor, name, predictor.prepare(one), {}) for name, one in (("a", bright), ("b", dark))]
    facts = explain(predictor, images, tmp_path / "both", "gradcam")
    assert [one["found"] for one in facts["images"]] == [True, False]
    assert facts["check"]["images"] == 1
    assert explain(predictor, images[1:], tmp_path / "none", "gradcam")["check"]["images"] <= 1
