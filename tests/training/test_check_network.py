"""What can be known to be wrong with a network before any image is read."""

import pytest
import torch

from medloom.errors import RecipeError
from medloom.recipe import load_recipe
from medloom.training import check_network


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("chest-xray", ["model.name=resnet81"], "resnet18"),
        ("chest-xray", ["model.name=alexnet", "preprocess.size=[40,40]", "preprocess.crop=null"], "40x40"),
        ("melanoma", ["model.name=resnet18", "model.weights=nothing.safetensors"], "no file nothing.safetensors"),
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


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("brain-mri-small", []),
        ("chest-xray", []),
        ("chest-xray", ["model.name=perceptron", "model.weights=imagenet"]),
        ("melanoma", ["model.metadata=only"]),
    ],
)
def test_what_is_right_passes_before_the_labels_are_known_and_without_a_network_connection(name, settings):
    check_network(load_recipe(name, settings))
