"""Trials of a study as training jobs on SageMaker: the study stays here, and is the same one as on a laptop.

A trial's folder remembers its job. So a laptop may be closed: the next call follows the jobs that go on, and begins no
second one for the same trial. What comes back is what the training wrote; the catalogue and the split are the study's,
and a job that divided the images otherwise is refused.
"""

from __future__ import annotations

import math
import re
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import yaml

from medloom.backends.api import State
from medloom.backends.sagemaker import Account, Place, Training, training_call
from medloom.backends.sagemaker.jobs import JobFacts, follow, job_facts, stop_job
from medloom.backends.sagemaker.note import Note
from medloom.backends.sagemaker.pull import pull_run
from medloom.backends.sagemaker.recipes import SentRecipe, written_recipe
from medloom.data.opening import Images
from medloom.errors import MedloomError, ServerError, TrainingError, UserError
from medloom.events import Events, Noted
from medloom.files import TemporaryFolder, read_json
from medloom.recipe import Recipe, load_recipe, with_values
from medloom.recipe.loading import written_values
from medloom.tuning.plan import Study
from medloom.tuning.shared import trial_run
from medloom.tuning.space import Values
from medloom.tuning.trial import Outcome, PlaceError, Report, facts_of_trained
from medloom.tuning.worker import Limits, work
from medloom.wording import one_line

__all__ = ["FROM_THERE", "SageMakerTrials", "fetch_trained", "trial_name", "trial_training", "work_there"]

_PREPARED, _RECIPE = "prepare.json", "recipe.yaml"
_WRONG_INPUT = 2

_BEST = re.compile(r"(?:^|[ ;])epoch=(\d+);.*?(?:^|[ ;])best=([0-9eE+.-]+);")

FROM_THERE = (
    "checkpoints",
    "metrics.jsonl",
    "training.json",
    "diagnosis.json",
    "baselines.csv",
    "batch_size.json",
    "profile.json",
    "progress",
    "system.jsonl",
)
"""What a training writes; everything else of a trial is made here, as of any other."""


def trial_name(study: str, number: int) -> str:
    """Return what a trial is called there."""
    return f"{study}-trial-{number:04d}"


def trial_training(like: Training, recipe: Recipe, run: str, place: Place, stamp: str) -> tuple[Training, SentRecipe]:
    """Return the job of a trial, and its recipe, which has to be sent before; nothing is done.

    Args:
        like: What all jobs have in common.
        recipe: With the settings of the trial.
        run: What the trial is called there.
        place: Where.
        stamp: Tells the job from others of the trial.
    """
    values = written_values(recipe)
    values.get("data", {}).pop("path", None)
    sent = written_recipe(yaml.safe_dump(values, sort_keys=False), run, place)
    channels = {**like.channels, **sent.channels}
    return replace(like, run=run, settings=sent.settings, channels=channels, stamp=stamp), sent


@dataclass
class SageMakerTrials:
    """Does trials there; given to ``work`` in the place of the training here. Several threads may share it.

    Args:
        account: The account.
        place: Where in it.
        like: What all jobs have in common; its run and settings are those of each trial.
        stamp: Makes the part of a job's name that tells it from others.
    """

    account: Account
    place: Place
    like: Training
    stamp: Callable[[], str]
    _asked: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """Let the trials that are under way stop; they go on with the next call."""
        self._asked.set()

    def __call__(
        self,
        study: Study,
        recipe: Recipe,
        folder: Path,
        images: Images,
        report: Report,
        *,
        events: Events | None = None,
    ) -> Outcome:
        """Train with the settings of a trial there; see ``run_trial``.

        Raises:
            PlaceError: If AWS refuses, or the images there are others: that is no fault of the settings.
        """
        if study.folds is not None:
            raise UserError("--folds: on SageMaker each setting is trained once; leave it out")
        try:
            return self._trained(study, recipe, folder, images, report, events or Events())
        except (UserError, ServerError) as error:
            raise PlaceError(str(error)) from error

    def _trained(
        self, study: Study, recipe: Recipe, folder: Path, images: Images, report: Report, told: Events
    ) -> Outcome:
        trial_run(study, recipe, folder, None, images, told)
        note = self._taken_up(folder) or self._begun(study, recipe, folder)
        scores = _Scores(report, told, folder.name)
        facts = follow(self.account, note.job, lambda line: self._heard(line, note, scores), sleep=self._sleep(note))
        return self._outcome(facts, note, scores, folder, recipe)

    def _taken_up(self, folder: Path) -> Note | None:
        """The job of a trial that goes on, or that ended while nobody looked."""
        note = Note.read(folder)
        if note is None:
            return None
        state = job_facts(self.account, note.job).status.state
        return note if state in (State.WAITING, State.RUNNING, State.DONE) else None

    def _begun(self, study: Study, recipe: Recipe, folder: Path) -> Note:
        before = Note.read(folder)
        run = before.run if before else trial_name(study.folder.name, int(folder.name))
        training, sent = trial_training(self.like, recipe, run, self.place, f"{self.stamp()}-{folder.name}")
        sent.upload(self.account, self.place)
        self.account.send(training_call(training, self.place), f"trial {folder.name} cannot begin")
        begun = datetime.now(UTC).isoformat(timespec="seconds")
        note = Note(training.name, self.place.region, self.place.bucket, self.place.prefix, run, begun)
        note.save(folder)
        return note

    def _heard(self, line: str, note: Note, scores: _Scores) -> None:
        if scores.heard(line):
            stop_job(self.account, note.job)

    def _sleep(self, note: Note) -> Callable[[float], object]:
        """Wait, or stop the job at once if the study is to stop."""

        def wait(seconds: float) -> None:
            if self._asked.wait(seconds):
                stop_job(self.account, note.job)

        return wait

    def _outcome(self, facts: JobFacts, note: Note, scores: _Scores, folder: Path, recipe: Recipe) -> Outcome:
        if facts.status.state == State.FAILED:
            wrong_input = facts.status.code == _WRONG_INPUT
            raise (PlaceError if wrong_input else TrainingError)(f"{note.job}: {one_line(facts.reason, 300)}")
        self._fetch(note, folder)
        trained = folder / "training.json"
        if facts.status.state == State.CANCELLED or not trained.is_file():
            return Outcome("pruned" if scores.pruned else "stopped", scores.best)
        found = read_json(trained)
        if found["best_metric"] is None:
            raise MedloomError(f"no epoch has the metric {recipe.train.monitor}")
        return Outcome("complete", float(found["best_metric"]), {**facts_of_trained([found]), "job": note.job})

    def _fetch(self, note: Note, folder: Path) -> None:
        fetch_trained(self.account, self.place.run_uri(note.run, "checkpoints"), folder)


@dataclass
class _Scores:
    """Follows the best value that a job prints."""

    report: Report
    events: Events
    trial: str
    best: float = math.nan
    pruned: bool = False
    reported: int = 0

    def heard(self, line: str) -> bool:
        """Take a line; return whether the trial is given up now."""
        found = _BEST.search(line)
        if found is None or int(found[1]) <= self.reported:
            return False
        self.reported, self.best = int(found[1]), float(found[2])
        self.events.emit(Noted(f"trial {int(self.trial)}: epoch {self.reported}, best {self.best:.4f}"))
        before, self.pruned = self.pruned, self.pruned or self.report(self.best, self.reported)
        return self.pruned and not before


def work_there(
    study: Study, images: Images, limits: Limits, jobs: int, trials: SageMakerTrials, events: Events
) -> str | None:
    """Do trials of a study there, so many at a time, until there are enough; see ``work``.

    An interrupt stops the jobs that are under way, for nobody would look at what they cost.
    """
    with ThreadPoolExecutor(jobs, "trial") as crew:
        done = [crew.submit(work, study, images, limits, events=events, train=trials) for _ in range(jobs)]
        try:
            stopped = [one.result() for one in done]
        except BaseException:
            trials.stop()
            raise
    return next((reason for reason in stopped if reason), None)


def fetch_trained(
    account: Account, uri: str, folder: Path, names: Sequence[str] = FROM_THERE, values: Values | None = None
) -> None:
    """Bring back what the training of a trial wrote, and see that it saw the study's own patients.

    Args:
        account: The account.
        uri: Where its run is.
        folder: Of the trial.
        names: What is brought.
        values: Settings that it should have had, where something else than the study handed them to it.

    Raises:
        UserError: If it divided the images otherwise, or had other settings.
    """
    beside = TemporaryFolder(".medloom-trial-", folder.parent)
    try:
        pull_run(account, uri, beside.path, only=(*names, _PREPARED, _RECIPE))
        _check_split(beside.path, folder)
        _check_settings(beside.path, values or {})
        for name in names:
            if (beside.path / name).exists():
                _replace(beside.path / name, folder / name)
    finally:
        beside.remove()


def _check_settings(there: Path, values: Values) -> None:
    """Refuse what was trained with other settings than it is taken for."""
    recipe = load_recipe(there / _RECIPE)
    if with_values(recipe, values) != recipe:
        raise UserError("the job trained with other settings than were chosen; is the image of another version?")


def _check_split(there: Path, here: Path) -> None:
    """Refuse scores of other patients than those of the study."""
    facts: Sequence[Mapping[str, str]] = [
        read_json(folder / _PREPARED) if (folder / _PREPARED).is_file() else {} for folder in (there, here)
    ]
    sums = [one.get("catalogue_sha256") for one in facts]
    if sums[0] != sums[1]:
        raise UserError(
            "the job divided the images otherwise than the study, so its score cannot be compared; are the images and "
            "the version of Medloom in the image the same as here?"
        )


def _replace(source: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    shutil.move(source, target)
