"""What is watched while a network learns."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from medloom.recipe.sections.base import Config, Named
from medloom.registry import RULES

__all__ = ["DiagnoseConfig"]


class DiagnoseConfig(Config):
    """The rules that watch a training and say what is wrong with it. They never change what is learned."""

    rules: Literal["all", "none"] | tuple[Annotated[str, Named(RULES)], ...] = "all"
    """Which rules: `all`, `none`, or a list of them."""
    every: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Steps from one look at the weights, gradients and activations to the next; the first step is always looked at.
    `auto` looks about 40 times, but not more often than every 20 steps and not less often than every 50."""
    action: Literal["warn", "stop"] = "warn"
    """What a finding does: it is said and kept in the report, or it also ends the training, which the same command
    goes on with. Findings that are no reason to end (wrong labels, unstable validation, poor initialisation) only warn.
    """

    @field_validator("rules")
    @classmethod
    def _some(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not value:
            raise ValueError("expected all, none or a list of rules; the list is empty")
        if len(set(value)) < len(value) and not isinstance(value, str):
            raise ValueError("a rule is named twice")
        return value

    def stride(self, steps: int) -> int:
        """Return the steps from one look to the next in a training of so many steps.

        Example:
            >>> DiagnoseConfig().stride(100), DiagnoseConfig().stride(100_000), DiagnoseConfig(every=1).stride(100)
            (20, 50, 1)
        """
        return min(50, max(20, steps // 40)) if self.every == "auto" else self.every

    def chosen(self) -> tuple[str, ...]:
        """Return the names of the rules, in the order of the table."""
        if self.rules in ("all", "none"):
            return tuple(RULES) if self.rules == "all" else ()
        return tuple(name for name in RULES if name in self.rules)
