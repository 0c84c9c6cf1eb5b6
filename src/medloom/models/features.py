"""What a network makes of an image before it decides: the output of its deepest layer, a row of numbers an image.

Shapes: N images of a batch, C channels, H height, W width, E features; h and w are those of a feature map.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from medloom.models.mask_heatmaps import maps_of

__all__ = ["WithFeatures", "features_kept", "gives_features"]


class WithFeatures(nn.Module):
    """Gives the features of a network beside what is answered with it.

    Args:
        answering: The network, or what holds it; gives a tensor or several.
        network: The network, which names the layer.
    """

    def __init__(self, answering: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.answering = answering
        self.network = network

    def forward(self, images: Tensor, table: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return what is answered, and last the features ``(N, E)``, float32."""
        with features_kept(self.network) as kept:
            answered = self.answering(images) if table is None else self.answering(images, table)
        return *(answered if isinstance(answered, tuple) else (answered,)), kept[0]


def gives_features(network: nn.Module) -> bool:
    """Whether a network has a layer whose output describes an image."""
    return bool(_layer(network))


def _layer(network: nn.Module) -> str:
    """Its name; empty where there is none, as for a body that is no network of Medloom's."""
    named: Callable[[], str] | None = getattr(network, "feature_layer", None)
    return "" if named is None else named()


@contextmanager
def features_kept(network: nn.Module) -> Iterator[list[Tensor]]:
    """Keep the features of the images that the calling thread puts through a network.

    Args:
        network: One that ``gives_features``.

    Yields:
        A list to which each batch adds its features ``(N, E)``, float32: the mean over all places of a map, or over the
        tokens of a transformer.
    """
    kept: list[Tensor] = []
    asking = threading.get_ident()

    def keep(module: nn.Module, given: Any, output: Any) -> None:  # noqa: ANN401 - whatever a layer takes and gives
        if threading.get_ident() == asking:
            kept.append(_pooled(maps_of(output)[-1]))

    handle = network.get_submodule(_layer(network)).register_forward_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()


def _pooled(output: Tensor) -> Tensor:
    """A row for each image: maps ``(N, E, h, w)`` and tokens ``(N, tokens, E)`` by their mean, rows as they are."""
    places: dict[int, tuple[int, ...]] = {3: (1,), 4: (2, 3)}
    along = places.get(output.ndim)
    return output.float() if along is None else output.float().mean(dim=along)
