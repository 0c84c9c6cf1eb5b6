from dataclasses import fields

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from torch import nn

from medloom.errors import RecipeError
from medloom.models.backbones import blocks, build_backbone
from medloom.models.classifier import build_classifier
from medloom.models.ensemble import Probabilities
from medloom.models.tuning import Tuning
from medloom.packaging.export import _quiet_exporter
from medloom.registry import BACKBONES, load

SIZE = (64, 64)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


TUNING = [field.name for field in fields(Tuning)]


def classifier(name="test_resnet", *, channels=1, outputs=3, size=SIZE, columns=0, **keys):
    keys["tuning"] = Tuning(**{key: keys.pop(key) for key in TUNING if key in keys})
    return build_classifier(name, in_channels=channels, outputs=outputs, size=size, table_features=columns, **keys)


def trained(part):
    return [parameter.requires_grad for parameter in part]


def unfrozen_blocks(network):
    parts = blocks(network.backbone)
    assert all(len(set(trained(part))) == 1 for part in parts)
    return [index for index, part in enumerate(parts) if trained(part)[0]]


def batch_norms(network):
    return [m for m in network.backbone.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


# --- the network -----------------------------------------------------------------------------------------------------


def test_every_backbone_of_the_registry_has_a_builder():
    assert all(callable(load(entry)) for entry in BACKBONES.values())


@pytest.mark.parametrize("name", ["perceptron", "test_resnet", "test_efficientnet", "test_vit", "test_convnext"])
@pytest.mark.parametrize(("channels", "outputs"), [(1, 1), (4, 3)])
def test_there_is_one_logit_an_output_for_any_number_of_channels(name, channels, outputs):
    network = classifier(name, channels=channels, outputs=outputs)
    assert network(torch.randn(2, channels, *SIZE)).shape == (2, outputs)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["resnet18", "resnet50", "efficientnet_b0", "densenet121", "vit_small_patch16_224", "alexnet"]
)
def test_the_usual_networks_can_be_built_and_train_a_step(name):
    network = classifier(name, channels=3, size=(96, 96), outputs=1)
    network(torch.randn(2, 3, 96, 96)).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_without_metadata_the_features_and_head_are_timms_own():
    network = classifier("test_resnet", channels=3).eval()
    theirs = timm.create_model("test_resnet", num_classes=3).eval()
    state = {**network.backbone.state_dict(), "fc.weight": network.head[0].weight, "fc.bias": network.head[0].bias}
    theirs.load_state_dict(state)
    images = torch.randn(2, 3, *SIZE)
    torch.testing.assert_close(network(images), theirs(images))


def test_the_perceptron_sees_a_thumbnail_and_each_channels_mean_and_deviation():
    images = torch.randn(3, 2, 50, 64)
    features = build_backbone("perceptron", 2, (50, 64))(images)
    assert features.shape == (3, 2 * 258)
    torch.testing.assert_close(features[:, -4:-2], images.mean(dim=(2, 3)))
    torch.testing.assert_close(features[:, -2:], images.std(dim=(2, 3), correction=0))
    torch.testing.assert_close(features[0, 0], images[0, 0, :4, :4].mean())


def test_alexnets_head_is_its_three_fully_connected_layers():
    network = classifier("alexnet", outputs=2, tune="head")
    widths = [(m.in_features, m.out_features) for m in network.head if isinstance(m, nn.Linear)]
    assert widths == [(9216, 4096), (4096, 4096), (4096, 2)]
    assert not any(trained(network.backbone.parameters()))
    assert all(trained(network.head.parameters()))


def test_dropout_before_the_head_works_in_training_only():
    network = classifier("perceptron", dropout=0.5)
    images = torch.randn(2, 1, *SIZE)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"name": "resnet81"}, "model.name.*resnet18"),
        ({"name": "perceptrn"}, "model.name.*perceptron"),
        ({"name": "hf-hub:someone/something"}, "model.name"),
        ({"name": "resnet18.a1_in1kk"}, "model.name.*resnet18.a1_in1k"),
        ({"name": "test_resnet", "args": {"no_such": 1}}, "model.args.*no_such"),
        ({"name": "test_resnet", "args": {"checkpoint_path": "x.pth"}}, "checkpoint_path"),
        ({"name": "test_resnet", "args": {"pretrained_cfg_overlay": {"file": "x.pth"}}}, "pretrained_cfg_overlay"),
        ({"name": "perceptron", "args": {"width": 1}}, "table_width"),
        ({"name": "perceptron", "weights": "imagenet"}, "model.weights"),
        ({"name": "alexnet", "args": {"dropuot": 0.1}}, "did you mean 'dropout'"),
        ({"name": "alexnet", "args": {"dropout": "much"}}, "model.args.dropout"),
        ({"name": "test_resnet", "metadata": "fused"}, "data.labels.metadata"),
        ({"name": "test_resnet", "tune": "head", "unfreeze_every": 1}, "model.unfreeze_every"),
    ],
)
def test_a_wrong_name_or_argument_is_a_recipe_error_that_says_so(keys, said):
    with pytest.raises(RecipeError, match=said):
        classifier(**keys)


def test_a_size_that_the_network_cannot_take_is_a_recipe_error():
    with pytest.raises(RecipeError, match=r"preprocess.size.*16x16"):
        classifier("alexnet", size=(16, 16))


# --- metadata --------------------------------------------------------------------------------------------------------


def test_fused_uses_both_the_image_and_the_table():
    network = classifier("test_resnet", metadata="fused", columns=4).eval()
    images, table = torch.randn(2, 1, *SIZE), torch.randn(2, 4)
    logits = network(images, table)
    assert not torch.allclose(logits, network(images + torch.randn_like(images), table))
    assert not torch.allclose(logits, network(images, table + 1))


def test_fused_features_do_not_drown_the_table():
    network = classifier("perceptron", metadata="fused", columns=4).eval()
    images, table = torch.randn(2, 1, *SIZE), torch.randn(2, 4)
    torch.testing.assert_close(network(1000 * images, table), network(images, table), rtol=0.01, atol=0.01)


def test_metadata_only_has_no_backbone_and_ignores_the_image():
    network = classifier("resnet18", metadata="only", columns=4)
    table = torch.randn(1, 4)
    assert network.backbone is None
    assert torch.equal(network(None, table), network(torch.randn(1, 1, *SIZE), table))


def test_a_batch_of_one_row_trains():
    network = classifier(metadata="only", columns=4)
    network(None, torch.randn(1, 4)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize(
    ("keys", "inputs"), [({"metadata": "fused"}, "image"), ({"metadata": "fused"}, "table"), ({}, "table")]
)
def test_what_the_network_needs_must_be_there(keys, inputs):
    network = classifier("perceptron", columns=4, **keys)
    given = {"image": (torch.zeros(2, 1, *SIZE), None), "table": (None, torch.zeros(2, 4))}[inputs]
    with pytest.raises(ValueError, match="this network needs"):
        network(*given)


# --- what is trained -------------------------------------------------------------------------------------------------

COUNTS = {"resnet18": 5, "efficientnet_b0": 8, "densenet121": 5, "vit_tiny_patch16_224": 13, "alexnet": 5}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(COUNTS))
def test_the_blocks_of_a_usual_network_hold_every_parameter_once_in_the_order_of_the_images_way(name):
    check_blocks(build_backbone(name, 3, (224, 224)), COUNTS[name])


@pytest.mark.parametrize(
    ("name", "count"),
    [("test_resnet", 5), ("test_efficientnet", 6), ("test_vit", 7), ("test_convnext", 5), ("perceptron", 0)],
)
def test_the_blocks_of_a_small_network_hold_every_parameter_once_in_the_order_of_the_images_way(name, count):
    check_blocks(build_backbone(name, 3, SIZE), count)


def check_blocks(backbone, count):
    parts = blocks(backbone)
    names = {id(parameter): name for name, parameter in backbone.named_parameters()}
    in_blocks = [names[id(parameter)] for part in parts for parameter in part]
    assert len(parts) == count
    assert sorted(in_blocks) == sorted(names.values())
    if count:
        assert all(name.startswith(FIRST) for name in (names[id(p)] for p in parts[0]))


FIRST = (
    "conv1",
    "bn1",
    "conv_stem",
    "stem",
    "features.conv0",
    "features.norm0",
    "features.0",
    "patch_embed",
    "cls_",
    "pos_",
)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"tune": "all"}, [0, 1, 2, 3, 4]),
        ({"tune": "head"}, []),
        ({"tune": "blocks", "blocks": 2}, [3, 4]),
        ({"tune": "blocks", "blocks": 5}, [0, 1, 2, 3, 4]),
    ],
)
def test_the_recipe_says_how_many_of_the_last_blocks_are_trained(keys, expected):
    network = classifier(**keys)
    assert unfrozen_blocks(network) == expected
    assert all(trained(network.head.parameters()))


def test_a_step_changes_the_unfrozen_blocks_and_the_head_and_nothing_else():
    network = classifier(tune="blocks", blocks=1, outputs=1)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimiser = torch.optim.AdamW(network.parameter_groups(0.1), weight_decay=0.1)
    network(torch.randn(4, 1, *SIZE)).square().mean().backward()
    optimiser.step()
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert all(key.startswith(("backbone.layer4.", "head.")) for key in changed)
    assert {"head.0.weight", "backbone.layer4.0.conv1.weight", "backbone.layer4.0.bn1.running_mean"} <= changed


def test_batch_norms_of_frozen_blocks_keep_their_statistics_in_training():
    network = classifier(tune="head").train()
    before = [m.running_mean.clone() for m in batch_norms(network)]
    network(torch.randn(4, 1, *SIZE) + 5)
    assert all(torch.equal(m.running_mean, b) for m, b in zip(batch_norms(network), before, strict=True))
    assert network.training
    assert network.head.training


def test_gradual_unfreezing_adds_a_block_from_the_end_every_so_many_epochs():
    network = classifier(unfreeze_every=2)
    seen = []
    for epoch in range(14):
        network.set_epoch(epoch)
        seen.append(unfrozen_blocks(network))
    assert seen[:6] == [[], [], [4], [4], [3, 4], [3, 4]]
    assert seen[10:] == [[0, 1, 2, 3, 4]] * 4


def test_gradual_unfreezing_is_the_same_whichever_way_an_epoch_was_reached():
    network, resumed = classifier(unfreeze_every=1), classifier(unfreeze_every=1)
    for epoch in range(4):
        network.set_epoch(epoch)
    resumed.set_epoch(3)
    assert trained(network.parameters()) == trained(resumed.parameters())
    assert [m.training for m in network.modules()] == [m.training for m in resumed.modules()]
    assert [m.training for m in batch_norms(network)][-1]


def test_gradual_unfreezing_stops_at_the_last_blocks_that_the_recipe_names():
    network = classifier(tune="blocks", blocks=2, unfreeze_every=1)
    network.set_epoch(50)
    assert unfrozen_blocks(network) == [3, 4]


def test_setting_the_epoch_does_not_leave_evaluation_mode():
    network = classifier(unfreeze_every=1).eval()
    network.set_epoch(5)
    assert not any(m.training for m in network.modules())


def test_the_groups_hold_all_that_is_ever_trained_once_with_its_share_of_the_rate():
    network = classifier(unfreeze_every=3, backbone_rate=0.1, metadata="fused", columns=2)
    groups = {group["name"]: group for group in network.parameter_groups(0.02)}
    assert groups["head"]["lr"] == 0.02
    assert groups["head"]["lr_scale"] == 1.0
    assert groups["backbone"]["lr"] == pytest.approx(0.002)
    assert groups["backbone"]["lr_scale"] == 0.1
    held = [id(p) for group in groups.values() for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in network.parameters())


@pytest.mark.parametrize("keys", [{"tune": "head"}, {"name": "perceptron"}, {"metadata": "only", "columns": 2}])
def test_there_is_one_group_where_the_backbone_is_never_trained(keys):
    network = classifier(**keys)
    groups = network.parameter_groups(0.1)
    assert [group["name"] for group in groups] == ["head"]
    assert len(groups[0]["params"]) == sum(trained(network.parameters()))


# --- weights ---------------------------------------------------------------------------------------------------------


def weights_file(path, model):
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    return str(path)


@pytest.fixture
def pretrained(tmp_path):
    torch.manual_seed(1)
    model = timm.create_model("test_resnet", num_classes=7)
    return model.eval(), weights_file(tmp_path / "w.safetensors", model)


def test_timms_file_is_loaded_without_its_classifier(pretrained):
    theirs, path = pretrained
    network = classifier(channels=3, weights=path).eval()
    images = torch.randn(2, 3, *SIZE)
    torch.testing.assert_close(
        network.backbone(images), theirs.forward_head(theirs.forward_features(images), pre_logits=True)
    )


def test_the_first_layer_is_summed_for_one_channel_so_that_a_grey_image_gives_the_same_features(pretrained):
    theirs, path = pretrained
    network = classifier(channels=1, weights=path).eval()
    grey = torch.randn(2, 1, *SIZE)
    expected = theirs.forward_head(theirs.forward_features(grey.repeat(1, 3, 1, 1)), pre_logits=True)
    torch.testing.assert_close(network.backbone(grey), expected, rtol=1e-4, atol=1e-5)


def test_the_first_layer_is_repeated_and_scaled_for_more_channels(pretrained):
    theirs, path = pretrained
    network = classifier(channels=4, weights=path)
    weight, source = network.backbone.conv1[0].weight, theirs.conv1[0].weight
    torch.testing.assert_close(weight, source[:, [0, 1, 2, 0]] * 3 / 4)


def test_a_trained_classifiers_file_is_a_beginning_for_another(tmp_path):
    first = classifier(outputs=5)
    path = weights_file(tmp_path / "run.safetensors", first)
    second = classifier(outputs=2, weights=path)
    assert all(
        torch.equal(a, b) for a, b in zip(first.backbone.parameters(), second.backbone.parameters(), strict=True)
    )


def test_a_transformers_file_of_another_image_size_is_resampled(tmp_path):
    theirs = timm.create_model("test_vit", num_classes=0)
    network = classifier("test_vit", channels=3, weights=weights_file(tmp_path / "v.safetensors", theirs))
    assert torch.equal(network.backbone.blocks[0].mlp.fc1.weight, theirs.blocks[0].mlp.fc1.weight)
    assert network.backbone.pos_embed.shape[1] == 1 + 4 * 4


def test_torchvisions_alexnet_file_is_loaded_without_its_fully_connected_layers(tmp_path):
    theirs = build_backbone("alexnet", 3, SIZE)
    state = {**theirs.state_dict(), "classifier.6.weight": torch.zeros(1000, 4), "classifier.6.bias": torch.zeros(1000)}
    save_file(state, tmp_path / "a.safetensors")
    mine = build_backbone("alexnet", 1, SIZE, weights=str(tmp_path / "a.safetensors"))
    torch.testing.assert_close(mine.features[0].weight, theirs.features[0].weight.sum(dim=1, keepdim=True))


def test_weights_of_another_network_are_refused_with_counts(pretrained):
    with pytest.raises(RecipeError, match=r"(?s)model\.weights.*missing.*unexpected"):
        classifier("test_efficientnet", weights=pretrained[1])


def test_weights_of_another_shape_are_refused_with_counts(pretrained, tmp_path):
    state = load_file(pretrained[1])
    state["bn1.weight"] = state["bn1.weight"][:-1].contiguous()
    save_file(state, tmp_path / "short.safetensors")
    with pytest.raises(RecipeError, match=r"1 of its \d+ tensors are of another shape \(such as bn1.weight\)"):
        classifier(weights=str(tmp_path / "short.safetensors"))


def test_weights_that_are_not_finite_are_refused(pretrained, tmp_path):
    state = load_file(pretrained[1])
    state["bn1.weight"][0] = torch.nan
    save_file(state, tmp_path / "nan.safetensors")
    with pytest.raises(RecipeError, match="not finite"):
        classifier(weights=str(tmp_path / "nan.safetensors"))


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("w.pth", "holds more than tensors.*save_file"),
        ("w.onnx", r"expected none, imagenet, .* or a file that ends in \.safetensors"),
        ("imagenett", r"expected none, imagenet, .* or a file that ends in \.safetensors"),
        ("missing.safetensors", "there is no file missing.safetensors"),
        ("damaged.safetensors", "not a sound safetensors file"),
    ],
)
def test_anything_but_a_sound_safetensors_file_is_refused_without_its_folder(tmp_path, file, said):
    for name in ("w.pth", "damaged.safetensors"):
        (tmp_path / name).write_bytes(b"\x80\x04nonsense")
    with pytest.raises(RecipeError, match=said) as caught:
        classifier(weights=str(tmp_path / file))
    assert str(tmp_path) not in str(caught.value)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_pretrained_weights_come_from_the_hubs_cache(hub, pretrained):
    theirs = timm.create_model("test_resnet")
    repository = hub / "models--timm--test_resnet.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
    weights_file(repository / "snapshots" / ("0" * 40) / "model.safetensors", theirs)
    network = classifier("test_resnet", channels=3, weights="imagenet")
    assert torch.equal(network.backbone.layer4[0].conv1.weight, theirs.layer4[0].conv1.weight)


@pytest.mark.parametrize("name", ["test_resnet", "alexnet"])
def test_without_a_network_the_error_says_what_failed_and_the_ways_on(hub, monkeypatch, name):
    reason = "no network, " * 50 + "\nand this is the end of it"

    def refused(*args, **kwargs):
        raise OSError(reason)

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refused)
    with pytest.raises(RecipeError, match=r"model\.weights.*hub.*\.safetensors.*none.*HF_HOME") as caught:
        classifier(name, weights="imagenet")
    said = str(caught.value)
    assert said.endswith(" ".join(str(caught.value.__cause__).split()))
    assert "\n" not in said


# --- export ----------------------------------------------------------------------------------------------------------


SHARED_AXIS = pytest.mark.filterwarnings("ignore:.*The axis name. batch will not be used:UserWarning")


def check_export(network, activation, size, columns, tmp_path):
    whole = Probabilities(network, activation).eval()
    batch = torch.export.Dim("batch", min=1)
    names = ["image", "table"] if columns else ["image"]
    given = (torch.randn(2, 3, *size), torch.randn(2, columns)) if columns else (torch.randn(2, 3, *size),)
    with torch.no_grad(), _quiet_exporter():
        program = torch.onnx.export(
            whole,
            given,
            dynamo=True,
            dynamic_shapes=tuple({0: batch} for _ in names),
            input_names=names,
            output_names=["probabilities"],
            opset_version=20,
            verbose=False,
        )
    program.save(tmp_path / "m.onnx", external_data=False)
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"), full_check=True)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert [i.name for i in session.get_inputs()] == names
    for count in (1, 3):
        inputs = [torch.randn(count, *tensor.shape[1:]) for tensor in given]
        with torch.no_grad():
            expected = whole(*inputs).numpy()
        (got,) = session.run(None, {n: v.numpy() for n, v in zip(names, inputs, strict=True)})
        np.testing.assert_allclose(got, expected, atol=1e-4)


@SHARED_AXIS
@pytest.mark.parametrize(
    ("keys", "activation", "columns"),
    [
        ({"name": "perceptron", "metadata": "fused"}, "softmax", 4),
        ({"name": "perceptron", "metadata": "only"}, "sigmoid", 4),
    ],
)
def test_a_small_classifier_exports_to_onnx_for_any_batch(keys, activation, columns, tmp_path):
    network = classifier(channels=3, size=(40, 36), columns=columns, **keys)
    check_export(network, activation, (40, 36), columns, tmp_path)


@pytest.mark.slow
@SHARED_AXIS
@pytest.mark.parametrize(
    ("keys", "activation", "columns"),
    [
        ({"name": "resnet18"}, "sigmoid", 0),
        ({"name": "efficientnet_b0"}, "softmax", 0),
        ({"name": "densenet121"}, "softmax", 0),
        ({"name": "vit_tiny_patch16_224"}, "softmax", 0),
        ({"name": "alexnet"}, "softmax", 0),
        ({"name": "resnet18", "metadata": "fused"}, "sigmoid", 5),
        ({"name": "resnet18", "metadata": "only"}, "identity", 5),
    ],
)
def test_a_usual_classifier_exports_to_onnx_for_any_batch(keys, activation, columns, tmp_path):
    network = classifier(channels=3, size=(96, 80), columns=columns, **keys)
    network.train()
    with torch.no_grad():  # statistics of its own, so that batch norms do something
        network(torch.randn(4, 3, 96, 80), torch.randn(4, 5))
    check_export(network, activation, (96, 80), columns, tmp_path)
