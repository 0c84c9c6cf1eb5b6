"""Where a run is tracked while it is worked on."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from medloom.recipe.sections.base import Bool, Config, Named
from medloom.registry import TRACKERS

__all__ = ["MlflowConfig", "TrackingConfig", "WandbConfig"]

_CREDENTIALS = re.compile(r"://[^/@\s]*@")


class MlflowConfig(Config):
    """The experiment of MLflow."""

    uri: Annotated[str, Field(min_length=1)] | None = None
    """Address of the server, or of a database such as `sqlite:///mlflow.db`; empty: `MLFLOW_TRACKING_URI`, or without
    it the file `mlflow.db` beside the runs. A name and a password come from `MLFLOW_TRACKING_USERNAME` and
    `MLFLOW_TRACKING_PASSWORD`, never from a recipe."""
    experiment: Annotated[str, Field(min_length=1, max_length=200)] = "medloom"
    """Name of the experiment; it is made if it is missing."""

    @field_validator("uri")
    @classmethod
    def _usable(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if _CREDENTIALS.search(value):
            raise ValueError(
                "an address with a password would be kept in the run; give it in MLFLOW_TRACKING_URI, or name and "
                "password in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        if "://" not in value or value.startswith("file:"):
            raise ValueError("expected an address with ://, such as https://host or sqlite:///mlflow.db; not a folder")
        return value


class WandbConfig(Config):
    """The project of Weights & Biases."""

    project: Annotated[str, Field(min_length=1, max_length=100)] = "medloom"
    """Name of the project."""
    mode: Literal["offline", "online"] = "offline"
    """`offline` keeps everything in `wandb` beside the runs, without an account; `wandb sync` sends it when that is
    wanted."""


class TrackingConfig(Config):
    """Who is told what a training does: none to all of them at once. A list alone, `tracking: [mlflow]`, names them."""

    model_config = ConfigDict(json_schema_extra={"type": ["object", "array"], "items": {"enum": list(TRACKERS)}})

    trackers: tuple[Annotated[str, Named(TRACKERS)], ...] = ()
    """Which. A tracker that is down, slow or full never stops or slows a training; `medloom track RUN` sends what is
    missing."""
    pictures: Bool = True
    """Whether they get what shows images: the pages, and predictions for a few validation images each time that the
    validation metric improves."""
    mlflow: MlflowConfig = MlflowConfig()
    wandb: WandbConfig = WandbConfig()

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, given: object) -> object:
        """Take a list for the trackers."""
        return {"trackers": given} if isinstance(given, list | tuple) else given

    @field_validator("trackers")
    @classmethod
    def _once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("a tracker is named twice")
        return value
