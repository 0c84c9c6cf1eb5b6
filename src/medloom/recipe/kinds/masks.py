"""Recipes whose answer is a class for each pixel."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from medloom.recipe.recipe import Recipe
from medloom.recipe.sections.base import Bool, Named, Probability, one_group
from medloom.recipe.sections.data import DataConfig
from medloom.recipe.sections.evaluation import EvaluateConfig
from medloom.recipe.sections.target import TargetSection
from medloom.recipe.sections.training import LossConfig, TrainConfig, TunedModelConfig, unfrozen_in_one_process
from medloom.registry import LAYOUTS, LOSSES, METRICS, NETWORKS
from medloom.targets import IGNORED, LARGEST_VALUE, Target

__all__ = ["MasksData", "MasksEvaluate", "MasksLoss", "MasksModel", "MasksRecipe", "MasksTarget", "MasksTrain"]

_KIND = "masks"

_Level = Annotated[int, Field(ge=0, le=255)]
_Value = Annotated[int, Field(ge=0, le=LARGEST_VALUE)]


class MasksTarget(TargetSection):
    """What is predicted: a class for each pixel."""

    kind: Literal["masks"] = "masks"
    """A class for each pixel."""
    mask_values: dict[str, _Value] = Field(default={"background": 0, "lesion": 255}, min_length=2, max_length=IGNORED)
    """Classes by name with their pixel value in the mask; the first class is the background. Masks that the model
    predicts hold the same values."""
    ignore: _Value | tuple[_Value, ...] = ()
    """Pixel value of masks, or a list of several, where the truth is not known, such as 255 around objects: these
    pixels count in no loss, metric or choice. Truth and prediction are set to background there before they are
    measured. An image whose whole mask is ignored is set aside."""

    mask_tolerance: Annotated[int, Field(ge=0, le=LARGEST_VALUE // 2)] = 0
    """How far a pixel value of a mask may be from that of its class. For masks that are saved as JPEG, whose values
    drift: 127 divides 0 and 255 in the middle. Values of classes must be more than twice as far apart."""
    mask_colours: dict[str, tuple[_Level, _Level, _Level]] = Field(default={})
    """Red, green and blue of each class, by its name in `mask_values`, for masks that are saved as pictures in colour,
    as CVAT writes them with `labelmap.txt`. The name `ignore` is for pixels that count nowhere. Predicted masks hold
    the values of `mask_values`. Empty: masks hold values; those of a palette of colours are its indices."""

    @field_validator("mask_values")
    @classmethod
    def _distinct(cls, value: dict[str, int]) -> dict[str, int]:
        if len(set(value.values())) != len(value):
            raise ValueError("two classes have the same pixel value")
        return value

    @property
    def ignored(self) -> tuple[int, ...]:
        """``ignore`` as a list without repetitions."""
        return (self.ignore,) if isinstance(self.ignore, int) else tuple(sorted(set(self.ignore)))

    @property
    def ignores(self) -> bool:
        """Whether pixels may count nowhere."""
        return bool(self.ignored) or bool(set(self.mask_colours) - set(self.mask_values))

    @model_validator(mode="after")
    def _ignores_no_class(self) -> Self:
        both = [f"{value} is that of {name}" for name, value in self.mask_values.items() if value in self.ignored]
        if both:
            raise ValueError(f"ignore: expected values of no class in mask_values; {', '.join(both)}")
        return self

    @model_validator(mode="after")
    def _tells_values_apart(self) -> Self:
        values = sorted((*self.mask_values.values(), *self.ignored))
        nearest = min(other - one for one, other in pairwise(values))
        if nearest <= 2 * self.mask_tolerance:
            raise ValueError(
                f"mask_tolerance: expected less than half of {nearest}, the least distance of two values of classes; "
                f"got {self.mask_tolerance}"
            )
        return self

    @model_validator(mode="after")
    def _has_a_colour_for_each_class(self) -> Self:
        if not self.mask_colours:
            return self
        if set(self.mask_colours) - {"ignore"} != set(self.mask_values) - {"ignore"}:
            missing = sorted(set(self.mask_values) ^ (set(self.mask_colours) - {"ignore"}))
            raise ValueError(f"mask_colours: expected the names of mask_values; {', '.join(missing)} is in one of them")
        if len(set(self.mask_colours.values())) < len(self.mask_colours):
            raise ValueError("mask_colours: two classes have the same colour")
        if self.mask_tolerance:
            raise ValueError("mask_tolerance is for values and mask_colours has colours; leave one of them out")
        return self

    def value(self) -> Target:
        """Return what is predicted."""
        return Target(self.kind, tuple(self.mask_values), tuple(self.mask_values.values()))


class MasksData(DataConfig):
    """Where the images and masks are and how they are laid out."""

    layout: Annotated[str, Named(LAYOUTS, _KIND)] = "image-mask"
    """How the files are arranged: `lgg-mri` masks beside slices, `image-mask` by patterns, `dataset-json` as a
    `dataset.json` of the Medical Segmentation Decathlon or of nnU-Net says, `dicom-seg` DICOM images with DICOM
    segmentations, whose segments are called as the classes are, or `array`, where the mask is an `.npy` map of class
    values."""
    mask: str = "masks/{sample}.png"
    """`image-mask` and `array`: pattern of the mask's path, with the names that `image` uses. With `{part}`, which also
    matches nothing, an image may have several masks, whose foreground is joined: `{sample}_mask{part}.png`. With
    `{class}` (`image-mask`), each class but the background has a file with its name in `target.mask_values`, in which
    it is all that is not 0; a class without a file is not there."""
    patient_pattern: Annotated[str, AfterValidator(one_group)] | None = None
    """`dataset-json` only: regular expression that finds the patient in the name of a case, as its first group:
    `(patient\\d+)_`. Empty: nothing says whose the images are."""


class MasksModel(TunedModelConfig):
    """The network, by name, with its plain arguments."""

    name: Annotated[str, Named(NETWORKS, _KIND)] = "unet"
    """The network. Those that begin with `smp-`, and `flexible-unet`, stand on an encoder that can begin
    with weights."""
    encoder: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """`smp-` networks only: the encoder, any name of timm, such as `resnet34`, `tf_efficientnet_lite0` or
    `convnext_tiny`, or of segmentation_models_pytorch, such as `mit_b0`. Empty: `resnet34`, for `smp-dpt`
    `vit_small_patch16_224`."""
    weights: str = "none"
    """What the encoder begins with: `none`, `imagenet` from its library's hub, published weights by name (`rad-dino`,
    `biomedclip`, `radimagenet-resnet50`, `efficientnet-lite0`), `hf-hub:organisation/name@COMMIT`, or a path of a
    `.safetensors`, `.pth` or `.bin` file. What the folder `MEDLOOM_WEIGHTS` has is not fetched."""
    deep_supervision: Bool = False
    """`dynunet` and `smp-unet++` only: in training, also take the loss of the answers at coarser scales (`dynunet`) or
    of the shallower networks nested in it (`smp-unet++`), brought to full size; each counts half as much as the one
    before. The network answers as without."""


class MasksLoss(LossConfig):
    """The training loss; always computed in float32."""

    name: Annotated[str, Named(LOSSES, _KIND)] = "dice-ce"
    """The loss. `compound` with `args: {terms: [{name: dice-ce}, {name: boundary, weight: 0.01, per_epoch: 0.01}]}`
    adds the boundary loss with a weight that rises from epoch to epoch, as its authors do; a term may stop at a value
    (`until`) or fall (`per_epoch` below 0, to 0 unless `until` says otherwise)."""


class MasksTrain(TrainConfig):
    """The loop."""

    monitor: Annotated[str, Named(METRICS, _KIND)] = "dice_balanced"
    """Validation metric that picks the best epoch. `dice_balanced` is the mean of the Dice over samples with
    foreground and the share of empty samples left empty; `dice_all` counts an empty sample left empty as 1."""
    positive_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Oversampling: share of the drawn samples that hold foreground; empty: as the data are."""


class MasksEvaluate(EvaluateConfig):
    """How the metrics are taken and the operating point is chosen."""

    threshold: Probability | Literal["auto", "per-class"] | dict[str, Annotated[float, Field(gt=0, le=1)]] = "auto"
    """Probability from which a pixel is foreground; `auto` chooses one for all classes on the validation set. Of
    several foreground classes, `per-class` chooses one for each, and `{core: 0.3, oedema: 0.5}` names them: a pixel is
    foreground where its probabilities, each divided by the threshold of its class, add up to 1, and of the class with
    the most of it."""
    min_region_px: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Smallest region in pixels of the network's image; smaller ones are removed. `auto` as above."""
    calibration: Literal["none", "temperature", "platt"] = "none"
    """What is fitted on pixels of the validation set to make probabilities mean what they say, before `threshold` is
    chosen, and goes into the bundle. `temperature`: one number, of several classes one for each. `platt`: a temperature
    and a shift of each class, which also mends what `train.positive_share` and the loss do to probabilities."""
    max_false_positive_rate: Probability = 0.05
    """`auto` looks for the best balance of Dice and false positives with at most this share of empty validation
    samples in which anything is predicted; of no use where threshold and smallest region are both fixed."""


class MasksRecipe(Recipe):
    """Everything about a run that predicts masks."""

    target: MasksTarget = MasksTarget()
    data: MasksData = MasksData()
    model: MasksModel = MasksModel()
    loss: MasksLoss = MasksLoss()
    train: MasksTrain = MasksTrain()
    evaluate: MasksEvaluate = MasksEvaluate()

    @model_validator(mode="after")
    def _unfreezes_in_one_process(self) -> Self:
        unfrozen_in_one_process(self.model, self.train)
        return self

    @model_validator(mode="after")
    def _thresholds_of_its_classes(self) -> Self:
        given, classes = self.evaluate.threshold, list(self.target.mask_values)[1:]
        if (given == "per-class" or isinstance(given, dict)) and len(classes) == 1:
            raise ValueError("evaluate.threshold: expected auto or a number, for there is one foreground class")
        if isinstance(given, dict) and set(given) != set(classes):
            raise ValueError(
                f"evaluate.threshold: expected one for each of {', '.join(classes)}; got {', '.join(given)}"
            )
        return self

    @property
    def a_file_for_each_class(self) -> bool:
        """Whether each class has a mask of its own."""
        return "{class}" in self.data.mask and self.data.layout == "image-mask"

    @model_validator(mode="after")
    def _no_colours_in_a_file_of_one_class(self) -> Self:
        if self.a_file_for_each_class and self.target.mask_colours:
            raise ValueError("target.mask_colours: with {class} in data.mask a file holds one class and no colours")
        return self
