"""``train``: a training job of SageMaker as an ordinary run, from its channels to its bundle.

The run directory lies in the folder of checkpoints, so that a job that was stopped goes on from there. A finished run
is copied to where ``output.tar.gz`` is made of, and its bundle, unpacked, to where ``model.tar.gz`` is.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medloom import pipeline
from medloom.cli.display import Display
from medloom.cli.found import look_at, say_found
from medloom.cli.output import say
from medloom.cli.texts import closing, say_steps, set_aside_code
from medloom.container.channels import RECIPE_CHANNEL, Images, gathered, part_settings
from medloom.container.environment import TrainingJob, read_job, read_places
from medloom.container.failing import exit_code_of, failure_text, say_failure, where_it_failed
from medloom.container.handing_over import hand_over, hand_over_bundle
from medloom.container.hosts import become_torchrun, is_in_group
from medloom.container.hyperparameters import Asked, read_hyperparameters
from medloom.container.metric_lines import MetricLines
from medloom.errors import DataError, MedloomError, UserError
from medloom.events import Event, Events
from medloom.extras import require
from medloom.files import TemporaryFolder, write_text
from medloom.pipeline.names import FOUND
from medloom.pipeline.notices import SetAside
from medloom.pipeline.problems import list_problems
from medloom.recipe import Recipe, parse_recipe
from medloom.recipe.loading import with_values
from medloom.signals import Terminated, termination_raised

__all__ = ["gpus_here", "train"]

_RUN = "run"
_STOPPED = "stopped and saved; the next job with these checkpoints goes on from here"


def train(arguments: Sequence[str]) -> int:
    """Do a training job.

    Args:
        arguments: Hyper-parameters as ``--name value``; they win over those of the files and variables.

    Returns:
        The exit code: 0 if it is done, or was asked to stop; 1 if it failed, 2 if what came in was wrong, 74 if the
        disk is full.
    """
    os.environ.setdefault("MEDLOOM_CACHE", str(Path(tempfile.gettempdir()) / "medloom"))  # on the job's own volume
    places, job = read_places(os.environ), None
    with termination_raised():
        try:
            job = read_job(os.environ, gpus=gpus_here()).asked(arguments)
            _started(job, arguments)
            _take_part(job)
        except Terminated:
            say(f"{_STOPPED} (SIGTERM)")
        except Exception as error:
            if not isinstance(error, (MedloomError, OSError)):
                say(where_it_failed(error))
            folders = [] if job is None else [channel.folder for channel in job.channels.values()]
            say_failure(failure_text(error, folders), places.failure)
            return exit_code_of(error)
    return 0


def gpus_here() -> int:
    """Return how many GPUs of NVIDIA this container has been given."""
    return sum(path.name.removeprefix("nvidia").isdecimal() for path in Path("/dev").glob("nvidia*"))


@dataclass(frozen=True)
class _Work:
    """What a job comes down to: a run of a recipe on images."""

    recipe: Recipe
    images: Images
    folder: Path
    found: str | None = None


def _train(job: TrainingJob) -> None:
    asked = read_hyperparameters(job.hyperparameters)
    folder = job.places.checkpoints / _run_name(job, asked)
    output = Path(asked.own.get("output-dir") or job.places.output)
    scratch = TemporaryFolder("medloom-channels-")
    try:
        work = _work(job, asked, folder, gathered(job.channels, scratch.path))
        require("torch", "train")
        _run(work, job.places.model)
    except DataError as error:
        if error.problems:
            list_problems(folder, error.problems)
        raise
    finally:
        scratch.remove()
        hand_over(folder, output)


def _started(job: TrainingJob, arguments: Sequence[str]) -> None:
    """Start the processes of a job with several hosts, unless this is one of them."""
    if len(job.hosts.names) == 1 or is_in_group():
        return
    shards = [one.name for one in job.channels.values() if one.distribution != "FullyReplicated"]
    if shards:
        raise UserError(
            f"channel {', '.join(shards)}: its S3DistributionType is ShardedByS3Key, so each host has other images; "
            "expected FullyReplicated: the hosts share each batch, which is drawn from all images"
        )
    become_torchrun(job.hosts, arguments)


def _take_part(job: TrainingJob) -> None:
    """Do the job, or in a group of several processes the part of this one."""
    if not is_in_group():
        _train(job)
        return
    from medloom.training.group import membership, release  # brings torch

    with membership():
        if os.environ["RANK"] == "0":
            _train(job)
            release()
        else:
            _follow(job)


def _follow(job: TrainingJob) -> None:
    """Take part in the trainings of the first process; what is written here is thrown away."""
    from medloom.training.group import follow  # brings torch

    scratch, beside = TemporaryFolder("medloom-channels-"), TemporaryFolder("medloom-follows-")
    try:
        images = gathered(job.channels, scratch.path).path
        follow(beside.path, lambda folder: pipeline.find_store(pipeline.Run.open(folder), images))
    finally:
        beside.remove()
        scratch.remove()


def _run_name(job: TrainingJob, asked: Asked) -> str:
    """Trials of a tuner share one place for checkpoints, so each has a folder of its own; else a job goes on."""
    return asked.own.get("run") or (job.name if asked.is_trial and job.name else _RUN)


def _work(job: TrainingJob, asked: Asked, folder: Path, images: Images) -> _Work:
    """Find the recipe, and make it keep to the channels and the GPUs."""
    settings = list(asked.settings)
    given: str | Recipe | None = _given_recipe(job, asked)
    found = None
    if given is None:
        survey, found = look_at(str(images.path), settings)
        say_found(survey)
        given = parse_recipe(found)
    recipe = pipeline.loaded_recipe(given, settings, asked.own.get("preset", "good"))
    said = {setting.partition("=")[0] for setting in settings}
    changes = part_settings(recipe, images)
    devices = max(1, job.hosts.gpus) * len(job.hosts.names)
    if devices > 1 and (recipe.train.devices == 1 or is_in_group()):
        changes["train.devices"] = devices
        said -= {"train.devices"} if is_in_group() else set()
    if is_in_group() and recipe.package.serve == "distilled":
        raise UserError(
            "package.serve=distilled: what the folds answer is learned on one host; leave it out, or give a job of one "
            "host"
        )
    changes = {key: value for key, value in changes.items() if key not in said}
    return _Work(with_values(recipe, changes) if changes else recipe, images, folder, found)


def _given_recipe(job: TrainingJob, asked: Asked) -> str | None:
    """The recipe that the job names, or brings in a channel; None where the images are to be looked at."""
    channel = job.channels.get(RECIPE_CHANNEL)
    files = [] if channel is None else sorted(path for path in channel.folder.glob("*.y*ml") if path.is_file())
    named = asked.own.get("recipe")
    if named is None:
        if channel is not None and len(files) != 1:
            raise UserError(f"channel {RECIPE_CHANNEL}: expected one YAML file; found {len(files)}")
        return str(files[0]) if files else None
    beside = [path / named for path in (*(one.folder for one in job.channels.values()), Path.cwd())]
    return str(next((path for path in beside if path.is_file()), named))


def _run(work: _Work, model: Path) -> None:
    """Do the run, and unpack its bundle."""
    lines = MetricLines(lambda text: print(text, flush=True), work.recipe.train.monitor, _known_best)
    with Display() as display:
        events = Events([_without_names(display), say_steps, lines])
        with pipeline.started_run(work.recipe, work.folder, images=work.images.path, events=events) as begun:
            if work.found is not None:
                write_text(work.folder / FOUND, work.found)
            jobs = 1 if is_in_group() else None  # several hosts share each training, one after another
            result = pipeline.finished_result(*begun, events=events) or pipeline.run_stages(
                *begun, jobs=jobs, events=events
            )
    if result.stopped is not None:
        say(_STOPPED)
        return
    if result.bundle is not None:
        hand_over_bundle(result.bundle, model)
    say(closing(result))
    set_aside_code(result.prepared)
    lines.close()


def _without_names(display: Display) -> Callable[[Event], None]:
    """Show events, apart from those that name files of patients: a job's log is kept."""

    def show(event: Event) -> None:
        if not isinstance(event, SetAside):
            display(event)

    return show


def _known_best(folder: Path) -> tuple[int, float] | None:
    """The epochs that a training has done and its best value, as its newest checkpoint has them."""
    from medloom.training.checkpoint import newest_checkpoint  # brings torch, which the training needs by now
    from medloom.training.ledger import Ledger

    newest = newest_checkpoint(folder)
    if newest is None:
        return None
    ledger = Ledger.from_state(newest[1]["run"]["ledger"])
    return (ledger.epochs_done, ledger.best_metric) if ledger.best_epoch else None
