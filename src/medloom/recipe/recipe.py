"""What a recipe says whatever is predicted; each kind of answer adds its own keys in ``medloom.recipe.kinds``.

One YAML file says everything about a run. It is typed, frozen, and refuses keys that it does not know.
Booleans accept true/false/1/0/yes/no and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, ValidationInfo, model_validator

from medloom.recipe.dependent import idle_keys
from medloom.recipe.sections.augment import AugmentConfig
from medloom.recipe.sections.base import Config
from medloom.recipe.sections.data import DataConfig, SplitConfig
from medloom.recipe.sections.diagnose import DiagnoseConfig
from medloom.recipe.sections.evaluation import DistilConfig, EvaluateConfig, PackageConfig
from medloom.recipe.sections.images import PreprocessConfig
from medloom.recipe.sections.target import TargetSection
from medloom.recipe.sections.tracking import TrackingConfig
from medloom.recipe.sections.training import LossConfig, ModelConfig, TrainConfig
from medloom.recipe.sections.tune import TuneConfig
from medloom.targets import Target

__all__ = ["OF_A_RUN", "Recipe"]

COLOURS = ("red", "green", "blue")

OF_A_RUN = {"of": "a run"}
"""Context of a validation: the recipe is that of a run that was made with it."""


class Recipe(Config):
    """Everything about a run."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    """Name of the recipe, in lower-case letters, digits and hyphens."""
    description: str = ""
    """One sentence for `medloom recipes`."""
    target: TargetSection
    data: DataConfig
    split: SplitConfig = SplitConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig
    loss: LossConfig
    train: TrainConfig
    diagnose: DiagnoseConfig = DiagnoseConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    package: PackageConfig = PackageConfig()
    distil: DistilConfig = DistilConfig()
    tune: TuneConfig = TuneConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="before")
    @classmethod
    def _without_colour(cls, given: object) -> object:
        """A preset changes the colours of images that have some; of others it leaves that step out."""
        if not isinstance(given, Mapping) or not isinstance(augment := given.get("augment"), Mapping):
            return given
        if "colour" in augment or augment.get("preset") is None or _have_colours(given):
            return given
        return {**given, "augment": {**augment, "colour": {"p": 0.0}}}

    @model_validator(mode="after")
    def _acts(self, info: ValidationInfo) -> Self:
        """Refuse what would do nothing; a run that is there may be older than the refusal, and is still read."""
        if info.context != OF_A_RUN and (found := idle_keys(self)):
            raise ValueError("\n".join(found))
        return self

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Take a recipe for one of this class, in a file that only such recipes reach.

        Raises:
            TypeError: If it is of another kind, which is an error of the program.
        """
        if not isinstance(recipe, cls):
            raise TypeError(f"a recipe for {recipe.target.kind} where one for {cls.__name__} is needed")
        return recipe

    @property
    def in_colour(self) -> bool:
        """Whether the channels that the network sees are red, green and blue of one picture."""
        return self.data.context == 0 and _in_colour(self.preprocess.colour, self.data.channels)

    def predicts(self) -> Target:
        """Return what is predicted.

        Raises:
            RecipeError: If ``prepare`` has to find out first.
        """
        return self.target.value()

    def plain(self) -> dict[str, Any]:
        """Return the recipe as plain JSON types."""
        return self.model_dump(mode="json")


def _in_colour(colour: object, channels: object) -> bool:
    named = isinstance(channels, list | tuple) and tuple(channels) == COLOURS
    return colour == "rgb" or (colour == "as-is" and named)


def _have_colours(given: Mapping[str, Any]) -> bool:
    """The same of values that are not checked yet."""
    sections = {key: value if isinstance(value := given.get(key), Mapping) else {} for key in ("preprocess", "data")}
    alone = not sections["data"].get("context")
    return alone and _in_colour(sections["preprocess"].get("colour", "as-is"), sections["data"].get("channels"))
