"""The methods of explanation, by their names in ``medloom.registry.EXPLANATIONS``: each gives a map of one image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.errors import UserError
from medloom.explanation.asked import Asked, evidence
from medloom.explanation.occlusion import occlusion as hide
from medloom.inference import Predictor, Prepared
from medloom.registry import EXPLANATIONS, check_name, load

__all__ = ["Map", "Seen", "gradcam", "integrated_gradients", "map_of", "occlusion"]

Floats32 = NDArray[np.float32]

_WINDOW = 8
"""The square that is hidden is the smaller side of the image divided by this; it moves by half of itself."""

_SMALLEST = 4


@dataclass(frozen=True, eq=False)
class Seen:
    """An image that was answered.

    Args:
        name: What it is called.
        prepared: The image as the network sees it, with its encoded metadata.
        answer: What the network says, ``(K,)`` or ``(K, h, w)``, not calibrated, of the image itself alone.
        words: Its metadata in words, by column; empty where the model takes none.
    """

    name: str
    prepared: Prepared
    answer: Floats32
    words: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Map:
    """What speaks for an answer, pixel by pixel.

    Args:
        values: ``(h, w)`` float32 on the network's grid; below 0 where the pixel speaks against it.
        unit: What a value of it is, in words.
        gap: Of integrated gradients how far their sum is from what it should be; else None.
    """

    values: Floats32
    unit: str
    gap: float | None = None


def map_of(predictor: Predictor, seen: Seen, asked: Asked, method: str) -> Map | None:
    """Return what speaks for an answer, pixel by pixel; None where the network has no such map.

    Args:
        predictor: The model; for methods by gradients with the runtime ``torch``.
        seen: An image and the answer to it.
        asked: What of the answer is asked about.
        method: A name of ``medloom.registry.EXPLANATIONS``.

    Raises:
        UserError: If there is no such method, or the runtime has no gradients for it.
    """
    check_name("method", method, EXPLANATIONS)
    entry = EXPLANATIONS[method]
    if entry.traits.get("gradients") and not hasattr(predictor.runtime, "heatmap"):
        raise UserError(
            f"{method} needs gradients, which the runtime {predictor.runtime.name} has not: take the runtime torch "
            "(pip install 'medloom[train]'), or occlusion, which asks for answers alone"
        )
    found: Callable[[Predictor, Seen, Asked], Map | None] = load(entry)
    return found(predictor, seen, asked)


def gradcam(predictor: Predictor, seen: Seen, asked: Asked) -> Map | None:
    """Return Grad-CAM, of masks Seg-Grad-CAM.

    Raises:
        UserError: If it is asked what speaks for the first of two classes, of which the network has no output.
    """
    if asked.against:
        raise UserError(
            f"Grad-CAM shows what speaks for an output, and {asked.name} has none of its own: it is the first of two "
            "classes. Ask about the other one, or take occlusion"
        )
    runtime: Any = predictor.runtime
    found = runtime.heatmap(seen.prepared.network_input[None], seen.prepared.table_nf, asked.output)
    return None if found is None else Map(np.asarray(found, np.float32), "share of the largest value")


def occlusion(predictor: Predictor, seen: Seen, asked: Asked) -> Map:
    """Return what is lost when squares of the image are hidden."""
    table = seen.prepared.table_nf
    activation = predictor.target.activation

    def ask(images: Floats32) -> NDArray[np.float64]:
        rows = None if table is None else np.repeat(table, len(images), axis=0)
        return evidence(predictor.runtime.run(images, rows), asked, activation)

    side = max(_SMALLEST, min(seen.prepared.network_input.shape[1:]) // _WINDOW)
    stride = max(1, side // 2)
    found = hide(ask, seen.prepared.network_input, window=(side, side), stride=(stride, stride))
    return Map(found, _unit(predictor))


def integrated_gradients(predictor: Predictor, seen: Seen, asked: Asked) -> Map:
    """Return integrated gradients from the image's own mean.

    Raises:
        MissingExtraError: If Captum is not installed.
    """
    runtime: Any = predictor.runtime
    image, table = seen.prepared.network_input[None], seen.prepared.table_nf
    found, gap = runtime.integrated_gradients(image, table, asked.output, against=asked.against, region=asked.region)
    return Map(found, _unit(predictor), gap)


def _unit(predictor: Predictor) -> str:
    return "in the unit of the number" if predictor.target.activation == "identity" else "natural logarithm of odds"
