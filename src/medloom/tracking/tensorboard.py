"""TensorBoard: event files in a folder beside the runs, written with its own package, which needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from medloom.extras import require
from medloom.recipe.sections.tracking import TrackingConfig
from medloom.tracking.api import Known, Point, Record, Session, State
from medloom.tracking.remembering import Remembering

__all__ = ["TensorboardTracker"]

_EXTRA = "tensorboard"
_COLOURS = 3


class TensorboardTracker:
    """Event files in a folder for each run: ``tensorboard --logdir runs/tensorboard`` shows them.

    Args:
        folder: Where those folders are.

    Source: https://github.com/tensorflow/tensorboard
    """

    name = "tensorboard"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of(cls, config: TrackingConfig, folder: Path) -> Self:
        """Return the tracker of a run."""
        del config  # it has no settings
        return cls(folder.absolute().parent / "tensorboard")

    def open(self, record: Record) -> Session:
        """Begin a file of events for what is new of a run."""
        place = self._folder / f"{record.name}-{record.id[:8]}"
        return Remembering(_Session(place), place / "sent.json")


class _Session:
    """A file of events; TensorBoard shows all of a folder as one run."""

    def __init__(self, place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        writer = require("tensorboard.summary.writer.event_file_writer", _EXTRA).EventFileWriter
        self._writer = writer(str(place))
        self._event = require("tensorboard.compat.proto.event_pb2", _EXTRA).Event
        self._summary = require("tensorboard.compat.proto.summary_pb2", _EXTRA).Summary

    def known(self) -> Known:
        """Nothing: event files are not read."""
        return Known()

    def describe(self, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Write parameters and tags as a table each."""
        for name, rows in (("parameters", params), ("tags", tags)):
            if rows:
                lines = [f"| {key} | {value.replace('|', '&#124;')} |" for key, value in rows.items()]
                self._add(self._text(name, "\n".join(["| key | value |", "|---|---|", *lines])), 0)

    def points(self, points: Sequence[Point]) -> None:
        """Write scalars."""
        for one in points:
            self._add(self._summary.Value(tag=one.name, simple_value=one.value), one.step, one.when_ms / 1000)
        self._writer.flush()

    def file(self, place: str, path: Path, sha256: str) -> None:
        """Write a picture; pages have no place in TensorBoard."""
        if path.suffix != ".png":
            return
        from PIL import Image  # pictures alone need it

        with Image.open(path) as opened:
            width, height = opened.size
        image = self._summary.Image(
            height=height, width=width, colorspace=_COLOURS, encoded_image_string=path.read_bytes()
        )
        digits = "".join(filter(str.isdigit, path.stem))
        self._add(self._summary.Value(tag="predictions", image=image), int(digits or 0))

    def model(self, bundle: Path, sha256: str, name: str) -> None:
        """Say which bundle it is; TensorBoard keeps no models."""
        self._add(self._text("bundle", f"{name}, SHA-256 {sha256}"), 0)

    def state(self, state: State) -> None:
        """Write what there is to the disk."""
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def _add(self, value: Any, step: int, when_s: float | None = None) -> None:  # noqa: ANN401 - of TensorBoard
        said = {} if when_s is None else {"wall_time": when_s}
        self._writer.add_event(self._event(step=step, summary=self._summary(value=[value]), **said))

    def _text(self, tag: str, text: str) -> Any:  # noqa: ANN401
        summary = require("tensorboard.compat.proto.summary_pb2", _EXTRA)
        tensors = require("tensorboard.compat.proto.tensor_pb2", _EXTRA)
        shapes = require("tensorboard.compat.proto.tensor_shape_pb2", _EXTRA)
        plugin = summary.SummaryMetadata.PluginData(plugin_name="text")
        shape = shapes.TensorShapeProto(dim=[shapes.TensorShapeProto.Dim(size=1)])
        tensor = tensors.TensorProto(dtype="DT_STRING", string_val=[text.encode()], tensor_shape=shape)
        return self._summary.Value(tag=tag, metadata=summary.SummaryMetadata(plugin_data=plugin), tensor=tensor)
