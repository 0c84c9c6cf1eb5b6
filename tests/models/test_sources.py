"""Where weights come from: the mirror, the hub by commit, a package, a file with a card; and what is said of them."""

import dataclasses
import hashlib
import json

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from medloom.errors import RecipeError
from medloom.models.answers import example_image
from medloom.models.backbones import build_backbone
from medloom.models.classifier import build_classifier
from medloom.models.networks import build_mask_network
from medloom.packaging.manifest import ModelEntry
from medloom.registry import WEIGHTS

SIZE = (64, 64)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub, no network, and an empty mirror."""
    torch.manual_seed(0)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("MEDLOOM_WEIGHTS", str(tmp_path / "mirror"))
    return tmp_path / "hub"


@pytest.fixture
def mirror(tmp_path):
    def put(state, *parts):
        file = (tmp_path / "mirror").joinpath(*parts)
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, file) if file.suffix == ".safetensors" else torch.save(state, file)
        return file

    return put


def state_of(name="test_resnet"):
    return timm.create_model(name).state_dict()


def backbone(weights, name="test_resnet", channels=3):
    return build_backbone(name, channels, SIZE, weights=weights)


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


# --- the mirror ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_the_mirror_has_what_the_hub_would_have_been_asked_for(mirror, file):
    state = state_of()
    path = mirror(state, "timm/test_resnet.r160_in1k", file)
    network = build_classifier("test_resnet", in_channels=3, outputs=1, size=SIZE, weights="imagenet")
    assert torch.equal(network.backbone.layer4[0].conv1.weight, state["layer4.0.conv1.weight"])
    assert network.origin.sha256 == digest(path)
    assert network.origin.source == "https://huggingface.co/timm/test_resnet.r160_in1k"
    masks = build_mask_network("smp-unet", 3, 1, SIZE, encoder="test_resnet", weights="imagenet")
    assert masks.origin == network.origin
    assert torch.equal(masks.body.encoder.model.layer4[0].conv1.weight, state["layer4.0.conv1.weight"])


def test_an_encoder_of_segmentation_models_comes_from_the_mirror_too(mirror):
    theirs = build_mask_network("smp-segformer", 3, 1, SIZE, encoder="mit_b0").body.encoder.state_dict()
    mirror(theirs, "smp-hub/mit_b0.imagenet/model.safetensors")
    mine = build_mask_network("smp-segformer", 1, 1, SIZE, encoder="mit_b0", weights="imagenet").body.encoder
    first = theirs["patch_embed1.proj.weight"]
    torch.testing.assert_close(mine.patch_embed1.proj.weight, first.sum(1, keepdim=True))


def test_what_is_nowhere_is_refused_with_the_ways_on():
    with pytest.raises(RecipeError, match=r"could not be loaded.*MEDLOOM_WEIGHTS"):
        backbone("imagenet")
    with pytest.raises(RecipeError, match=r"could not be loaded.*MEDLOOM_WEIGHTS"):
        backbone(f"hf-hub:some/where@{COMMIT}")


# --- the hub by commit -----------------------------------------------------------------------------------------------


def test_a_commit_of_the_hub_is_loaded_and_told(hub, mirror):
    state = state_of()
    folder = hub / "models--some--where/snapshots" / COMMIT
    folder.mkdir(parents=True)
    save_file(state, folder / "model.safetensors")
    (folder.parents[1] / "refs").mkdir()
    network = build_classifier(
        "test_resnet", in_channels=3, outputs=1, size=SIZE, weights=f"hf-hub:some/where@{COMMIT}"
    )
    assert torch.equal(network.backbone.layer4[0].conv1.weight, state["layer4.0.conv1.weight"])
    assert network.origin.sha256 == digest(folder / "model.safetensors")
    assert COMMIT in network.origin.source


@pytest.mark.parametrize("weights", ["hf-hub:some/where", "hf-hub:some/where@main", f"hf-hub:../x@{COMMIT}/../y"])
def test_a_place_that_may_hold_something_else_tomorrow_is_refused(weights):
    with pytest.raises(RecipeError, match="organisation/name@COMMIT"):
        backbone(weights)


def test_a_file_with_another_sha256_is_refused(mirror):
    file = mirror(state_of(), "some/where/model.safetensors")
    backbone(f"hf-hub:some/where@{COMMIT}#sha256={digest(file)}")
    with pytest.raises(RecipeError, match=f"SHA-256 is {digest(file)}; expected 0000"):
        backbone(f"hf-hub:some/where@{COMMIT}#sha256={'0' * 64}")


def test_what_timm_says_beside_its_file_decides_for_which_network_it_is(mirror):
    file = mirror(state_of("tf_efficientnet_lite0"), "some/where/model.safetensors")
    config = {"architecture": "tf_efficientnet_lite0", "pretrained_cfg": {"license": "mit"}}
    file.with_name("config.json").write_text(json.dumps(config))
    backbone(f"hf-hub:some/where@{COMMIT}", "tf_efficientnet_lite0")
    with pytest.raises(RecipeError, match="for the network 'tf_efficientnet_lite0'; got 'efficientnet_lite0'"):
        backbone(f"hf-hub:some/where@{COMMIT}", "efficientnet_lite0")


# --- a file with a card ----------------------------------------------------------------------------------------------


@pytest.fixture
def carded(tmp_path):
    """A file whose tensors have names of their own, and the card beside it."""
    network = timm.create_model("tf_efficientnet_lite0").eval()
    with torch.no_grad():
        network.classifier.weight.mul_(1e3)
        answer = network(example_image(SIZE))[0].tolist()
    torch.save(
        {f"part{i}.{key.rpartition('.')[2]}": v for i, (key, v) in enumerate(network.state_dict().items())},
        tmp_path / "w.pth",
    )
    card = {
        "architecture": "tf_efficientnet_lite0",
        "licence": "CC0-1.0",
        "source": "a friend",
        "answer": answer,
        "size": SIZE,
    }
    (tmp_path / "w.pth.json").write_text(json.dumps(card))
    return network, tmp_path / "w.pth", card


def test_a_card_with_an_answer_lets_tensors_be_taken_in_their_order(carded):
    network, file, _ = carded
    made = build_classifier("tf_efficientnet_lite0", in_channels=3, outputs=1, size=SIZE, weights=str(file))
    assert torch.equal(made.backbone.blocks[6][0].conv_pwl.weight, network.blocks[6][0].conv_pwl.weight)
    assert (made.origin.name, made.origin.licence, made.origin.source) == ("w.pth", "CC0-1.0", "a friend")
    assert str(file.parent) not in str(made.origin.plain())


def test_a_wrong_answer_or_no_card_refuses_them(carded):
    _, file, card = carded
    beside = file.with_name("w.pth.json")
    beside.write_text(json.dumps({**card, "architecture": "efficientnet_lite0"}))
    with pytest.raises(RecipeError, match="answers otherwise"):
        backbone(str(file), "efficientnet_lite0")
    beside.write_text(json.dumps({**card, "colour": "red"}))
    with pytest.raises(RecipeError, match=r"beside w\.pth is not sound"):
        backbone(str(file), "tf_efficientnet_lite0")
    beside.unlink()
    with pytest.raises(RecipeError, match="does not hold the weights"):
        backbone(str(file), "tf_efficientnet_lite0")


# --- medical encoders, in their published layouts --------------------------------------------------------------------


def test_radimagenet_numbers_the_parts_of_a_resnet(mirror):
    state = timm.create_model("resnet50", num_classes=0).state_dict()
    part = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    file = {f"backbone.{part[key.partition('.')[0]]}.{key.partition('.')[2]}": value for key, value in state.items()}
    mirror(file, "Lab-Rasool/RadImageNet/ResNet50.pt")
    made = build_classifier("resnet50", in_channels=3, outputs=1, size=SIZE, weights="radimagenet-resnet50")
    assert all(torch.equal(value, state[key]) for key, value in made.backbone.state_dict().items())
    assert made.origin.licence == "MIT"


@pytest.mark.slow
def test_biomedclip_brings_its_image_tower(mirror):
    theirs = timm.create_model("vit_base_patch16_224", num_classes=0)
    file = {f"visual.trunk.{key}": value for key, value in theirs.state_dict().items()}
    file |= {"visual.head.proj.weight": torch.zeros(512, 768), "text.transformer.embeddings": torch.zeros(3)}
    repository = "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
    mirror(file, *repository.split("/"), "open_clip_pytorch_model.bin")
    image = torch.randn(1, 3, 224, 224)
    made = build_backbone("vit_base_patch16_224", 3, (224, 224), weights="biomedclip")
    with torch.no_grad():
        torch.testing.assert_close(made.eval()(image), theirs.eval()(image))


@pytest.mark.slow
def test_rad_dino_is_in_the_names_of_dinov2(mirror, monkeypatch):
    theirs = timm.create_model("vit_base_patch14_dinov2", num_classes=0).state_dict()
    file = mirror({**theirs, "mask_token": torch.zeros(1, 768)}, "microsoft/rad-dino/backbone_compatible.safetensors")
    with pytest.raises(RecipeError, match="SHA-256"):  # this file is not the published one
        backbone("rad-dino", "vit_base_patch14_dinov2")
    from medloom.models import pretrained, published

    known = dataclasses.replace(published.RAD_DINO, sha256=digest(file))
    monkeypatch.setattr(pretrained, "load", lambda entry: known)
    made = build_backbone("vit_base_patch14_dinov2", 1, (56, 56), weights="rad-dino")
    assert torch.equal(made.blocks[11].attn.qkv.weight, theirs["blocks.11.attn.qkv.weight"])


# --- MONAI's own -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authors():
    """An EfficientNet-B0 in its authors' names, which do not say the stage of a block."""
    from monai.networks.nets import EfficientNetBN

    from medloom.models.networks import _STAGE

    state = EfficientNetBN("efficientnet-b0", pretrained=False).state_dict()
    return {_STAGE.sub(r"\1\2", key): value for key, value in state.items()}, state


def test_flexible_unet_begins_with_the_weights_of_its_authors(authors, mirror):
    file, state = authors
    mirror(file, "efficientnet-b0-355c32eb.pth")
    network = build_mask_network("flexible-unet", 3, 1, SIZE, weights="imagenet")
    mine = network.body.encoder.state_dict()
    compared = [key for key in mine if not key.startswith("_fc")]
    assert len(compared) > 350
    assert all(torch.equal(mine[key], state[key]) for key in compared)
    assert "efficientnet-b0-355c32eb.pth" in network.origin.source


def test_flexible_unet_refuses_others_and_never_fetches_by_an_argument(authors, tmp_path):
    torch.save({key: value for key, value in authors[0].items() if "_blocks.3" not in key}, tmp_path / "w.pth")
    with pytest.raises(RecipeError, match=r"does not hold the weights of 'efficientnet-b0'.*missing"):
        build_mask_network("flexible-unet", 3, 1, SIZE, weights=str(tmp_path / "w.pth"))
    with pytest.raises(RecipeError, match=r"model\.weights names the weights"):
        build_mask_network("flexible-unet", 3, 1, SIZE, {"pretrained": True})


# --- what a bundle says ----------------------------------------------------------------------------------------------


def test_a_bundle_says_whose_weights_it_began_with_and_older_ones_are_read(mirror):
    mirror(state_of(), "some/where/model.safetensors")
    network = build_mask_network("smp-unet", 3, 1, SIZE, encoder="test_resnet", weights=f"hf-hub:some/where@{COMMIT}")
    plain = {"name": "smp-unet", "args": {}, "in_channels": 3}
    entry = ModelEntry.model_validate({**plain, "weights": network.origin.plain()})
    assert entry.weights.name == f"hf-hub:some/where@{COMMIT}"
    assert ModelEntry.model_validate(plain).weights is None


def test_every_published_name_is_in_the_reference():
    from medloom.recipe.kinds.masks import MasksModel

    said = MasksModel.model_fields["weights"].description
    assert [name for name in WEIGHTS if f"`{name}`" not in said] == []
