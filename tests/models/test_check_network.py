"""What can be known to be wrong with a network before any image is read."""

import pytest
import torch
from safetensors.torch import save_file

from medloom.errors import RecipeError
from medloom.models import check_network
from medloom.recipe import load_recipe


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("chest-xray", ["model.name=resnet81"], "resnet18"),
        ("chest-xray", ["model.name=alexnet", "preprocess.size=[40,40]", "preprocess.crop=null"], "40x40"),
        ("melanoma", ["model.name=resnet18", "model.weights=nothing.safetensors"], "no file nothing.safetensors"),
        (
            "chest-xray",
            ["model.tune=blocks", "model.blocks=9"],
            r"model\.blocks: 9 .* 'resnet18' .* has 5; .*at most 5",
        ),
        ("chest-xray", ["model.name=perceptron", "model.tune=blocks"], r"model\.tune: it acts only"),
        ("chest-xray", ["model.tune=head", "model.unfreeze_every=2"], "unfreeze_every"),
        ("chest-xray", ["model.metadata=fused"], r"data\.labels\.metadata"),
        ("brain-mri-small", ["model.args.chanels=[8,16]"], "channels"),
        ("brain-mri-small", ["model.args={channels: 5}"], "cannot be built"),
        ("brain-mri-small", ["model.args={channels: [a, b]}"], "cannot be built"),
        ("brain-mri-small", ["loss.args.foo=1"], "foo"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_drawn(name, settings, said):
    before = torch.random.get_rng_state()
    with pytest.raises(RecipeError, match=said):
        check_network(load_recipe(name, settings))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_weights_file_of_another_network_is_found(tmp_path):
    save_file({"conv1.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(RecipeError, match="does not hold the weights of 'resnet18'"):
        check_network(load_recipe("chest-xray", [f"model.weights={tmp_path}/other.safetensors"]))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("brain-mri-small", []),
        ("chest-xray", []),
        ("chest-xray", ["model.name=perceptron", "model.weights=imagenet"]),
        ("chest-xray", ["model.tune=blocks", "model.blocks=5"]),
        ("melanoma", ["model.metadata=only"]),
    ],
)
def test_what_is_right_passes_before_the_labels_are_known_and_without_a_network_connection(name, settings):
    check_network(load_recipe(name, settings))
