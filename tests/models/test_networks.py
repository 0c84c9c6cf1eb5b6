import re

import pytest
import torch

from medloom.errors import RecipeError
from medloom.models.network import parameter_count
from medloom.models.networks import build_mask_network
from medloom.registry import NETWORKS

SMALL = {
    "unet": {"channels": [4, 8, 16]},
    "attention-unet": {"channels": [4, 8, 16]},
    "unetr": {"hidden_size": 48, "mlp_dim": 32, "num_heads": 4, "feature_size": 4},
    "swin-unetr": {"feature_size": 12, "depths": [1, 1, 1, 1]},
    "segresnet": {"init_filters": 8},
    "dynunet": {"filters": [4, 8, 16]},
    "flexible-unet": {"decoder_channels": [16, 8, 8, 4, 4]},
    "smp-dpt": {"decoder_fusion_channels": 8, "decoder_intermediate_channels": [8, 8, 8, 8]},
}
ENCODERS = {"smp-dpt": "test_vit"}


def built(name, channels, outputs, size):
    encoder = ENCODERS.get(name, "test_resnet") if name.startswith("smp-") else None
    return build_mask_network(name, channels, outputs, size, SMALL.get(name), encoder=encoder)


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize(("channels", "classes"), [(1, 1), (4, 3)])
def test_logits_have_the_images_size_and_one_plane_a_class(name, channels, classes):
    size = (128, 192) if name == "smp-pan" else (64, 96)
    network = built(name, channels, classes, size).eval()
    assert network(torch.zeros(1, channels, *size)).shape == (1, classes, *size)


def test_the_default_unet_is_the_usual_one():
    network = build_mask_network("unet", 3, 1, (64, 64))
    assert parameter_count(network) == pytest.approx(6.5e6, rel=0.01)


def test_dropout_drops_whole_feature_maps():
    network = build_mask_network("unet", 1, 1, (32, 32), {"channels": [4, 8], "dropout": 0.5})
    kinds = {type(m) for m in network.modules() if "Dropout" in type(m).__name__}
    assert kinds == {torch.nn.Dropout2d}


@pytest.mark.parametrize(
    ("name", "args", "size", "said"),
    [
        ("unett", {}, (64, 64), "did you mean 'unet'"),
        ("unet", {"chanels": [4, 8]}, (64, 64), "did you mean 'channels'"),
        ("unet", {"channels": [4]}, (64, 64), "cannot be built"),
        ("unet", {"channels": [4, 8, 16]}, (50, 50), "50x50"),
    ],
)
def test_a_wrong_name_argument_or_size_is_a_recipe_error_that_says_so(name, args, size, said):
    with pytest.raises(RecipeError, match=said):
        build_mask_network(name, 3, 1, size, args)


@pytest.mark.parametrize("name", ["unet", "unetr", "swin-unetr"])
def test_a_size_that_does_not_fit_names_one_that_does(name):
    with pytest.raises(RecipeError, match="50x37") as caught:
        build_mask_network(name, 1, 1, (50, 37), SMALL[name])
    height, width, step = map(int, re.search(r"; (\d+)x(\d+) fits.* multiples of (\d+)$", str(caught.value)).groups())
    assert height - 50 < step
    assert width - 37 < step
    build_mask_network(name, 1, 1, (height + 2 * step, width), SMALL[name])


def test_a_network_for_masks_is_trained_as_one():
    network = build_mask_network("unet", 1, 1, (32, 32), {"channels": [4, 8]})
    network.set_epoch(3)
    (group,) = network.parameter_groups(0.1)
    assert [id(p) for p in group["params"]] == [id(p) for p in network.parameters()]
    assert all(p.requires_grad for p in network.parameters())
