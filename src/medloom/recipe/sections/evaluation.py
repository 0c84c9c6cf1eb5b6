"""How a network is measured and packaged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from medloom.recipe.sections.base import Bool, Config, Positive, Probability

__all__ = ["EvaluateConfig", "PackageConfig"]


class EvaluateConfig(Config):
    """How the figures are taken and the operating point is chosen."""

    threshold: Probability | Literal["auto"] = "auto"
    """Probability from which a pixel is lesion; `auto` chooses it on the validation set."""
    min_lesion_px: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Smallest lesion in pixels of the network's image; smaller ones are removed. `auto` as above."""
    max_false_alarms: Probability = 0.05
    """`auto` looks for the best balance of Dice and false alarms with at most this share of false alarms on empty
    validation samples."""
    flips: Bool = False
    """Average the prediction over the image and its mirror image, in evaluation and in the bundle."""
    rounds: Annotated[int, Field(ge=1, le=64)] = 1
    """Classification only: average over so many views (the centre, its mirror image, and crops around it), in
    evaluation and in the bundle."""
    rule: Literal["youden", "sensitivity", "cost"] = "youden"
    """Classification only: how `threshold: auto` is chosen on validation: most sensitivity plus specificity, a fixed
    sensitivity, or the least cost."""
    min_sensitivity: Annotated[float, Field(gt=0, le=1)] = 0.95
    """`rule: sensitivity` only: the sensitivity to reach."""
    cost_ratio: Positive = 1.0
    """`rule: cost` only: what a missed positive costs, in false alarms."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Images in a batch of the evaluation."""
    bootstrap: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """Resamples of the patients for the 95 % intervals."""


class PackageConfig(Config):
    """What goes into the bundle."""

    runtime: Literal["onnx", "openvino", "torch"] = "onnx"
    """Runtime that serves by default."""
