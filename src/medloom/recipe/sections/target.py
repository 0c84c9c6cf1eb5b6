"""What is predicted. Each kind of answer has a section of its own; see ``medloom.recipe.kinds``."""

from __future__ import annotations

from medloom.recipe.sections.base import Config
from medloom.targets import Target

__all__ = ["TargetSection"]


class TargetSection(Config):
    """What is predicted."""

    kind: str
    """Which kind of answer."""

    def value(self) -> Target:
        """Return what is predicted as the one value that every room takes.

        Raises:
            RecipeError: If it is still to be found out while preparing.
        """
        raise NotImplementedError
