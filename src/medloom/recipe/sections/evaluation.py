"""How a network is measured and packaged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from medloom.recipe.sections.base import Bool, Config, Named
from medloom.registry import PRECISIONS, RUNTIMES

__all__ = ["ClassesDistilConfig", "DistilConfig", "EvaluateConfig", "PackageConfig"]


class EvaluateConfig(Config):
    """How the metrics are taken and the operating point is chosen."""

    views: Annotated[int, Field(ge=1, le=64)] = 1
    """Test-time augmentation: average over so many views of the image (itself, its mirror image, and both moved to
    each side in turn), in evaluation and in the bundle."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Images in a batch of the evaluation."""
    bootstrap: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """Resamples of the patients for the 95 % intervals."""


class CardConfig(Config):
    """What only the makers of a model know and its card says. It changes no answer."""

    intended_use: str = ""
    """For what, for whom and by whom the model is meant."""
    out_of_scope: str = ""
    """What it must not be used for, beside what every card says."""
    licence: str = ""
    """Licence of the weights that were learned, such as `CC-BY-4.0`."""
    contact: str = ""
    """Whom to ask: an institution and an address."""


class PackageConfig(Config):
    """What goes into the bundle."""

    runtime: Annotated[str, Named(RUNTIMES)] = "onnx"
    """Runtime that serves by default, and with which the metrics are taken."""
    precision: Annotated[str, Named(PRECISIONS)] = "fp32"
    """In what the network is computed, and the metrics are taken: `fp32`, `bf16`, `fp16`, or `int8` with ranges from
    validation images. What that costs beside float32 is measured on validation."""
    precision_limit: Annotated[float, Field(ge=0, le=1)] = 0.002
    """The largest loss of the task's first metric on validation that is packaged; of numbers, as a share."""
    serve: Literal["ensemble", "soup", "distilled"] = "ensemble"
    """With `split.folds`: what is packaged of their networks. `ensemble`: all of them, and the mean of their answers.
    `soup`: one network with the mean of their weights, where it is as good as the ensemble, on one half of the patients
    who were held out of all folds (`split.hold_out`, or the published test part); the other half judges what is
    packaged. Where it is not, the ensemble is packaged, and the report says so. `distilled`: one network that learns
    the answers of the ensemble to the images of all folds; all who were held out tell what it loses."""
    fingerprint: Bool = True
    """Let the bundle carry the fingerprint of its images, against which new ones are tested (`medloom drift`, and with
    each answer): distributions of what is measured, and embeddings of one validation image each of some patients. No
    image can be made out of it; without it nothing is told of drift."""
    card: CardConfig = CardConfig()
    """Further lines of the model card."""


class DistilConfig(Config):
    """`package.serve: distilled` only: the one network that learns the answers of the folds' ensemble."""

    model: dict[str, JsonValue] = Field(default={})
    """Keys of `model` that are others for it, such as `args: {channels: [8, 16, 32]}`. With `name`, such as
    `{name: basic-unet}`, it is another network, for which the keys of `model` do not count. Empty: that of the
    folds."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Passes over its training images; empty: `train.epochs`. Answers of a teacher are learned for long with gain."""


class ClassesDistilConfig(DistilConfig):
    """`package.serve: distilled` only: the one network that learns the answers of the folds' ensemble."""

    temperature: Annotated[float, Field(ge=1, le=20)] = 2.0
    """What the logits of both are divided by before they are compared: the larger, the more the small probabilities of
    the ensemble count; 1 compares the probabilities themselves."""
