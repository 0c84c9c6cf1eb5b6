"""What is always done to an image before the network sees it; what is done at random is in ``augment``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from medloom.recipe.sections.base import Bool, Config, Side, low_first

__all__ = ["NormaliseConfig", "PreprocessConfig"]


class NormaliseConfig(Config):
    """From stored pixels to what the network sees, image by image."""

    method: Literal["zscore", "percentile", "minmax", "imagenet", "none"] = "zscore"
    """`zscore` mean 0 and deviation 1; `percentile` the two percentiles to 0 and 1; `minmax`; `imagenet` the fixed
    mean and deviation that pretrained networks expect, of the dtype's full range (see `window`); `none`."""
    nonzero: Bool = True
    """Take the statistics over pixels above zero only, where the head is; of an image without any, such as CT of the
    lung, over those above its least value. Like the keys below it is not for
    `imagenet` and `none`, which take no statistics."""
    per_channel: Bool = True
    """Each channel by itself; otherwise all channels together."""
    percentiles: tuple[Annotated[float, Field(ge=0, le=100)], Annotated[float, Field(ge=0, le=100)]] = (
        1.0,
        99.0,
    )
    """`percentile` only: the two percentiles."""
    min_spread: Annotated[float, Field(ge=0)] = 0.0
    """Smallest deviation or range, in grey levels of the file, to divide by: keeps the noise of a nearly blank image
    from being blown up into structure."""

    @field_validator("percentiles")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        return low_first(value)


class PreprocessConfig(Config):
    """Deterministic steps, the same in training, evaluation and serving."""

    size: tuple[Side, Side] = (256, 256)
    """Height and width in pixels that the network sees."""
    fit: Literal["stretch", "pad"] = "stretch"
    """`stretch` changes the aspect ratio, `pad` keeps it and fills with zeros."""
    spacing: tuple[Annotated[float, Field(gt=0, le=1000)], Annotated[float, Field(gt=0, le=1000)]] | None = None
    """Millimetres between rows and between columns of what the network sees: every image is resampled to them and
    padded to `size`. One that does not fit into it, or does not say its spacing, is refused. Needs `fit: pad`. Empty:
    images are fitted to `size`, whatever their pixels measure."""
    window: tuple[float, Annotated[float, Field(ge=1)]] | Literal["file", "auto"] | None = None
    """Cut values to a window, as radiologists do: its centre and width (HU for CT), or `file` for what each DICOM
    suggests. `auto`: that, else all that its stored bits can hold; images of 8 bits stay as they are. Empty: the whole
    range, and `auto` under `normalise.method: imagenet` if the key is left out."""
    colour: Literal["as-is", "grey", "rgb"] = "as-is"
    """Bring every image to one grey channel, or to three: grey is repeated, colours are weighed as in luma."""
    normalise: NormaliseConfig = NormaliseConfig()
    """Intensity normalisation."""

    @model_validator(mode="before")
    @classmethod
    def _on_the_scale_of_imagenet(cls, given: object) -> object:
        """Its constants are of 0 to 1, and only of 8 bits it is clear what that means."""
        if not isinstance(given, dict) or "window" in given:
            return given
        normalise = given.get("normalise")
        method = normalise.get("method") if isinstance(normalise, dict) else getattr(normalise, "method", None)
        return {**given, "window": "auto"} if method == "imagenet" else given

    @model_validator(mode="after")
    def _padded(self) -> Self:
        if self.spacing is not None and self.fit != "pad":
            raise ValueError(
                "preprocess.spacing keeps sizes in mm, which fit=stretch would undo; set preprocess.fit=pad"
            )
        return self

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width in pixels of what the network sees."""
        return self.size
