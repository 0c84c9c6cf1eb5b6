"""``model.weights: imagenet``: which file that is, for each library that brings a network."""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
from functools import partial
from pathlib import Path

import timm
from huggingface_hub import try_to_load_from_cache
from monai.networks.nets.efficientnet import url_map
from segmentation_models_pytorch.encoders import encoders as _THEIRS
from torch.utils.model_zoo import load_url as _load_url  # type: ignore[attr-defined]

from medloom.errors import RecipeError
from medloom.files import sha256_file
from medloom.models.disks import mirrored
from medloom.models.pretrained import Origin, find_weights
from medloom.models.sources import HubName, fetched, from_hub
from medloom.models.weights import State, read_weights

__all__ = ["mirrored_imagenet", "monai_imagenet", "origin_of", "smp_imagenet"]

_NAMES = ("model.safetensors", "pytorch_model.bin")
_ALEXNET = Origin("imagenet", "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", "BSD-3-Clause", "")


def mirrored_imagenet(name: str) -> Path | None:
    """Return the file that the mirror has of timm's weights of a network, or None."""
    known = timm.get_pretrained_cfg(name)
    parts = str(known.hf_hub_id).split("/") if known is not None and known.hf_hub_id else None
    files = (mirrored(*parts, file) for file in _NAMES) if parts else ()
    return next((file for file in files if file is not None), None)


def smp_imagenet(encoder: str) -> Path:
    """Return the file of an encoder that segmentation_models_pytorch adds, whose commit that library names.

    Raises:
        RecipeError: If it has none, or it cannot be had.
    """
    settings = _THEIRS[encoder]["pretrained_settings"].get("imagenet")
    if settings is None:
        raise RecipeError(f"model.weights: there are no imagenet weights for the encoder {encoder!r}; take a file")
    return from_hub(HubName(settings["repo_id"], settings["revision"], ("model.safetensors",)), encoder)


def monai_imagenet(backbone: str) -> State:
    """Return the tensors of an EfficientNet of MONAI, from the mirror or where that library has them from.

    Raises:
        RecipeError: If there are none, or they cannot be had.
    """
    address = url_map.get(backbone)
    if address is None:
        raise RecipeError(f"model.weights: there are no imagenet weights for the backbone {backbone!r}; take a file")
    here = mirrored(address.rpartition("/")[2])
    if here is not None:
        return read_weights(str(here))
    state: State = fetched(backbone, partial(_load_url, address, progress=False, check_hash=True, weights_only=True))
    return state


def origin_of(weights: str, name: str) -> Origin | None:
    """Return what there is to say of the weights that a network has begun with; None for fresh ones.

    Args:
        weights: What the recipe says.
        name: The network, encoder or backbone that has begun with them.
    """
    if weights == "none":
        return None
    if weights != "imagenet":
        return find_weights(weights, name).origin
    if name == "alexnet":
        return _ALEXNET
    if name in url_map:
        return Origin(weights, url_map[name], "Apache-2.0", "")
    known = timm.get_pretrained_cfg(name)
    if known is None or not known.hf_hub_id:
        file = smp_imagenet(name) if name in _THEIRS and known is None else None
        source = "" if file is None else str(_THEIRS[name]["pretrained_settings"]["imagenet"]["repo_id"])
        return Origin(weights, f"https://huggingface.co/{source}" if source else "timm", "", _sha256(file))
    file = mirrored_imagenet(name) or _cached(known.hf_hub_id)
    return Origin(weights, f"https://huggingface.co/{known.hf_hub_id}", known.license or "", _sha256(file))


def _sha256(file: Path | None) -> str:
    return "" if file is None else sha256_file(file)


def _cached(repository: str) -> Path | None:
    """The file that timm has fetched."""
    found = (try_to_load_from_cache(repository, file) for file in _NAMES)
    return next((Path(file) for file in found if isinstance(file, str)), None)
