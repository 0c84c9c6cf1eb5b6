"""A finished run's model where it is deployed: patients of the run sent to it, its answers measured and compared."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medloom import data
from medloom.client import Client
from medloom.errors import UserError
from medloom.evaluation import KINDS, Reading
from medloom.evaluation.calibrate import Fitted
from medloom.evaluation.parts import Part, read_summary
from medloom.evaluation.told import Told, measure_told, measure_untold
from medloom.events import Events, FileMade, StageBegun, StageEnded
from medloom.files import write_json
from medloom.inference import Predictor
from medloom.packaging import Manifest, read_bundle
from medloom.pipeline.asking import Asked, Kept, ask_samples
from medloom.pipeline.measuring import drawn_over, note_opening
from medloom.pipeline.names import REVIEW
from medloom.pipeline.places import find_images, in_use
from medloom.pipeline.runs import Run, bundle_of
from medloom.reports.reviewed import REVIEWED, write_reviewed_page
from medloom.wording import counted

__all__ = ["Reviewed", "Wanted", "review", "review_folder"]

_WORST = 10
_POINT = "The operating point of the bundle."

Facts = dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """What is sent, and from when on two answers are not the same.

    Args:
        part: Which patients: ``validation`` or ``test``, which opens the test set once more.
        limit: Most images, drawn evenly; None for all.
        at_once: Most requests at a time.
        tolerance: Largest difference of a probability that counts as none.
    """

    part: Part = "validation"
    limit: int | None = None
    at_once: int = 4
    tolerance: float = 1e-3


@dataclass(frozen=True)
class Reviewed:
    """What a review made.

    Args:
        folder: Where it was written.
        facts: As in ``review.json``.
        page: Its report.
    """

    folder: Path
    facts: Mapping[str, Any]
    page: Path


def review_folder(run: Run, name: str, part: Part) -> Path:
    """Return where the review of an endpoint or a server is written."""
    return run.folder / REVIEW / (re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.") or "server") / part


def review(
    run: Run,
    client: Client,
    name: str,
    wanted: Wanted,
    *,
    images: str | Path | None = None,
    events: Events | None = None,
) -> Reviewed:
    """Send patients of a run to its deployed model, and write what it answered beside what the bundle answers here.

    Writes ``review/NAME/PART`` into the run: ``review.json``, ``cases.csv``, ``summary.json``, the gallery of the worst
    cases, and ``report.html``.

    Args:
        run: A packaged run.
        client: Of the endpoint or server.
        name: What it is called.
        wanted: What is sent.
        images: Folder or zip with the images; by default where they are known to be.
        events: Told of progress.

    Raises:
        UserError: If the run has no bundle, its images are not known here, or the model there predicts something else.
        ServerError: If nothing at all was answered.
    """
    events, folder = events or Events(), review_folder(run, name, wanted.part)
    events.emit(StageBegun("review", run.folder))
    rows = _rows(data.read_catalogue(run.folder / "catalogue.csv"), wanted)
    where = find_images(run, images, events=events)
    with (
        read_bundle(bundle_of(run.folder)) as bundle,
        in_use(where),
        data.open_source(where) as source,
        tempfile.TemporaryDirectory(prefix="medloom-review-") as scratch,
    ):
        predictor, manifest, kept = bundle.predictor(), bundle.manifest, Kept(Path(scratch))
        _refuse_context(predictor)
        if wanted.part == "test":
            note_opening(run)
        asking = events.progress("review")
        found = ask_samples(client, predictor, source, rows, kept, at_once=wanted.at_once, progress=asking)
        seen = rows[rows["sample_id"].isin([one.sample_id for one in found if not one.code])]
        reading = Reading(run.recipe, source, predictor, catalogue=rows)
        summary = _measured(run, reading, kept, seen, folder, wanted)
    facts = {**_facts(found, manifest, name, wanted), **summary}
    write_json(folder / REVIEWED, facts)
    page = write_reviewed_page(folder)
    for path in (folder / REVIEWED, page):
        events.emit(FileMade(path))
    events.emit(StageEnded("review", run.folder))
    return Reviewed(folder, facts, page)


def _rows(catalogue: pd.DataFrame, wanted: Wanted) -> pd.DataFrame:
    rows = catalogue[catalogue["split"] == wanted.part]
    if rows.empty:
        raise UserError(f"the run has no {wanted.part} images of its own; reviews of runs of folds are not there")
    most = len(rows) if wanted.limit is None else min(wanted.limit, len(rows))
    places = np.unique(np.linspace(0, len(rows) - 1, most).round().astype(int))
    return rows.iloc[places]


def _refuse_context(predictor: Predictor) -> None:
    if predictor.context:
        raise UserError(
            "a model with data.context sees slices with those beside them, and a review sends each file by itself; "
            "send volumes with medloom predict --server"
        )


def _measured(run: Run, reading: Reading, kept: Kept, rows: pd.DataFrame, folder: Path, wanted: Wanted) -> Facts:
    """The metrics of what was answered there, of the bundle here on the same images, and those of the run."""
    part, over, predictor = wanted.part, drawn_over(run), reading.predictor
    plain = replace(predictor, calibration=None)
    told = Told(run.recipe, reading.source, plain, catalogue=reading.catalogue, answered=kept)
    there = measure_told(told, rows, folder, part=part, over=over)
    family = KINDS[predictor.target.kind](predictor.target)
    choice = replace(family.fixed(predictor.point.plain(), _POINT), calibrated=Fitted(predictor.calibration, text=""))
    here = measure_untold(replace(reading, predictor=plain), rows, choice, part=part, over=over)
    reported = read_summary(run.folder).get(part) or read_summary(run.folder, "validation").get(part) or {}
    return {
        "headlines": there["headlines"],
        "meanings": there["meanings"],
        "interval": there["interval"],
        "metrics": {
            "there": there[part]["metrics"],
            "here": here[part]["metrics"],
            "reported": reported.get("metrics", {}),
        },
    }


def _facts(found: Sequence[Asked], manifest: Manifest, name: str, wanted: Wanted) -> Facts:
    """How far answers are apart, how long they took, and whose they are."""
    both = [one for one in found if not one.code]
    beyond = [one for one in both if not one.agrees(wanted.tolerance)]
    worst = sorted(both, key=lambda one: (one.same_point, -one.probability, -one.differing, one.sample_id))
    served = sorted({one.digest for one in both})
    facts = {
        "format": 1,
        "server": name,
        "model": manifest.name,
        "phantom": manifest.phantom,
        "part": wanted.part,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "images": len(found),
        "limit": wanted.limit,
        "tolerance": wanted.tolerance,
        "bundle": {"here": manifest.algorithm.identity, "there": served, "names": sorted({one.name for one in both})},
        "agreement": {
            "compared": len(both),
            "exact": sum(one.exact for one in both),
            "within": len(both) - len(beyond),
            "beyond": len(beyond),
            "largest": max(one.probability for one in both),
            "worst": [one.plain() for one in worst[:_WORST] if not one.exact],
        },
        "set_aside": [{"sample_id": one.sample_id, "code": one.code, "side": one.side} for one in found if one.code],
        "latency_ms": _latency([one.ms for one in both if one.ms is not None]),
    }
    return {**facts, "warnings": _warnings(facts, both)}


def _latency(ms: Sequence[float]) -> Facts:
    middle, late = (round(float(value), 1) for value in np.percentile(ms, (50, 99)))
    return {"p50": middle, "p99": late, "largest": round(max(ms), 1), "answers": len(ms)}


def _warnings(facts: Facts, both: Sequence[Asked]) -> list[str]:
    found, bundle = [], facts["bundle"]
    known = [digest for digest in bundle["there"] if digest]
    if any(digest != bundle["here"] for digest in known):
        found.append(
            f"The endpoint serves another bundle ({', '.join(known)}) than that of the run ({bundle['here']}): deploy "
            "this one, or review the run of that one."
        )
    if "" in bundle["there"]:
        found.append("The endpoint does not say which bundle it serves: its version of Medloom is an earlier one.")
    if len(bundle["there"]) > 1:
        found.append("Not all answers are of the same bundle: another one was deployed meanwhile.")
    if points := sum(not one.same_point for one in both):
        found.append(f"The endpoint decides at another operating point, in {counted(points, 'answer')}.")
    if facts["agreement"]["beyond"]:
        apart = counted(facts["agreement"]["beyond"], "answer")
        found.append(f"{apart} differ from what the bundle says here by more than {facts['tolerance']:g}, or in point.")
    return found
