"""A kind of answer that Medloom does not have: angles in degrees, where 359 is next to 1.

Everything that a new kind needs is here; ``angle_lines`` adds the lines of the tables that CONTRIBUTING names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from medloom import registry
from medloom.evaluation.labels import Regression
from medloom.inference.answers.labels import LabelAnswers
from medloom.models.labels import LabelModels
from medloom.recipe.kinds.labels import LabelsRecipe, LabelsTarget
from medloom.recipe.sections.base import Named
from medloom.recipe.sections.training import LossConfig, TrainConfig
from medloom.targets import Target

KIND = "angle"


class AngleTarget(LabelsTarget):
    """What is predicted: angles."""

    kind: Literal["angle"] = "angle"
    """Angles in degrees."""

    def value(self) -> Target:
        return Target(self.kind, self.columns)


class AngleLoss(LossConfig):
    """The training loss."""

    name: Annotated[str, Named(registry.LOSSES, KIND)] = "periodic"
    """The loss."""


class AngleTrain(TrainConfig):
    """The loop."""

    monitor: Annotated[str, Named(registry.METRICS, KIND)] = "angle_error"
    """Validation metric."""


class AngleRecipe(LabelsRecipe):
    """Everything about a run that predicts angles."""

    target: AngleTarget = AngleTarget()
    loss: AngleLoss = AngleLoss()
    train: AngleTrain = AngleTrain()


def difference(a, b):
    """The way from b to a on the circle, -180..180 degrees."""
    return (a - b + 180.0) % 360.0 - 180.0


class PeriodicLoss(nn.Module):
    """One minus the cosine of the error."""

    def forward(self, logits: Tensor, truth: Tensor) -> Tensor:
        return (1.0 - torch.cos(torch.deg2rad(logits.float() - truth))).mean()


def periodic() -> PeriodicLoss:
    return PeriodicLoss()


class AngleModels(LabelModels):
    def standardise(self, network, truth) -> None:
        """Answer in degrees: a step of the network is worth a radian."""
        outputs = truth.shape[1]
        network.standardise(torch.full((outputs,), 180.0), torch.full((outputs,), 57.3))


def circular(logits, truth):
    return {"angle_error": float(np.abs(difference(logits, truth)).mean())}


def angle_measure(pairs):
    def measure(weights):
        errors = [np.abs(difference(predicted, true)) for true, predicted in pairs]
        return {"circular_error": np.mean([weights @ one / weights.sum(axis=1) for one in errors], axis=0)}

    return measure


@dataclass(frozen=True)
class Angle(Regression):
    headlines: ClassVar[tuple[str, ...]] = ("circular_error",)

    def statistics(self, cases):
        return angle_measure(self._pairs(cases))


def says(prediction):
    return {"angles": {name: round(score % 360.0, 3) for name, score in prediction.by_name.items()}}


ANSWERS = LabelAnswers(
    thresholds=lambda names: 0, decide=lambda names, scores, limits: (), says=says, rule={"decision": "none"}
)
