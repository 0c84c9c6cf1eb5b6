"""The fourth stage: one file that predicts, verifies itself and serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medloom import packaging, training
from medloom.data import TableEncoding
from medloom.evaluation import seeds_note
from medloom.evaluation.appearance import read_appearance
from medloom.evaluation.fingerprint import read_fingerprint
from medloom.evaluation.parts import HELD_BACK, ON_VALIDATION, ensemble_note, part_of
from medloom.events import Events, FileMade, StageBegun, StageEnded
from medloom.inference.calibration import Calibration
from medloom.inference.quality import Quality
from medloom.pipeline.about import about_of
from medloom.pipeline.graph import GRAPH
from medloom.pipeline.identity import check_trained, trained_counts
from medloom.pipeline.kept import kept_note
from medloom.pipeline.measuring import current_summary, openings_of
from medloom.pipeline.metadata import read_encoding
from medloom.pipeline.runs import Run

if TYPE_CHECKING:
    from medloom.models import Network

__all__ = ["package", "package_network"]


def package(run: Run, *, events: Events | None = None) -> Path:
    """Write the bundle of an evaluated run.

    Args:
        run: The run.
        events: Told when it is made.

    Returns:
        Path of ``model.tar.gz``.

    Raises:
        UserError: If it was not measured as it is now; without metrics on test, those on validation do.
        DataError: If the run does not stand on what was trained on.
    """
    check_trained(run)
    summary, network = current_summary(run), training.load_best(run.folder, run.recipe)
    return package_network(run, network, [read_encoding(run)], summary, events=events)


def package_network(
    run: Run,
    network: Network,
    tables: Sequence[TableEncoding | None],
    summary: Mapping[str, Any],
    *,
    trained: Path | None = None,
    events: Events | None = None,
) -> Path:
    """Write the bundle of a network whose graph is in the run directory and that was measured.

    Args:
        run: The run.
        network: The network, or the ensemble of several.
        tables: How metadata become numbers for each of them; None for one that takes none.
        summary: What was measured, as in ``summary.json``.
        trained: Where its training is, if that is not in the run directory itself.
        events: Told when it is made.
    """
    events = events or Events()
    events.emit(StageBegun("package", run.folder))
    check_trained(run)
    facts = run.facts("prepare.json", "prepare")
    path = packaging.write_bundle(
        run.bundle,
        onnx=run.folder / GRAPH,
        weights={name: tensor.numpy() for name, tensor in network.state_dict().items()},
        recipe=run.recipe,
        point=summary["operating_point"],
        tables=tables,
        metrics=_metrics(summary),
        measured=_measured(run, summary),
        fingerprint=facts["catalogue_sha256"],
        phantom=facts["phantom"],
        plane=facts.get("orientation", {}).get("plane"),
        calibration=_calibration(summary),
        quality=_quality(summary),
        counts=trained_counts(run),
        appearance=read_appearance(run.folder),
        images_fingerprint=read_fingerprint(run.folder) if run.recipe.package.fingerprint else None,
        begun_with=Run(trained or run.folder, run.recipe).facts("training.json", "train").get("weights"),
        instead_of_ensemble=_instead(summary.get("served")),
        precision=summary.get("precision"),
        agreement=summary.get("agreement", ()),
        about=about_of(run, facts, summary),
    )
    events.emit(FileMade(path))
    events.emit(StageEnded("package", run.folder))
    return path


def _metrics(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Those of what is packaged: of an ensemble that was measured as such, not those of its members."""
    if summary.get("held_out"):
        return {"test": summary["held_out"]["metrics"]}
    return {split: summary[split]["metrics"] for split in ("validation", "test") if split in summary}


def _instead(served: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What one network lost against the ensemble in whose place it is; None for an ensemble and for any other."""
    if served is None or served["what"] == "ensemble":
        return None
    judging = served["judging"]
    kept = {key: judging[key] for key in ("ensemble", "difference")}
    return {"what": served["what"], "members": served["members"], "cases": judging["cases_text"], **kept}


def _calibration(summary: Mapping[str, Any]) -> Calibration | None:
    """What was fitted; a run that was measured by an earlier version has none."""
    fitted = summary.get("calibration", {}).get("fitted")
    return None if fitted is None else Calibration.from_plain(fitted)


def _quality(summary: Mapping[str, Any]) -> Quality | None:
    """What was learned of how good an answer is to be expected; a run of an earlier version has nothing."""
    fitted = summary.get("quality", {}).get("fitted")
    return None if fitted is None else Quality.from_plain(fitted)


def _measured(run: Run, summary: Mapping[str, Any]) -> dict[str, str]:
    """What the bundle says of how its metrics came about."""
    with_what = {
        key: summary["measured_with"][key] for key in ("runtime", "precision") if key in summary["measured_with"]
    }
    if "folds" in summary:
        part = "test" if summary.get("held_out") else "folds"
        return {"part": part, **with_what, "note": ensemble_note(summary)}
    chosen = " ".join(filter(None, [kept_note(run), seeds_note(summary)]))
    if part_of(summary) == "test":
        return {"part": "test", **with_what, "note": chosen}
    note = ON_VALIDATION if openings_of(run) else HELD_BACK
    return {"part": "validation", **with_what, "note": f"{note} {chosen}".strip()}
