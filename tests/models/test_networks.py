import pytest
import torch

from medloom.errors import RecipeError
from medloom.models import NETWORKS
from medloom.models.networks import _BUILDERS, build_network, parameter_count
from medloom.recipe import ModelConfig

SMALL = {
    "unet": {"channels": [4, 8, 16]},
    "attention-unet": {"channels": [4, 8, 16]},
    "unetr": {"hidden_size": 48, "mlp_dim": 32, "num_heads": 4, "feature_size": 4},
    "swin-unetr": {"feature_size": 12, "depths": [1, 1, 1, 1]},
    "segresnet": {"init_filters": 8},
    "dynunet": {"filters": [4, 8, 16]},
    "flexible-unet": {"decoder_channels": [16, 8, 8, 4, 4]},
}


def test_every_name_in_the_registry_can_be_built():
    assert set(NETWORKS) == set(_BUILDERS) == set(SMALL)


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize(("channels", "classes"), [(1, 1), (4, 3)])
def test_logits_have_the_images_size_and_one_plane_a_class(name, channels, classes):
    network = build_network(ModelConfig(name=name, args=SMALL[name]), channels, classes, (64, 96)).eval()
    assert network(torch.zeros(1, channels, 64, 96)).shape == (1, classes, 64, 96)


def test_the_default_unet_is_the_usual_one():
    network = build_network(ModelConfig(), 3, 1, (64, 64))
    assert parameter_count(network) == pytest.approx(6.5e6, rel=0.01)


def test_dropout_drops_whole_feature_maps():
    network = build_network(ModelConfig(args={"channels": [4, 8], "dropout": 0.5}), 1, 1, (32, 32))
    kinds = {type(m) for m in network.modules() if "Dropout" in type(m).__name__}
    assert kinds == {torch.nn.Dropout2d}


@pytest.mark.parametrize(
    ("config", "size", "said"),
    [
        (ModelConfig(args={"chanels": [4, 8]}), (64, 64), "did you mean 'channels'"),
        (ModelConfig(args={"channels": [4]}), (64, 64), "cannot be built"),
        (ModelConfig(args={"channels": [4, 8, 16]}), (50, 50), "50x50"),
    ],
)
def test_a_wrong_argument_or_size_is_a_recipe_error_that_says_so(config, size, said):
    with pytest.raises(RecipeError, match=said):
        build_network(config, 3, 1, size)
