"""What phantoms to make, in plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from medloom.recipe import PhantomConfig

__all__ = ["PhantomPlan"]


@dataclass(frozen=True)
class PhantomPlan:
    """What a phantom data set holds. The values are not checked here: the recipe's ``data.phantom`` does that.

    Args:
        kind: ``brain-mri``, ``chest-xray`` or ``melanoma``.
        patients: Number of patients.
        size: Height and width of an image in pixels.
        slices: Fewest and most slices of a patient, at least 4 of a head; images of a patient for the other kinds.
        prevalence: Share of positive images, between 0 and 1; None for that of the published set. Brain MRI has its
            own.
        seed: Seed of the generator.
    """

    kind: Literal["brain-mri", "chest-xray", "melanoma"] = "brain-mri"
    patients: int = 16
    size: int = 256
    slices: tuple[int, int] = (20, 88)
    prevalence: float | None = None
    seed: int = 0

    @classmethod
    def of(cls, section: PhantomConfig) -> Self:
        """Return the plan that a recipe's ``data.phantom`` describes."""
        return cls(
            kind=section.kind,
            patients=section.patients,
            size=section.size,
            slices=section.slices,
            prevalence=section.prevalence,
            seed=section.seed,
        )

    def plain(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        return {**asdict(self), "slices": list(self.slices)}
