"""Networks for masks on an encoder, what it begins with, and what is refused."""

import re
import socket

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from medloom.errors import RecipeError
from medloom.inference.runtimes.onnx import OnnxRuntime
from medloom.inference.runtimes.openvino import OpenVinoRuntime
from medloom.models import build_network, check_network
from medloom.models.kinds import KINDS
from medloom.models.networks import build_mask_network
from medloom.packaging.export import export_onnx
from medloom.packaging.manifest import ModelEntry
from medloom.packaging.writer import model_entry
from medloom.recipe import load_recipe
from medloom.registry import NETWORKS
from medloom.targets import Target

SIZE = (64, 64)
NAMES = sorted(name for name, entry in NETWORKS.items() if name.startswith("smp-"))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def offline(monkeypatch):
    """No host can be reached, and an attempt is an error of its own."""

    def refused(*args, **kwargs):
        raise AssertionError("a connection was begun")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


def on(encoder, name="smp-unet", *, channels=3, outputs=1, size=SIZE, weights="none", **args):
    return build_mask_network(name, channels, outputs, size, args, encoder=encoder, weights=weights)


def saved(path, network, suffix=".safetensors"):
    file = path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(network.state_dict(), file)
    else:
        torch.save(network.state_dict(), file)
    return str(file)


# --- the networks ----------------------------------------------------------------------------------------------------


def exported(network, path, channels, outputs, size):
    target = Target("masks", tuple(map(str, range(max(outputs, 2)))))
    file = export_onnx(network, path / "model.onnx", channels=channels, size=size, target=target)
    images = np.random.default_rng(0).standard_normal((5, channels, *size)).astype(np.float32)
    with torch.no_grad():
        logits = network.eval()(torch.from_numpy(images))
    expected = (logits.sigmoid() if outputs == 1 else logits.softmax(1)).numpy()
    return [runtime.open(file).run(images) for runtime in (OnnxRuntime, OpenVinoRuntime)], expected


def test_both_runtimes_answer_as_the_network_does(tmp_path):
    answers, expected = exported(on("test_efficientnet", channels=2, outputs=3), tmp_path, 2, 3, SIZE)
    for answer in answers:
        np.testing.assert_allclose(answer, expected, atol=1e-5)


LEVELLED = [name for name in NAMES if name != "smp-dpt"]
PAIRS = [(name, encoder) for name in LEVELLED for encoder in ("test_resnet", "test_convnext")]
PAIRS += [("smp-segformer", "mit_b0"), ("smp-deeplabv3+", "mit_b0"), ("smp-dpt", "test_vit")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "encoder"), PAIRS)
def test_every_network_is_exported_with_equal_answers(name, encoder, tmp_path):
    size = (128, 128) if name == "smp-pan" else SIZE
    answers, expected = exported(on(encoder, name, size=size), tmp_path, 3, 1, size)
    for answer in answers:
        np.testing.assert_allclose(answer, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["smp-unet++", "smp-linknet"])
def test_an_encoder_that_a_network_cannot_stand_on_is_refused(name):
    with pytest.raises(RecipeError, match=f"{re.escape(name)}.*mit_b0"):
        on("mit_b0", name, size=(128, 128))


def test_building_and_rebuilding_reaches_for_no_host(offline):
    recipe = load_recipe("brain-mri-small", ["model={name: smp-unet, encoder: test_resnet, weights: imagenet}"])
    check_network(recipe)
    trained = build_network(recipe, 3, 0, trained=True)
    entry = ModelEntry.model_validate(model_entry(recipe, [0]))
    spec = type("Spec", (), {**entry.model_dump(), "size": (128, 128), "target": recipe.predicts()})
    rebuilt = KINDS["masks"].rebuild(spec, 0)
    rebuilt.load_state_dict(trained.state_dict())
    assert entry.options == {"encoder": "test_resnet"}
    image = torch.randn(1, 3, 128, 128)
    assert torch.equal(rebuilt.eval()(image), trained.eval()(image))


def test_a_network_without_an_encoder_of_its_own_has_no_such_option_in_the_bundle():
    assert model_entry(load_recipe("brain-mri-small"), [0])["options"] == {}


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"encoder": "resnet81"}, "did you mean 'resnet"),
        ({"encoder": "timm-resnest14d"}, "no encoder 'timm-resnest14d'"),
        ({"encoder": "resnet18.nonsense"}, "no encoder 'resnet18.nonsense'"),
        ({"encoder": "test_vit"}, "smp-unet.*cannot be built on the encoder 'test_vit'.*smp-dpt"),
        ({"encoder": "test_resnet", "args": {"decoder_chanels": [1]}}, "decoder_channels"),
        ({"encoder": "test_resnet", "args": {"encoder_weights": "imagenet"}}, "encoder_weights"),
        ({"encoder": "test_resnet", "args": {"encoder_depth": 9}}, "cannot be built"),
        ({"encoder": "mit_b0", "weights": "imagenet", "name": "smp-fpn"}, "mit_b0"),
    ],
)
def test_what_is_wrong_is_named(settings, said, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    model = {"name": "smp-unet", **settings}
    with pytest.raises(RecipeError, match=said):
        build_mask_network(
            model["name"], 3, 1, SIZE, model.get("args"), encoder=model["encoder"], weights=model.get("weights", "none")
        )


@pytest.mark.parametrize(("name", "encoder"), [("smp-fpn", "test_resnet"), ("smp-dpt", "test_vit")])
def test_a_size_that_does_not_fit_names_one_that_does(name, encoder):
    with pytest.raises(RecipeError, match="50x37") as caught:
        on(encoder, name, size=(50, 37))
    height, width, step = map(int, re.search(r"; (\d+)x(\d+) fits.* multiples of (\d+)$", str(caught.value)).groups())
    assert height - 50 < step
    assert width - 37 < step
    on(encoder, name, size=(height, width))


def test_a_u_net_takes_any_size():
    assert on("test_resnet", size=(50, 37)).eval()(torch.zeros(1, 3, 50, 37)).shape == (1, 1, 50, 37)


# --- what it begins with ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", ["test_resnet", "test_efficientnet", "test_convnext", "test_nfnet"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_the_maps_of_an_encoder_are_those_of_the_network_whose_weights_it_has(encoder, suffix, tmp_path):
    theirs = timm.create_model(encoder).eval()
    images = torch.randn(2, 3, *SIZE)
    mine = on(encoder, weights=saved(tmp_path, theirs, suffix)).eval()
    expected = timm.create_model(encoder, features_only=True).eval()
    whole = {key.replace(".", "_"): value for key, value in theirs.state_dict().items()}
    expected.load_state_dict({key: whole[key.replace(".", "_")] for key in expected.state_dict()})
    with torch.no_grad():
        for ours, map_nchw in zip(mine.body.encoder(images)[::-1], expected(images)[::-1], strict=False):
            assert torch.equal(ours, map_nchw)


def test_a_vision_transformer_takes_its_weights_at_another_size(tmp_path):
    theirs = timm.create_model("test_vit", img_size=160)
    mine = on("test_vit", "smp-dpt", size=(96, 64), weights=saved(tmp_path, theirs))
    assert torch.equal(mine.body.encoder.model.blocks[0].attn.qkv.weight, theirs.blocks[0].attn.qkv.weight)


def test_a_first_layer_for_three_channels_is_summed_for_one_and_repeated_for_four(tmp_path):
    theirs = timm.create_model("test_resnet")
    weights, first = saved(tmp_path, theirs), theirs.conv1[0].weight
    one, four = (
        on("test_resnet", channels=channels, weights=weights).body.encoder.model.conv1[0] for channels in (1, 4)
    )
    torch.testing.assert_close(one.weight, first.sum(1, keepdim=True))
    torch.testing.assert_close(four.weight, torch.cat([first, first[:, :1]], 1) * 3 / 4)


def test_an_encoder_of_the_other_library_takes_a_file_of_its_own(tmp_path):
    theirs = on("mit_b0", "smp-segformer").body.encoder
    mine = on("mit_b0", "smp-segformer", weights=saved(tmp_path, theirs)).body.encoder
    assert all(torch.equal(value, mine.state_dict()[key]) for key, value in theirs.state_dict().items())


def test_a_trained_classifier_is_a_beginning_for_masks(tmp_path):
    recipe = load_recipe("chest-xray", ["model.name=test_resnet", "target.classes=[a,b]"])
    classifier = build_network(recipe, 1, 0)
    mine = on("test_resnet", channels=1, weights=saved(tmp_path, classifier))
    assert torch.equal(mine.body.encoder.model.conv1[0].weight, classifier.backbone.conv1[0].weight)


def test_weights_of_another_network_are_refused(tmp_path):
    weights = saved(tmp_path, timm.create_model("test_resnet"))
    with pytest.raises(RecipeError, match="does not hold the weights of 'test_efficientnet'"):
        on("test_efficientnet", weights=weights)


def test_weights_for_a_network_without_an_encoder_are_refused():
    with pytest.raises(RecipeError, match=r"model\.weights: it acts only"):
        load_recipe("brain-mri-small", ["model.weights=imagenet"])
