"""What a recipe may say: every key, its type, its default and what it means.

One YAML file says everything about a run. It is typed, frozen, and refuses keys that it does not know.
Booleans accept true/false/1/0/yes/no and nothing else.

The keys are in ``sections``; here they become one recipe, and here is checked that they fit each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from medloom.recipe.sections.base import Config
from medloom.recipe.sections.data import DataConfig, LabelsConfig, MetadataConfig, PhantomConfig, SplitConfig
from medloom.recipe.sections.evaluation import EvaluateConfig, PackageConfig
from medloom.recipe.sections.images import AugmentConfig, NormaliseConfig, PreprocessConfig
from medloom.recipe.sections.training import LossConfig, ModelConfig, TrainConfig
from medloom.wording import nearest

__all__ = [
    "SEGMENTATION_NETWORKS",
    "AugmentConfig",
    "DataConfig",
    "EvaluateConfig",
    "LabelsConfig",
    "LossConfig",
    "MetadataConfig",
    "ModelConfig",
    "NormaliseConfig",
    "PackageConfig",
    "PhantomConfig",
    "PreprocessConfig",
    "Recipe",
    "SplitConfig",
    "TrainConfig",
]

SEGMENTATION_NETWORKS = ("unet", "attention-unet", "unetr", "swin-unetr", "segresnet", "dynunet", "flexible-unet")
"""Networks for segmentation; the names of those for classification are timm's."""


class Recipe(Config):
    """Everything about a run."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    """Name of the recipe, in lower-case letters, digits and hyphens."""
    description: str = ""
    """One sentence for `medloom recipes`."""
    task: Literal["segmentation", "classification"] = "segmentation"
    """What the network answers: a class for each pixel, or classes or numbers for the image."""
    data: DataConfig = DataConfig()
    split: SplitConfig = SplitConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    package: PackageConfig = PackageConfig()

    @model_validator(mode="after")
    def _fits_the_task(self) -> Self:
        for key, value, valid in _TASK_CHOICES[self.task](self):
            if value not in valid:
                allowed = f"one of {', '.join(valid)} for task {self.task}" if len(valid) > 1 else f"{valid[0]}"
                raise ValueError(f"{key}: expected {allowed}; got {value!r}{nearest(value, valid)}")
        if self.task == "segmentation" and self.preprocess.crop is not None:
            raise ValueError("preprocess.crop: expected empty for task segmentation")
        if self.model.unfreeze_every is not None and self.train.devices > 1:
            # Processes agree on what they share when they start, so a block thawed later would drift apart.
            raise ValueError("model.unfreeze_every: expected empty with several train.devices")
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in order: the mask's, the background first, or the labels'."""
        return self.data.classes if self.task == "segmentation" else self.data.labels.classes

    def plain(self) -> dict[str, Any]:
        """Return the recipe as plain JSON types."""
        return self.model_dump(mode="json")


_Choices = list[tuple[str, str, tuple[str, ...]]]


def _for_segmentation(recipe: Recipe) -> _Choices:
    return [
        ("model.name", recipe.model.name, SEGMENTATION_NETWORKS),
        ("loss.name", recipe.loss.name, ("dice", "dice-ce", "dice-focal", "tversky")),
        ("train.monitor", recipe.train.monitor, ("dice_balanced", "dice_lesion", "dice_all", "loss")),
        ("data.layout", recipe.data.layout, ("lgg-mri", "image-mask", "array")),
    ]


_IMAGE_LOSSES = {"real": ("mse",), "auto": ("cross-entropy", "focal", "mse")}


def _for_classification(recipe: Recipe) -> _Choices:
    real = recipe.data.labels.kind == "real"
    return [
        ("loss.name", recipe.loss.name, _IMAGE_LOSSES.get(recipe.data.labels.kind, ("cross-entropy", "focal"))),
        ("train.monitor", recipe.train.monitor, ("loss",) if real else ("auc", "average_precision", "loss")),
        ("data.layout", recipe.data.layout, ("folder-classes", "csv", "array")),
    ]


_TASK_CHOICES: dict[str, Callable[[Recipe], _Choices]] = {
    "segmentation": _for_segmentation,
    "classification": _for_classification,
}
