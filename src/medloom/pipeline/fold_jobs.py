"""Folds and other members of a run as jobs: several at a time on this machine, each in a process of its own."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence

from medloom.backends import Ending, LocalBackend, Slot, run_jobs, share_out
from medloom.errors import MedloomError, TrainingError, UserError
from medloom.evaluation.parts import Part
from medloom.events import Events, Noted, Stop
from medloom.jobs import Job, Resources, uri_of
from medloom.memory import killed_text
from medloom.pipeline.folds import is_measured
from medloom.pipeline.runs import Run
from medloom.recipe import Recipe
from medloom.wording import counted

__all__ = ["fold_job", "fold_name", "plan_slots", "run_side_by_side"]

_WRONG_INPUT = 2

_STOPPED = "asked to stop"


def plan_slots(recipe: Recipe, count: int, jobs: int | None = None) -> list[Slot]:
    """Share the devices of this machine out between trainings of one recipe.

    Args:
        recipe: Its ``train.device`` and ``train.devices`` say what one training takes.
        count: How many trainings there are.
        jobs: How many at a time; by default as many as find GPUs of their own, and one on a CPU.

    Returns:
        One slot for each training that goes on at a time, at most ``count``.

    Raises:
        RecipeError: If one training takes more GPUs than there are.
    """
    from medloom.inference.runtimes.graph import available_threads
    from medloom.training.precision import choose_device  # these bring torch
    from medloom.training.processes import visible_gpus

    each = recipe.train.devices
    gpus = visible_gpus() if choose_device(recipe.train.device, each) == "cuda" else []
    return share_out(count, cores=available_threads(), gpus=gpus, gpus_each=each, at_a_time=jobs)


def fold_name(number: int, count: int, what: str = "fold") -> str:
    """Return what a fold, or another member of a run, is called in the lines that it prints, counted from 1."""
    return f"{what} {number + 1}/{count}"


def fold_job(fold: Run, name: str, slot: Slot, part: Part = "test") -> Job:
    """Return the job that trains and measures a prepared fold.

    Args:
        fold: The run of the fold, or of another member of a run.
        name: What it is called.
        slot: What it takes of a machine.
        part: On whom it is measured.
    """
    place = uri_of(fold.folder)
    resources = Resources(slot.threads, len(slot.gpus))
    command = ["fold", str(fold.folder.absolute()), *(["--part", part] if part != "test" else [])]
    return Job(name, tuple(command), (place,), (place,), resources)


def run_side_by_side(
    folds: Mapping[str, Run], slots: Sequence[Slot], *, part: Part = "test", what: str = "fold", events: Events
) -> str | None:
    """Train and measure prepared folds, as many at a time as there are slots.

    Args:
        folds: Their runs by name, or those of other members of a run.
        slots: What each process gets.
        part: On whom they are measured.
        what: What one of them is called.
        events: Told every line that a fold prints, after its name; who listens may ask for an end.

    Returns:
        Why they stopped before their end, having saved where they stand; None if all are measured.

    Raises:
        MedloomError: If a fold failed; each has said why.
    """
    names, wishes = list(folds), list[Stop]()
    events.emit(Noted(f"{counted(len(slots), what)} at a time, each {_share(slots[0])}"))

    def say(place: int, line: str) -> Stop | None:
        wish = events.emit(Noted(f"{names[place]}  {line}"))
        wishes.extend([wish] if wish else [])
        return wish

    jobs = [fold_job(run, name, slots[0], part) for name, run in folds.items()]
    with LocalBackend(slots) as backend:
        ending = run_jobs(backend, jobs, say, at_a_time=len(slots))
    if ending.failed:
        raise _failure(names, ending)
    if all(is_measured(run, part) for run in folds.values()):
        return None
    return wishes[0].reason if wishes else _STOPPED


def _share(slot: Slot) -> str:
    gpus = f"on {counted(len(slot.gpus), 'GPU')} " if slot.gpus else ""
    return f"{gpus}with {counted(slot.threads, 'core')}"


def _failure(names: Sequence[str], ending: Ending) -> MedloomError:
    """The error for folds that failed; a user's if a wrong input is what it was."""
    ends = [
        killed_text(names[place], code) if code < 0 else f"{names[place]} failed, see above"
        for place, code in ending.failed.items()
    ]
    fewer = ", or fewer folds at a time (--jobs)" if -signal.SIGKILL in ending.failed.values() else ""
    text = f"{', '.join(ends)}{fewer}; the same command does what is left"
    return UserError(text) if _WRONG_INPUT in ending.failed.values() else TrainingError(text)
