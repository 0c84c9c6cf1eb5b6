"""What a study is going to take, said before its first trial: of time, memory and disk."""

from __future__ import annotations

from medloom import pipeline
from medloom.data.opening import Images
from medloom.errors import MedloomError
from medloom.events import Events, Noted
from medloom.files import write_json
from medloom.tuning.plan import PREPARED, Study
from medloom.tuning.storage import counted_trials, opened
from medloom.tuning.worker import Limits
from medloom.wording import counted, duration_text

__all__ = ["foresee"]

_FORECAST = "forecast.json"


def foresee(study: Study, images: Images, limits: Limits, jobs: int | None, *, events: Events) -> None:
    """Take a few steps with the recipe's own settings, and say what a trial and the study will take.

    Nothing is said where no trial is left, and where those settings cannot be trained: a trial will say why.

    Args:
        study: A prepared study.
        images: Folder or zip with the images.
        limits: How many trials, and until when.
        jobs: Trials at a time; None for one.
        events: Told of it.

    Raises:
        DiskFullError: If the disk has no room for it.
    """
    left = limits.trials - len(counted_trials(opened(study)))
    if left <= 0:
        return
    try:
        run = pipeline.Run(study.folder / PREPARED, study.recipe)
        one = pipeline.foresee(run, images=images, whole=False, events=events)
    except MedloomError:
        return
    if one is None:
        return
    side_by_side, folds = min(jobs or 1, left), study.folds or 1
    trial_s = folds * one.train_s * side_by_side  # they share the cores
    whole_s = trial_s * -(-left // side_by_side)
    events.emit(
        Noted(
            f"forecast: about {duration_text(trial_s)} for a trial with the recipe's own settings "
            f"({counted(folds * one.epochs, 'epoch')} of {duration_text(one.epoch_s * side_by_side)}), "
            f"{duration_text(whole_s)} for {counted(left, 'trial')} if none is given up, "
            f"{f'{side_by_side} times ' if side_by_side > 1 else ''}{one.room()}"
        )
    )
    kept = (side_by_side * folds + 1) * one.disk_bytes
    write_json(study.folder / _FORECAST, {"trial": one.plain(), "trial_s": trial_s, "trials": left, "study_s": whole_s})
    pipeline.check_room(study.folder, kept)
