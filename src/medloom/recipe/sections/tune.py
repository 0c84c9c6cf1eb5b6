"""What a study of `medloom tune` searches, and how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from medloom.recipe.sections.base import Config, Named, Positive, Seed
from medloom.registry import SPACES

__all__ = ["Parameter", "TuneConfig"]

_FORMS = ("uniform", "log_uniform", "integer", "choices")


class Parameter(Config):
    """What one key of the recipe may be: one of the first four keys says it."""

    uniform: tuple[float, float] | None = None
    """Any number from the first to the second."""
    log_uniform: tuple[float, float] | None = None
    """The same, above 0, with as many tries in each power of ten."""
    integer: tuple[int, int] | None = None
    """Any whole number from the first to the second."""
    choices: Annotated[tuple[JsonValue, ...], Field(min_length=1)] | None = None
    """One of these."""
    step: Positive | None = None
    """`uniform` and `integer` only: distance of two values."""
    when: dict[str, JsonValue] = Field(default={})
    """Keys of the recipe with a value, or a list of values, with which alone this one is searched."""

    @field_validator("uniform", "log_uniform", "integer")
    @classmethod
    def _low_first(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] >= value[1]:
            raise ValueError("the first number must be below the second")
        return value

    @field_validator("choices")
    @classmethod
    def _different(cls, value: tuple[JsonValue, ...] | None) -> tuple[JsonValue, ...] | None:
        if value is not None and any(one in value[:place] for place, one in enumerate(value)):
            raise ValueError("two of the choices are the same")
        return value

    @model_validator(mode="after")
    def _of_one_form(self) -> Self:
        given = [form for form in _FORMS if getattr(self, form) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of {', '.join(_FORMS)}; got {' and '.join(given) or 'none'}")
        if self.log_uniform is not None and self.log_uniform[0] <= 0:
            raise ValueError(f"log_uniform: expected numbers above 0; got {self.log_uniform[0]:g}")
        if self.step is not None and given[0] not in ("uniform", "integer"):
            raise ValueError(f"step: {given[0]} has none; leave it out")
        if self.integer is not None and self.step is not None and self.step != int(self.step):
            raise ValueError(f"step: expected a whole number beside integer; got {self.step}")
        return self

    @property
    def ends(self) -> tuple[float, float] | None:
        """Least and largest value; None of choices."""
        return self.uniform or self.log_uniform or self.integer

    @property
    def extremes(self) -> Sequence[JsonValue]:
        """The values that are tried before a study begins: both ends, or every choice."""
        return self.choices if self.choices is not None else list(self.ends or ())


class TuneConfig(Config):
    """What `medloom tune` searches, and how; no other command reads it."""

    preset: Annotated[str, Named(SPACES)] = "auto"
    """A space that is ready: of a published study (`brain-mri`, `chest-xray`), or a sound one for masks, labels or
    numbers. `auto`: the one for what is predicted, where `space` is empty, else none."""
    space: dict[str, Parameter] = Field(default={})
    """What is searched, by key of the recipe, such as `train.optimizer.lr: {log_uniform: [1e-5, 1e-2]}`; beside a
    preset, it comes in the place of what that says of the key. Each has `uniform: [low, high]`, `log_uniform`,
    `integer` or `choices: [...]`; `step` makes numbers coarser, and `when: {model.name: unet}` searches a key only
    where another has that value, or one of a list."""
    sampler: Literal["tpe", "random", "grid", "gp", "nsga2"] = "tpe"
    """How settings are chosen: `tpe` (Bergstra et al. 2011) and `gp` (a Gaussian process) learn from earlier trials,
    `random` does not, `grid` tries every combination in a random order, `nsga2` (Deb et al. 2002) looks for the best
    compromises of score and `cost`."""
    startup_trials: Annotated[int, Field(ge=1)] = 10
    """`tpe` and `gp` only: trials at the beginning that are chosen at random."""
    grid_points: Annotated[int, Field(ge=2)] = 5
    """`grid` only: values of a range without `step`."""
    cost: Literal["seconds", "parameters"] = "seconds"
    """`nsga2` only: what is to be small beside a good score: the time of the training, or the weights of the
    network."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """When a trial is given up before its last epoch: `median`, if its best epoch so far is worse than the median of
    earlier trials at the same epoch; `hyperband` (Li et al. 2018), by halving. With `nsga2` none is."""
    seed: Seed = 0
    """Seed of the choice of settings; that of the training is `train.seed`."""
    price_per_hour: Annotated[str, Field(pattern=r"^\d+(\.\d+)?( \S.{0,9})?$")] | None = None
    """What an hour of the machine costs, such as `2.50 EUR`: the report then says what the trials cost. Empty: nothing
    is said of money."""
