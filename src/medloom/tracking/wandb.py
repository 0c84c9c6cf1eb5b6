"""Weights & Biases: offline and without an account by default, in a folder beside the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Self

from medloom.extras import require
from medloom.recipe.sections.tracking import TrackingConfig
from medloom.tracking.api import Known, Point, Record, Session, State
from medloom.tracking.remembering import Remembering

__all__ = ["WandbTracker"]

_EXTRA = "wandb"
_MEASURED = ("validation/", "test/", "held_out/")
_MACHINE = "system/"
_QUIET: Mapping[str, Any] = {
    **{"silent": True, "console": "off", "disable_git": True, "disable_code": True, "save_code": False},
    **{"x_disable_meta": True, "x_disable_stats": True, "x_disable_machine_info": True, "x_save_requirements": False},
}
"""What W&B would find out by itself stays here: user, host, paths, what is printed."""


class WandbTracker:
    """A project of Weights & Biases.

    Args:
        folder: Where its files lie.
        project: Name of the project.
        mode: ``offline`` or ``online``.

    Source: https://docs.wandb.ai/models/ref/python/experiments/settings
    """

    name = "wandb"

    def __init__(self, folder: Path, project: str, mode: str) -> None:
        self._folder = folder
        self._project = project
        self._mode = mode

    @classmethod
    def of(cls, config: TrackingConfig, folder: Path) -> Self:
        """Return the tracker of a run."""
        return cls(folder.absolute().parent, config.wandb.project, config.wandb.mode)

    def open(self, record: Record) -> Session:
        """Begin a run, or take up the one with this id."""
        wandb = require("wandb", _EXTRA)
        run = wandb.init(
            project=self._project, id=record.id, name=record.name, group=record.parent, dir=str(self._folder),
            mode=self._mode, resume="allow", reinit="create_new", settings=wandb.Settings(**_QUIET),
        )  # fmt: skip
        return Remembering(_Session(wandb, run), self._folder / "wandb" / f"medloom-{record.id}.json")


class _Session:
    """One run of W&B."""

    def __init__(self, wandb: Any, run: Any) -> None:  # noqa: ANN401 - W&B may be missing, so its types too
        self._wandb = wandb
        self._run = run
        self._state: State = "running"
        run.define_metric("epoch")
        run.define_metric("*", step_metric="epoch")
        run.define_metric("sample")
        run.define_metric(f"{_MACHINE}*", step_metric="sample")

    def known(self) -> Known:
        """Nothing: offline there is nobody to ask."""
        return Known()

    def describe(self, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Set the configuration."""
        self._run.config.update(
            {**params, **{f"about.{key}": value for key, value in tags.items()}}, allow_val_change=True
        )

    def points(self, points: Sequence[Point]) -> None:
        """Log metrics, those of a step together; what was measured at the end belongs to the summary."""
        self._run.summary.update({one.name: one.value for one in points if one.name.startswith(_MEASURED)})
        logged = [one for one in points if not one.name.startswith(_MEASURED)]
        logged.sort(key=_axis)
        for (axis, step), group in groupby(logged, key=_axis):
            self._run.log({axis: step, **{one.name: one.value for one in group}})

    def file(self, place: str, path: Path, sha256: str) -> None:
        """Log a picture as such, a page as HTML, anything else as a file."""
        if path.suffix == ".png":
            self._run.log({"predictions": self._wandb.Image(str(path), caption=path.stem)})
        elif path.suffix == ".html":
            self._run.log({path.stem: self._wandb.Html(path.read_text("utf-8"), inject=False)})
        else:
            self._keep(path, f"{path.parent.name}-{path.stem}", "facts")

    def model(self, bundle: Path, sha256: str, name: str) -> None:
        """Log the bundle as an artifact."""
        self._keep(bundle, name, "model")

    def state(self, state: State) -> None:
        """Remember how it ends."""
        self._state = state

    def close(self) -> None:
        """Finish the run, as failed if it has."""
        self._run.finish(exit_code=int(self._state == "failed"))

    def _keep(self, path: Path, name: str, kind: str) -> None:
        artifact = self._wandb.Artifact(name, type=kind)
        artifact.add_file(str(path), name=path.name)
        self._run.log_artifact(artifact)


def _axis(point: Point) -> tuple[str, int]:
    return "sample" if point.name.startswith(_MACHINE) else "epoch", point.step
