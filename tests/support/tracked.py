"""A run directory made by hand, as a training leaves it, and trackers that keep what they are told or do not work."""

from __future__ import annotations

import errno
import functools
import json
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml

from medloom.files import write_bytes, write_json, write_text
from medloom.imaging import encode_png
from medloom.tracking import Known
from support.bundles import tiny_recipe, write_tiny_bundle

PERSON = "CanaryPerson"
"""Stands wherever a run may name a patient."""


def line(epoch: int, score: float) -> dict[str, Any]:
    return {"epoch": epoch, "train_loss": 1 / epoch, "dice_balanced": score, "nothing": None, "lr": 0.1, "seconds": 2.0}


def write_run(folder: Path, *, scores: tuple[float, ...] = (0.25, 0.75, 0.5), finished: bool = True) -> Path:
    """A run of masks whose metrics are ``scores``; what is not sent names a person."""
    plain = tiny_recipe().plain()
    plain["model"]["weights"] = f"/home/{PERSON}/weights/best.pth"
    plain["data"] |= {"path": f"/home/{PERSON}/images", "series": "1.2.826.0.1.3680043"}
    plain["train"]["epochs"] = len(scores)
    write_text(folder / "recipe.yaml", yaml.safe_dump(plain, sort_keys=False))
    for name in ("catalogue.csv", "trained_on.csv", "problems.txt", "evaluation/cases.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_text(folder / name, f"{PERSON}\n")
    environment = {"medloom": "0.1.0", "git": {"commit": "abc", "changed": True}, "packages": {"numpy": "2.4"}}
    write_json(folder / "run.json", {"data": f"../../{PERSON}", "environment": environment})
    write_json(folder / "prepare.json", {"phantom": True, "set_aside": [PERSON]})
    add_epochs(folder, scores)
    if finished:
        finish(folder)
    return folder


def add_epochs(folder: Path, scores: tuple[float, ...], first: int = 1) -> None:
    (folder / "progress").mkdir(exist_ok=True)
    with (folder / "metrics.jsonl").open("a") as file:
        for epoch, score in enumerate(scores, first):
            file.write(json.dumps(line(epoch, score)) + "\n")
    for epoch in {first, first + int(np.argmax(scores))}:
        write_bytes(folder / "progress" / f"epoch_{epoch:04d}.png", encode_png(np.full((8, 9, 3), epoch, np.uint8)))
    write_json(folder / "progress" / "progress.json", {"samples": [PERSON]})


def finish(folder: Path) -> None:
    """The end of a run: what was measured, the pages and the bundle."""
    write_json(folder / "training.json", {"best_epoch": 2, "finished": True, "device": "cpu"})
    metrics = {"dice_foreground": {"value": 0.5, "low": 0.25, "high": None}}
    write_json(folder / "evaluation" / "summary.json", {"test": {"metrics": metrics}})
    for page in ("report.html", "data_report.html"):
        write_text(folder / page, f"<p>{page}</p>")
    write_bytes(folder / "model.tar.gz", _bundle())


@functools.cache
def _bundle() -> bytes:
    """A bundle; packing one takes a second."""
    with tempfile.TemporaryDirectory() as place:
        return write_tiny_bundle(Path(place) / "model.tar.gz").read_bytes()


class Kept:
    """A tracker in memory: what each run was told, in order."""

    name = "kept"

    def __init__(self) -> None:
        self.told: dict[str, list[tuple[Any, ...]]] = {}
        self.records: list[Any] = []

    @classmethod
    def of(cls, config: object, folder: Path) -> Self:
        return cls()

    def open(self, record: Any) -> KeptSession:
        self.records.append(record)
        return KeptSession(self.told.setdefault(record.id, []))


class KeptSession:
    def __init__(self, told: list[tuple[Any, ...]]) -> None:
        self.told = told

    def known(self) -> Known:
        known = Known()
        for what, *said in self.told:
            if what == "describe":
                known.params.update(said[0])
                known.tags.update(said[1])
            elif what == "points":
                known.points.update({(one.name, one.step): one.value for one in said[0]})
            elif what == "file":
                known.files[said[0]] = said[2]
            elif what == "model":
                known.bundle = said[1]
            elif what == "state":
                known.state = said[0]
        return known

    def describe(self, params, tags) -> None:
        self.told.append(("describe", dict(params), dict(tags)))

    def points(self, points) -> None:
        self.told.append(("points", list(points)))

    def file(self, place, path, sha256) -> None:
        self.told.append(("file", place, path.read_bytes(), sha256))

    def model(self, bundle, sha256, name) -> None:
        self.told.append(("model", name, sha256, bundle.read_bytes()))

    def state(self, state) -> None:
        self.told.append(("state", state))

    def close(self) -> None:
        self.told.append(("close",))


class Down(Kept):
    """A tracker that cannot be reached, until it can."""

    name = "down"
    up = False

    def open(self, record: Any) -> KeptSession:
        if not type(self).up:
            raise ConnectionError("no answer from https://name:secret@tracker.example")
        return super().open(record)


class Full(Kept):
    """A tracker without room for files."""

    name = "full"

    def open(self, record: Any) -> KeptSession:
        session = super().open(record)
        session.file = self._refuse  # type: ignore[method-assign]
        return session

    def _refuse(self, *_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/mnt/tracker/file")


class Hanging(Kept):
    """A tracker that never answers, until ``released``."""

    name = "hanging"

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.released = threading.Event()

    def open(self, record: Any) -> KeptSession:
        self.reached.set()
        self.released.wait()
        return super().open(record)


def copy_store(template: Path, runs: Path) -> None:
    """Put an empty MLflow store beside runs; making its tables takes seconds."""
    runs.mkdir(parents=True, exist_ok=True)
    shutil.copy(template, runs / "mlflow.db")
