"""Processes that share a study, as jobs on this machine; one that dies takes only its trial with it."""

from __future__ import annotations

from collections.abc import Sequence

from medloom.backends import Ending, LocalBackend, Slot, run_jobs
from medloom.data.opening import Images, absolute
from medloom.errors import TrainingError, UserError
from medloom.events import Events, Noted, Stop
from medloom.jobs import Job, Resources, uri_of
from medloom.memory import killed_text
from medloom.pipeline import plan_slots
from medloom.tuning.plan import Study
from medloom.tuning.storage import counted_trials, opened
from medloom.tuning.worker import Limits

__all__ = ["trials_job", "work_side_by_side"]

_WRONG_INPUT = 2


def trials_job(study: Study, images: Images, limits: Limits, slot: Slot, name: str) -> Job:
    """Return the job that does trials of a study until there are enough.

    Args:
        study: A prepared study.
        images: Folder or zip with the images.
        limits: How many trials, and until when.
        slot: What it takes of a machine.
        name: What it is called.
    """
    command = ["trials", str(study.folder.absolute()), "--trials", str(limits.trials), "--data", absolute(images)]
    command += [] if limits.ends_at is None else ["--until", str(limits.ends_at)]
    place = uri_of(study.folder)
    resources = Resources(slot.threads, len(slot.gpus))
    return Job(name, tuple(command), (place, uri_of(absolute(images))), (place,), resources)


def work_side_by_side(study: Study, images: Images, limits: Limits, jobs: int, *, events: Events) -> str | None:
    """Let several processes do trials until there are enough; one that was killed is replaced.

    Args:
        study: A prepared study.
        images: Folder or zip with the images.
        limits: How many trials, and until when.
        jobs: How many processes; they share the cores, or take the GPUs in turn.
        events: Told every line that they print; who listens may ask for an end.

    Returns:
        Why they stopped before there were enough; None if there are.

    Raises:
        MedloomError: If a process failed, having said why.
    """
    while True:
        slots = plan_slots(study.recipe, jobs, jobs)
        names = [f"process {number + 1}" for number in range(len(slots))]
        ending, wishes = _once(study, images, limits, slots, names, events)
        if ending.stopped or wishes:
            return wishes[0].reason if wishes else "asked to stop"
        codes = ending.failed.values()
        if not codes:
            return None
        if any(code >= 0 for code in codes):
            text = "a process of the study failed, see above; the same command goes on"
            raise UserError(text) if _WRONG_INPUT in codes else TrainingError(text)
        if len(counted_trials(opened(study))) >= limits.trials:
            return None
        events.emit(Noted(f"{killed_text('a process', min(codes))}; another takes its place"))


def _once(
    study: Study, images: Images, limits: Limits, slots: Sequence[Slot], names: Sequence[str], events: Events
) -> tuple[Ending, list[Stop]]:
    """Run a process for each slot to its end."""
    wishes = list[Stop]()

    def say(place: int, line: str) -> Stop | None:
        wish = events.emit(Noted(f"{names[place]}  {line}" if len(names) > 1 else line))
        wishes.extend([wish] if wish else [])
        return wish

    jobs = [trials_job(study, images, limits, slot, name) for slot, name in zip(slots, names, strict=True)]
    with LocalBackend(slots) as backend:
        return run_jobs(backend, jobs, say, at_a_time=len(slots)), wishes
