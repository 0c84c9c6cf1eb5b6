"""Heat maps of networks for masks against MONAI's Grad-CAM and against gradients that are taken by hand."""

import numpy as np
import pytest
import torch
from monai.visualize.class_activation_maps import GradCAM
from torch import nn
from torch.nn import functional

from medloom.errors import UserError
from medloom.models.ensemble import Ensemble
from medloom.models.mask_heatmaps import seg_grad_cam
from medloom.models.mask_network import MaskNetwork
from medloom.models.networks import build_mask_network
from medloom.models.tuning import Tuning
from medloom.registry import NETWORKS

SIZE = (64, 96)
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
WITH_ENCODER = sorted(name for name, entry in NETWORKS.items() if "encoder" in entry.traits and name != "smp-dpt")
QUICK = {"smp-unet", "smp-deeplabv3+"}


def built(name, outputs=3, size=SIZE, encoder="test_resnet", **keys):
    torch.manual_seed(0)
    chosen = {"smp-dpt": "test_vit"}.get(name, encoder) if name.startswith("smp-") else None
    return build_mask_network(name, 2, outputs, size, SMALL.get(name), encoder=chosen, **keys).eval()


def images(count=2, size=SIZE):
    return torch.randn(count, 2, *size, generator=torch.Generator().manual_seed(1))


def region(count=2, size=SIZE):
    pixels = torch.zeros(count, *size, dtype=torch.bool)
    pixels[:, 8:40, 30:70] = True
    return pixels


def layer_of(network):
    return f"body.{network.deepest}"


def by_hand(activations, score, size=SIZE):
    """The formula of the paper, from a map that has a gradient and a number for each image."""
    (gradient,) = torch.autograd.grad(score.sum(), activations)
    weights = gradient.sum((2, 3), keepdim=True) / gradient[0, 0].numel()
    evidence = functional.relu((weights * activations).sum(1, keepdim=True))
    maps = functional.interpolate(evidence, size=size, mode="bilinear")[:, 0]
    return (maps / maps.amax((1, 2), keepdim=True).clamp_min(1e-30)).detach()


class Summed(nn.Module):
    """A network whose answer for each class is the sum of its logits over a region."""

    def __init__(self, network, pixels):
        super().__init__()
        self.network, self.pixels = network, pixels

    def forward(self, x):
        return (self.network(x) * self.pixels[:, None]).sum((2, 3))


class Opposite(nn.Module):
    """A network with the opposite logits."""

    def __init__(self, network):
        super().__init__()
        self.body = network.body

    def forward(self, x):
        return -self.body(x)


@pytest.mark.parametrize("name", ["unet", "attention-unet", "segresnet", "dynunet"])
def test_a_map_is_monais_grad_cam_of_the_summed_logits_of_the_region(name):
    network = built(name)
    ours = seg_grad_cam(network, layer_of(network), images(), 2, region())
    theirs = GradCAM(Summed(network, region()), f"network.{layer_of(network)}", postprocessing=lambda maps: maps)
    expected = theirs(x=images(), class_idx=2)[:, 0]
    assert expected.amax((1, 2)).min() > 0
    torch.testing.assert_close(ours, (expected / expected.amax((1, 2), keepdim=True)).detach())


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=[] if one in QUICK else [pytest.mark.slow]) for one in WITH_ENCODER]
)
def test_the_map_of_a_network_on_an_encoder_is_that_of_the_encoders_last_feature_map(name):
    size = (128, 192) if name == "smp-pan" else SIZE
    network = built(name, size=size)
    asked = [(index, seg_grad_cam(network, layer_of(network), images(size=size), index)) for index in range(3)]
    for index, ours in asked:
        features = [one.detach() for one in network.body.encoder(images(size=size))]
        features[-1].requires_grad_()
        logits = network.body.segmentation_head(network.body.decoder([one.clone() for one in features]))
        pixels = logits.argmax(1) == index
        pixels[~pixels.any(2).any(1)] = True
        torch.testing.assert_close(ours, by_hand(features[-1], (logits[:, index] * pixels).sum((1, 2)), size))
    assert torch.stack([ours for _, ours in asked]).max() == 1


def test_the_tokens_of_a_transformer_lie_as_their_patches_do():
    network = built("unetr", outputs=1)
    body = network.body
    tokens, states = body.vit(images())
    tokens = tokens.detach().requires_grad_()
    laid = tokens.transpose(1, 2).reshape(2, 48, SIZE[0] // 16, SIZE[1] // 16)
    up = body.decoder5(laid, body.encoder4(body.proj_feat(states[9])))
    up = body.decoder4(up, body.encoder3(body.proj_feat(states[6])))
    up = body.decoder3(up, body.encoder2(body.proj_feat(states[3])))
    logits = body.out(body.decoder2(up, body.encoder1(images())))
    expected = by_hand(laid, (logits[:, 0] * region()).sum((1, 2)))
    torch.testing.assert_close(seg_grad_cam(network, layer_of(network), images(), 0, region()), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_has_maps_from_0_to_1_in_the_images_size(name):
    size = (128, 192) if name == "smp-pan" else SIZE
    network, image, pixels = built(name, size=size), images(1, size), region(1, size)
    shown = network.heatmap(image.numpy(), None, 1)
    assert shown.shape == size
    assert shown.dtype == np.float32
    # What speaks against a class speaks for it in the network with the opposite answers.
    maps = [seg_grad_cam(one, layer_of(network), image, 1, pixels) for one in (network, Opposite(network))]
    assert {float(one.max()) for one in [*maps, torch.from_numpy(shown)]} <= {0.0, 1.0}
    assert max(float(one.max()) for one in maps) == 1
    assert min(float(one.min()) for one in maps) >= 0


def test_without_a_region_the_pixels_are_asked_about_that_the_network_takes_for_the_class():
    network = built("unet", outputs=1)
    name, decided = layer_of(network), network(images())[:, 0] >= 0
    assert decided.any()
    assert not decided.all()
    expected = seg_grad_cam(network, name, images(), 0, decided)
    torch.testing.assert_close(seg_grad_cam(network, name, images(), 0), expected)
    everywhere = seg_grad_cam(network, name, images(), 0, torch.ones_like(decided))
    assert not torch.allclose(everywhere, expected)
    torch.testing.assert_close(seg_grad_cam(network, name, images(), 0, torch.zeros_like(decided)), everywhere)


def test_the_network_is_left_as_it_was_and_gradients_may_be_off():
    network = built("smp-unet", tuning=Tuning(tune="head")).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    frozen = [weight.requires_grad for weight in network.parameters()]
    with torch.inference_mode():
        maps = seg_grad_cam(network, layer_of(network), images(), 1)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert [weight.requires_grad for weight in network.parameters()] == frozen
    assert network.training
    assert all(weight.grad is None for weight in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())
    torch.testing.assert_close(maps, seg_grad_cam(network.eval(), layer_of(network), images(), 1))
    torch.testing.assert_close(maps[1:], seg_grad_cam(network, layer_of(network), images()[1:], 1))


def test_a_map_of_one_pixel_is_passed_over_for_the_next_larger_one():
    network = built("smp-unet", size=(32, 32))
    small = images(size=(32, 32))
    assert network.body.encoder(small)[-1].shape[2:] == (1, 1)
    features = network.body.encoder(small)  # the map of one pixel is made of the next larger one, and that counts too
    logits = network.body.segmentation_head(network.body.decoder(features))
    pixels = region(size=(32, 32))
    expected = by_hand(features[-2], (logits[:, 1] * pixels).sum((1, 2)), (32, 32))
    torch.testing.assert_close(seg_grad_cam(network, layer_of(network), small, 1, pixels), expected)


def test_a_network_without_a_map_of_several_pixels_is_refused_with_a_reason_and_gives_none():
    network = build_mask_network("dynunet", 2, 1, (4, 4), {"filters": [4, 4, 4], "norm_name": "BATCH"})
    small = images(1, (4, 4))
    with pytest.raises(UserError, match=r"no heat map: .*bottleneck.* larger images"):
        seg_grad_cam(network, layer_of(network), small, 0)
    assert network.heatmap(small.numpy(), None, 0) is None
    assert MaskNetwork(nn.Conv2d(2, 1, 1)).heatmap(small.numpy(), None, 0) is None


def test_an_output_that_is_not_there_is_refused():
    network = built("unet")
    with pytest.raises(ValueError, match="from 0 to 2"):
        seg_grad_cam(network, layer_of(network), images(), 3)


def test_an_ensemble_shows_the_mean_of_its_members_and_nothing_where_one_has_no_map():
    members, image = [built("unet"), built("dynunet")], images(1).numpy()
    mean = np.mean([one.heatmap(image, None, 1) for one in members], axis=0)
    np.testing.assert_allclose(Ensemble(members, "softmax").heatmap(image, None, 1), mean / mean.max(), rtol=1e-6)
    assert Ensemble([members[0], MaskNetwork(nn.Conv2d(2, 3, 1))], "softmax").heatmap(image, None, 1) is None
