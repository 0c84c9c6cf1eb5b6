import numpy as np
import pytest
import torch
from torch.nn import functional

from medloom.errors import UserError
from medloom.models.classifier import build_classifier
from medloom.models.heatmaps import grad_cam
from medloom.models.tuning import Tuning

SIZE = (64, 64)


def classifier(name="test_resnet", size=SIZE, columns=0, **keys):
    torch.manual_seed(0)
    return build_classifier(name, in_channels=1, outputs=3, size=size, table_features=columns, **keys)


def images(count=2, size=SIZE):
    return torch.randn(count, 1, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext", "test_vit"])
@pytest.mark.parametrize("keys", [{}, {"tuning": Tuning(tune="head")}])
def test_a_map_has_the_images_size_and_goes_from_0_to_1(name, keys):
    network = classifier(name, **keys)
    maps = torch.cat([grad_cam(network, images(), None, index) for index in range(3)])
    assert maps.shape == (6, *SIZE)
    assert maps.dtype == torch.float32
    assert maps.min() >= 0
    assert set(maps.amax(dim=(1, 2)).tolist()) <= {0.0, 1.0}
    assert maps.max() == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["resnet18", "efficientnet_b0", "densenet121", "alexnet", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"],
)
def test_the_usual_networks_have_maps(name):
    network = classifier(name, size=(224, 224))
    maps = torch.cat([grad_cam(network, images(1, (224, 224)), None, index) for index in range(3)])
    assert maps.shape == (3, 224, 224)
    assert 0 <= maps.min() <= maps.max() <= 1
    assert maps.std() > 0


def test_a_map_is_the_weighted_sum_of_the_last_feature_map():
    network = classifier().eval()
    backbone = network.backbone
    features = backbone.forward_features(images()).detach().requires_grad_()
    logits = network.head(backbone.forward_head(features, pre_logits=True))
    (gradient,) = torch.autograd.grad(logits[:, 2].sum(), features)
    expected = (gradient.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1, keepdim=True).relu()
    expected = functional.interpolate(expected, size=SIZE, mode="bilinear")[:, 0]
    expected = expected / expected.amax(dim=(1, 2), keepdim=True).clamp_min(1e-30)
    torch.testing.assert_close(grad_cam(network, images(), None, 2), expected.detach())


def test_an_images_map_does_not_depend_on_the_others_in_the_batch():
    network = classifier()
    torch.testing.assert_close(grad_cam(network, images()[1:], None, 0)[0], grad_cam(network, images(), None, 0)[1])


def test_the_table_goes_into_the_map_of_a_fused_network():
    network = classifier(metadata="fused", columns=3)
    assert grad_cam(network, images(), torch.randn(2, 3), 0).shape == (2, *SIZE)


def test_the_classifier_is_left_as_it_was():
    network = classifier(tuning=Tuning(tune="blocks")).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    frozen = [p.requires_grad for p in network.parameters()]
    with torch.no_grad():
        grad_cam(network, images(), None, 0)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert [p.requires_grad for p in network.parameters()] == frozen
    assert network.training
    assert all(p.grad is None for p in network.parameters())
    assert not any(m._forward_hooks or m._backward_hooks for m in network.modules())


def test_maps_can_be_made_where_gradients_are_off():
    network = classifier()
    with torch.inference_mode():
        maps = grad_cam(network, images(), None, 0)
    torch.testing.assert_close(maps, grad_cam(network, images(), None, 0))


@pytest.mark.parametrize("keys", [{"name": "perceptron"}, {"metadata": "only"}])
def test_a_network_without_a_feature_map_is_refused_with_a_reason(keys):
    with pytest.raises(UserError, match="no heat map"):
        grad_cam(classifier(columns=2, **keys), images(), torch.randn(2, 2), 0)


def test_an_output_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="from 0 to 2"):
        grad_cam(classifier(), images(), None, 3)


def test_a_network_gives_its_own_map_as_an_array_and_none_where_it_has_none():
    network, image = classifier(), images(1)
    expected = grad_cam(network, image, None, 1)[0].numpy()
    np.testing.assert_array_equal(network.heatmap(image.numpy(), None, 1), expected)
    for keys in ({"name": "perceptron"}, {"metadata": "only", "columns": 2}):
        assert classifier(**keys).heatmap(image.numpy(), np.zeros((1, 2), np.float32), 0) is None
