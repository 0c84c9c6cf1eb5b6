"""What is done to the images of training at random. Every step is off or mild unless the recipe asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from medloom.recipe.sections.augment_presets import AUGMENT_PRESETS
from medloom.recipe.sections.base import Config, Positive, Probability

__all__ = [
    "AugmentConfig",
    "BiasFieldConfig",
    "BlurConfig",
    "BrightnessConfig",
    "ClassesAugmentConfig",
    "ColourConfig",
    "ContrastConfig",
    "CropConfig",
    "CutmixConfig",
    "CutoutConfig",
    "ElasticConfig",
    "FlipConfig",
    "GammaConfig",
    "LowResolutionConfig",
    "MixupConfig",
    "NoiseConfig",
    "RotateConfig",
    "ScaleConfig",
    "ShiftConfig",
    "TurnConfig",
]

_Share = Annotated[float, Field(ge=0, lt=1)]


class FlipConfig(Config):
    """Mirror."""

    p: Probability = 0.5
    """Probability for each image that left and right change places."""
    vertical: Probability = 0.0
    """Probability for each image that top and bottom change places."""


class TurnConfig(Config):
    """Turn by 90, 180 or 270 degrees; images that are not square by 180 degrees only."""

    p: Probability = 0.0
    """Probability for each image."""


class RotateConfig(Config):
    """Rotate about the centre."""

    p: Probability = 0.5
    """Probability for each image."""
    degrees: Annotated[float, Field(ge=0, le=180)] = 15.0
    """Largest angle either way."""


class CropConfig(Config):
    """Cut a random window and scale it back to full size."""

    p: Probability = 0.5
    """Probability for each image."""
    min_scale: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Smallest side of the window as a share of the image's side."""


class ElasticConfig(Config):
    """Deform elastically: points of a coarse grid are moved at random, what lies between them smoothly."""

    p: Probability = 0.0
    """Probability for each image."""
    amount: _Share = 0.02
    """Largest displacement as a share of the image's side; each image draws its own below it. At most a quarter of
    `spacing`, beyond which an image may fold over itself."""
    spacing: Annotated[float, Field(ge=0.02, le=1)] = 0.2
    """Distance between the points as a share of the image's side."""

    @model_validator(mode="after")
    def _does_not_fold(self) -> Self:
        if self.amount > self.spacing / 4:
            raise ValueError(
                f"elastic.amount={self.amount:g} may fold an image whose points are elastic.spacing={self.spacing:g} "
                f"apart; take an amount of at most {self.spacing / 4:g}, or a wider spacing"
            )
        return self


class BiasFieldConfig(Config):
    """Multiply by a smooth field, as the coils of an MR scanner do: the exponential of a polynomial of degree 3."""

    p: Probability = 0.0
    """Probability for each image."""
    amount: Annotated[float, Field(ge=0, le=2)] = 0.3
    """Largest coefficient of each Legendre polynomial."""


class GammaConfig(Config):
    """Bend the grey levels between the darkest and the brightest of each image: `((x - min) / range) ** gamma`."""

    p: Probability = 0.0
    """Probability for each image."""
    amount: Annotated[float, Field(ge=0, le=10)] = 0.3
    """The exponent is between 1 / (1 + `amount`) and 1 + `amount`."""


class ContrastConfig(Config):
    """Move grey levels away from the mean of each image, or towards it."""

    p: Probability = 0.0
    """Probability for each image."""
    amount: _Share = 0.2
    """The distance from the mean is multiplied by 1 ± so much at most."""


class BrightnessConfig(Config):
    """Add to all grey levels of an image."""

    p: Probability = 0.0
    """Probability for each image."""
    amount: _Share = 0.1
    """± so much at most, as a share of the range from its darkest to its brightest grey level."""


class ColourConfig(Config):
    """Change hue and saturation of photographs: images of `preprocess.colour: rgb`, or of the channels red, green and
    blue. Luma stays as it is, and so does grey."""

    p: Probability = 0.0
    """Probability for each image."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.03
    """Largest change of the hue either way, as a share of the circle of colours."""
    saturation: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Saturation is multiplied by 1 ± so much at most."""


class BlurConfig(Config):
    """Blur with a Gaussian."""

    p: Probability = 0.0
    """Probability for each image."""
    sigma: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Its largest standard deviation, in pixels of what the network sees; each image draws its own below it."""


class LowResolutionConfig(Config):
    """Simulate a low resolution: take fewer pixels, then scale them up again."""

    p: Probability = 0.0
    """Probability for each image."""
    zoom: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Smallest share of the pixels of each side that are kept."""


class ScaleConfig(Config):
    """Multiply normalised intensities of each channel by 1 ± `amount`."""

    p: Probability = 0.3
    """Probability for each image."""
    amount: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Largest relative change."""


class ShiftConfig(Config):
    """Add ± `amount` to normalised intensities of each channel."""

    p: Probability = 0.3
    """Probability for each image."""
    amount: Annotated[float, Field(ge=0)] = 0.2
    """Largest shift, in units of the normalised image."""


class NoiseConfig(Config):
    """Add Gaussian noise to normalised intensities."""

    p: Probability = 0.15
    """Probability for each image."""
    std: Annotated[float, Field(ge=0)] = 0.1
    """Largest standard deviation; each image draws its own below it."""


class CutoutConfig(Config):
    """Fill rectangles with the mean of the image (coarse dropout). Masks stay as they are."""

    p: Probability = 0.0
    """Probability for each image."""
    size: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Longest side of a rectangle as a share of the image's side."""
    holes: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of rectangles."""


class AugmentConfig(Config):
    """Random changes to the training batch, made on the device."""

    preset: Literal["none", "light", "mri", "ct", "xray", "photo", "ultrasound", "microscopy"] | None = None
    """Steps that suit a kind of image; a key that the recipe sets itself wins. `none` changes nothing, `light` turns,
    cuts and shifts a little, the others are for what they are named after. `xray` does not mirror, since hearts lie on
    the left. The recipe of the run shows every key as it was filled in. Empty: the defaults below."""
    flip: FlipConfig = FlipConfig()
    turn: TurnConfig = TurnConfig()
    rotate: RotateConfig = RotateConfig()
    crop: CropConfig = CropConfig()
    elastic: ElasticConfig = ElasticConfig()
    bias_field: BiasFieldConfig = BiasFieldConfig()
    gamma: GammaConfig = GammaConfig()
    contrast: ContrastConfig = ContrastConfig()
    brightness: BrightnessConfig = BrightnessConfig()
    colour: ColourConfig = ColourConfig()
    blur: BlurConfig = BlurConfig()
    low_resolution: LowResolutionConfig = LowResolutionConfig()
    cutout: CutoutConfig = CutoutConfig()
    scale: ScaleConfig = ScaleConfig()
    shift: ShiftConfig = ShiftConfig()
    noise: NoiseConfig = NoiseConfig()

    @model_validator(mode="before")
    @classmethod
    def _by_preset(cls, given: object) -> object:
        """Fill in what the preset says and the recipe does not."""
        if not isinstance(given, Mapping):
            return given
        filled = AUGMENT_PRESETS.get(str(given.get("preset")), {})
        return {**given, **{step: _filled(keys, given.get(step)) for step, keys in filled.items()}}

    def written(self) -> dict[str, Any]:
        """Return what a recipe must say to be read as this one: what differs from the defaults or from the preset."""
        plain, filled = self.model_dump(mode="json"), AUGMENT_PRESETS.get(self.preset or "", {})
        fields = type(self).model_fields
        return {key: plain[key] for key in plain if key in filled or getattr(self, key) != fields[key].default}


def _filled(keys: Mapping[str, Any], given: object) -> object:
    """What a preset says of a step under what the recipe says of it; a step that is switched off stays as it is."""
    if given is None:
        return dict(keys)
    if not isinstance(given, Mapping) or given.get("p") == 0:
        return given
    return {**keys, **given}


class MixupConfig(Config):
    """Blend an image with another of the batch, and its labels in the same shares (Zhang et al. 2018)."""

    p: Probability = 0.0
    """Probability for each image."""
    alpha: Positive = 0.2
    """Both parameters of the beta distribution that the share is drawn from."""


class CutmixConfig(Config):
    """Put a rectangle of another image of the batch into an image, and share out the labels by area (Yun et al. 2019).
    An image that `mixup` blends is left alone."""

    p: Probability = 0.0
    """Probability for each image."""
    alpha: Positive = 1.0
    """Both parameters of the beta distribution that the rectangle's area is drawn from."""


class ClassesAugmentConfig(AugmentConfig):
    """Random changes to the training batch, made on the device."""

    mixup: MixupConfig = MixupConfig()
    cutmix: CutmixConfig = CutmixConfig()
