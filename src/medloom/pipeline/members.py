"""The trainings that a run is made of: folds, seeds or shares of patients, one after another or several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from medloom.backends import Slot
from medloom.data.opening import Images
from medloom.evaluation.parts import Part
from medloom.events import Events, Noted
from medloom.pipeline.fold_jobs import fold_name, plan_slots, run_side_by_side
from medloom.pipeline.folds import is_measured, measure_fold
from medloom.pipeline.runs import Run
from medloom.pipeline.sizing import sized, sized_alike
from medloom.pipeline.stages.train import reason_of

__all__ = ["Members", "train_members"]


class Foresee(Protocol):
    """Says how long trainings will take, and may give them fewer epochs."""

    def __call__(self, run: Run, runs: int = 1) -> Run:
        """Return the run as it is to be trained; ``runs`` is how many like it there are."""


@dataclass(frozen=True)
class Members:
    """The trainings that a run is made of.

    Args:
        what: What one of them is called.
        runs: Their runs, as planned.
        ready: Prepares one of them.
        images: Folder or zip with the images.
    """

    what: str
    runs: Sequence[Run]
    ready: Callable[[Run], Run]
    images: Images


def train_members(
    members: Members,
    *,
    jobs: int | None = None,
    part: Part = "test",
    foresee: Foresee | None = None,
    events: Events,
) -> str | None:
    """Train and measure those members that are not measured yet.

    Args:
        members: All of them.
        jobs: How many at a time; as many as there are GPUs for by default, else one.
        part: On whom they are measured.
        foresee: Asked before the first of several that come one after another.
        events: Told what happens; who listens may ask for an end.

    Returns:
        Why they were stopped before their end, having saved where they stand; None if all are measured.

    Raises:
        MedloomError: If one failed.
    """
    members = replace(members, runs=sized_alike(members.runs))
    left = [number for number, member in enumerate(members.runs) if not is_measured(member, part)]
    slots = [] if len(left) < 2 or jobs == 1 else plan_slots(members.runs[0].recipe, len(left), jobs)
    if len(slots) > 1:
        return _side_by_side(members, left, slots, part, events)
    return _in_turn(members, left, part, foresee, events)


def _in_turn(members: Members, left: list[int], part: Part, foresee: Foresee | None, events: Events) -> str | None:
    """One after another, in this process."""
    runs = list(members.runs)
    for number in left:
        events.emit(Noted(f"{members.what} {number + 1} of {len(runs)}"))
        ready = members.ready(runs[number])
        if number == left[0]:
            ready = sized(ready, images=members.images, events=events)
            runs = [member.with_batch_size(ready.recipe.train.images_per_step) for member in runs]
        if foresee is not None and number == left[0]:
            ready = foresee(ready, runs=len(left))
            runs = [member.with_epochs(ready.recipe.train.epochs) for member in runs]
        trained = measure_fold(ready, part=part, events=events)
        if not trained.finished:
            return reason_of(trained)
    return None


def _side_by_side(members: Members, left: list[int], slots: Sequence[Slot], part: Part, events: Events) -> str | None:
    """Several at a time; only this process prepares, so that no two build the same store."""
    runs = {}
    for number in left:
        name = fold_name(number, len(members.runs), members.what)
        events.emit(Noted(name))
        runs[name] = members.ready(members.runs[number])
    first, *others = runs
    runs[first] = sized(runs[first], images=members.images, trainings=len(slots), events=events)
    size = runs[first].recipe.train.images_per_step
    runs |= {name: runs[name].with_batch_size(size).save() for name in others}
    return run_side_by_side(runs, slots, part=part, what=members.what, events=events)
