"""What the commands of a run's stages say about what was found, in whole lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medloom.cli.output import ExitCode, say, table
from medloom.events import Event, StageBegun, StageEnded
from medloom.files import read_json
from medloom.wording import counted, patients_text

if TYPE_CHECKING:
    from medloom.pipeline import RunResult

__all__ = ["STOPPED", "closing", "prepared_text", "rate_text", "say_steps", "set_aside_code", "trained_text"]

_STEPS = ("prepare", "train", "evaluate", "package", "report")

_HEADLINES = 4

STOPPED = "stopped and saved; the same command goes on from here"
"""What is said of a training that was asked to stop."""


def say_steps(event: Event) -> None:
    """Say which step of a whole run begins, and what a step has found; a listener."""
    if isinstance(event, StageBegun):
        where = f": {event.folder}" if event.stage == _STEPS[0] else ""
        say(f"{_STEPS.index(event.stage) + 1}/{len(_STEPS)} {event.stage}{where}")
    elif isinstance(event, StageEnded) and event.stage in _FOUND:
        file, text = _FOUND[event.stage]
        facts = read_json(event.folder / file)
        if facts.get("finished", True):
            say(text(facts))


def prepared_text(facts: Mapping[str, Any]) -> str:
    """Say how many patients and samples each part has, and what their truth is.

    Example:
        >>> counts = {"patients": 2, "samples": 20, "foreground_samples": 7, "foreground_share": 0.35}
        >>> source = {"status": "known", "source": "the folders", "patients": 2, "samples_without": 0}
        >>> print(prepared_text({"counts": {"train": counts}, "patient_source": source}))
          split  patients  samples  truth
          train  2         20       7 with foreground (35%)
          patients from the folders: 2
    """
    rows = [("split", "patients", "samples", "truth")]
    for split, counts in facts["counts"].items():
        patients = "not known" if counts["patients"] is None else str(counts["patients"])
        rows.append((split, patients, str(counts["samples"]), _truth(counts)))
    said = facts.get("patient_source")  # an earlier version did not say it
    return f"{table(rows)}\n  {patients_text(said)}" if said else table(rows)


def _truth(counts: Mapping[str, Any]) -> str:
    """Samples with something and their share, of each class or with each label; of numbers mean and deviation."""
    parts: list[str] = []
    for key, value in counts.items():
        if isinstance(value, Mapping):
            said = " unknown" if key == "unknown" else ""
            parts += [text for name, item in value.items() if (text := _named(f"{name}{said}", item))]
        elif key.endswith("_share") and parts:
            parts[-1] += f" ({value:.0%})"
        elif key.endswith("_samples"):
            parts.append(f"{value} with {key.removesuffix('_samples')}")
    return ", ".join(parts)


def _named(name: str, item: Any) -> str:  # noqa: ANN401 - anything JSON can hold
    if not isinstance(item, Mapping):
        return f"{name} {item}"
    return "" if item["mean"] is None else f"{name} {item['mean']:.4g} ± {item['std']:.2g}"


def trained_text(facts: Mapping[str, Any]) -> str:
    """Say which epoch was best and by which metric."""
    early = ", stopped early" if facts.get("stopped_early") else ""
    return (
        f"best epoch {facts['best_epoch']} of {facts['epochs']}{early} "
        f"by {facts['monitor']} {facts['best_metric']:.4f}, "
        f"on {facts['device']} in {facts['precision']}, {facts['seconds']:.0f} s"
    )


def rate_text(facts: Mapping[str, Any], folder: Path) -> str:
    """Say which learning rate a range test suggests, and how to take it."""
    page = f"{folder}/find_lr.html"
    if facts["suggested"] is None:
        return f"no learning rate lowered the training loss in so few steps; look at {page}"
    rate = f"{facts['suggested']:.2g}"
    return (
        f"suggested learning rate {rate}; the recipe has {facts['current']:.2g}. Look at {page}\n"
        f"Next, if the run has not begun to train:\n  medloom train {folder} --set train.optimizer.lr={rate}"
    )


_FOUND = {"prepare": ("prepare.json", prepared_text), "train": ("training.json", trained_text)}


def set_aside_code(facts: Mapping[str, Any]) -> ExitCode:
    """Say that inputs were set aside, if so, and return the exit code."""
    count = sum(int(entry.get("count", 1)) for entry in facts.get("set_aside", ()))
    if not count:
        return ExitCode.DONE
    say(f"{counted(count, 'input was', 'inputs were')} set aside; the data report names the reasons")
    return ExitCode.SET_ASIDE


def closing(result: RunResult) -> str:
    """Say what was made, what the metrics are, and what to type next."""
    from medloom.evaluation import (
        metric_rows,
        part_of,
        point_lines,
        seeds_note,
        spread_rows,
    )  # numpy: only where something was measured
    from medloom.evaluation.parts import ensemble_note

    made = table([("bundle", str(result.bundle)), *(("page", str(page)) for page in result.pages)])
    phantom = "\nLearned from PHANTOM images: the metrics say that the software works, nothing about people.\n"
    part, note = part_of(result.summary), ensemble_note(result.summary)
    ensemble = f"Note: {note}\n" if note else ""
    if result.summary.get("held_out"):
        together = {**result.summary, "test": result.summary["held_out"]}
        ensemble = f"{ensemble}{table(metric_rows(together, _HEADLINES))}\n"
    if rows := spread_rows(result.summary):
        ensemble = f"{seeds_note(result.summary)}\n{table(rows)}\n"
    over = result.summary.get("interval", {}).get("over", "cases")
    whom = "over all folds" if "folds" in result.summary else f"on the {part} {over}"
    closed = (
        f"\n  medloom evaluate {result.folder}   (opens the test set, which was held back)" if part != "test" else ""
    )
    return (
        f"\nMade in {result.folder}:\n{made}\n\n"
        f"Metrics {whom} (95 % interval over {over}):\n{table(metric_rows(result.summary, _HEADLINES))}\n"
        f"{point_lines(result.summary)}{ensemble}"
        f"{phantom if result.phantom else ''}\n"
        f"Next:\n  medloom predict {result.bundle} IMAGES... -o predictions\n  medloom serve {result.bundle}{closed}"
    )
