"""``medloom sagemaker tune``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medloom.cli.display import Display
from medloom.cli.options import DataOption, DryRunOption, JsonOption, RecipeArgument, SetOption, YesOption
from medloom.cli.output import print_result, say
from medloom.cli.sagemaker_options import (
    BucketOption,
    EnvironmentOption,
    ImageOption,
    InstanceOption,
    IsolatedOption,
    KmsOption,
    MachinesOption,
    MaxCostOption,
    PrefixOption,
    PriceOption,
    RegionOption,
    RoleOption,
    SecurityGroupOption,
    SubnetOption,
    TagOption,
    agreed,
    check_machines,
    environment,
    place_for,
    print_calls,
    stamp,
    wanted,
)
from medloom.cli.sagemaker_train import send_images
from medloom.cli.texts import STOPPED
from medloom.cli.tune import closing
from medloom.errors import UserError
from medloom.extras import require
from medloom.registry import check_name
from medloom.signals import Terminated

if TYPE_CHECKING:
    from medloom.backends.sagemaker import Account, Place, Training
    from medloom.data.opening import Images
    from medloom.events import Events
    from medloom.tuning.plan import Study
    from medloom.tuning.study import Elsewhere, StudyResult
    from medloom.tuning.worker import Limits

__all__ = ["command"]

_TUNERS = ("optuna", "amt")


def command(
    recipe: RecipeArgument,
    image: ImageOption,
    data: DataOption = None,
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="Trials in all, those of earlier calls included.")
    ] = 20,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Trials at a time.")] = 2,
    study: Annotated[
        str | None, typer.Option("--study", metavar="NAME|PATH", help="Name of the study, or its folder with a slash.")
    ] = None,
    tuner: Annotated[
        str, typer.Option("--tuner", metavar="optuna|amt", help="Who chooses: Optuna here, or SageMaker's own tuner.")
    ] = "optuna",
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience", metavar="N", min=3, help="With amt: end after N trials in a row that are no better."
        ),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="With amt: do not wait for the end.")] = False,
    overrides: SetOption = None,
    studies: Annotated[Path, typer.Option("--studies", metavar="DIR", help="Folder that holds the studies.")] = Path(
        "studies"
    ),
    instance: InstanceOption = "ml.g5.xlarge",
    machines: MachinesOption = 1,
    max_time: Annotated[str, typer.Option("--max-time", metavar="TIME", help="Longest time of one trial.")] = "2h",
    spot: Annotated[bool, typer.Option("--spot", help="Take capacity that AWS may take back.")] = False,
    keep_warm: Annotated[
        str | None, typer.Option("--keep-warm", metavar="TIME", help="Keep machines between trials; it bills.")
    ] = None,
    volume: Annotated[int, typer.Option("--volume", metavar="GB", min=1, help="Disk for images and pixels.")] = 50,
    region: RegionOption = None,
    bucket: BucketOption = None,
    role: RoleOption = None,
    prefix: PrefixOption = "medloom",
    kms_key: KmsOption = None,
    subnet: SubnetOption = None,
    security_group: SecurityGroupOption = None,
    isolated: IsolatedOption = False,
    tag: TagOption = None,
    env: EnvironmentOption = None,
    price: PriceOption = None,
    max_cost: MaxCostOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Search the settings of a recipe with trials on SageMaker; the study is here, and is that of medloom tune.

    Settings are chosen, trials given up and the best model packaged here, as of a study that runs here; every trial is
    a training job there. So a study may be begun there and go on here. The laptop may be closed: the same command
    follows the jobs that go on. An interrupt stops them, having saved.

    With --tuner amt SageMaker's own tuner (Automatic Model Tuning) chooses, there, as far as it knows what the recipe
    asks for; what it found becomes trials of the same study.
    """
    _check(tuner, searches=bool(patience or detach))
    from medloom import pipeline, tuning
    from medloom.backends.sagemaker import Training, check, estimate, training_call
    from medloom.backends.sagemaker.upload import data_uri
    from medloom.tuning.plan import Study

    loaded = pipeline.loaded_recipe(recipe, overrides or ())
    check_machines(machines, loaded)
    images = _images(data or loaded.data.path)
    asked = wanted(region, bucket, role, prefix, kms_key, subnet, security_group, tag, isolated=isolated)
    account, place = place_for(asked, dry_run=dry_run)
    like = Training(
        loaded.name,
        image,
        {},
        {"training": data_uri(place, images)},
        instance,
        machines,
        int(pipeline.read_budget(max_time, "--max-time")),
        volume,
        spot,
        warm_s=0 if keep_warm is None else int(pipeline.read_budget(keep_warm, "--keep-warm")),
        environment=environment(env),
    )
    check(training_call(like, place))
    cost = estimate(instance, machines, like.max_s + like.warm_s, place.region, price, jobs=trials)
    question = f"Search {loaded.name} with {trials} trials in {place.region}?"
    if not agreed(cost, max_cost, yes=yes, dry_run=dry_run, question=question):
        return
    if account is None:
        planned = Study.begun(tuning.study_folder(study or loaded.name, studies), loaded)
        _print_plan(planned, like, place, trials, jobs, patience, tuner)
        return
    send_images(account, place, images)
    there = _tried_there(account, place, like, jobs)
    if tuner == "amt":
        there = _searched_there(account, place, replace(like, stamp=stamp()), jobs, patience, detach=detach)
    with Display() as display:
        found = tuning.tune(
            recipe,
            trials=trials,
            study=study,
            data=images,
            settings=overrides or (),
            studies=studies,
            elsewhere=there,
            on_event=display,
        )
    _say_end(found, tuner, as_json=as_json)


def _tried_there(account: Account, place: Place, like: Training, jobs: int) -> Elsewhere:
    """Settings are chosen here, and each trial is a job there."""
    from medloom.tuning.sagemaker import SageMakerTrials, work_there

    there = SageMakerTrials(account, place, like, stamp)
    return lambda study, where, limits, events: work_there(study, where, limits, jobs, there, events)


def _searched_there(
    account: Account, place: Place, like: Training, jobs: int, patience: int | None, *, detach: bool
) -> Elsewhere:
    """Settings are chosen there, too; who stops following is told that the search goes on."""
    from medloom.tuning.amt import AmtSearch

    search = AmtSearch(account, place, like, jobs, patience, detach)

    def searched(study: Study, where: Images, limits: Limits, events: Events) -> str | None:
        try:
            return search(study, where, limits, events)
        except (KeyboardInterrupt, Terminated):
            say(
                f"the search goes on there and costs money; to stop it: medloom sagemaker status {study.folder}/ --stop"
            )
            raise

    return searched


def _say_end(found: StudyResult, tuner: str, *, as_json: bool) -> None:
    """Say what a study came to."""
    if found.stopped is None:
        print_result(found.plain(), closing(found), as_json=as_json)
    else:
        say(STOPPED if tuner != "amt" else f"{found.stopped}; the same command follows it, and goes on")


def _check(tuner: str, *, searches: bool) -> None:
    """Raise if there is no such tuner, what only SageMaker's does is asked of another, or a study cannot be here."""
    check_name("tuner", tuner, _TUNERS)
    if tuner != "amt" and searches:
        raise UserError("--patience and --detach: of a search that goes on without this machine: --tuner amt")
    require("torch", "train")
    require("optuna", "tune")


def _images(named: str | None) -> Path:
    """Where the images are on this machine."""
    path = Path(named or "").expanduser()
    if not named or not path.exists():
        raise UserError("say where the images are, on this machine: --data PATH; the study needs them, too")
    return path


def _print_plan(
    study: Study, like: Training, place: Place, trials: int, jobs: int, patience: int | None, tuner: str
) -> None:
    """Print what a study would ask for first."""
    if tuner == "amt":
        _print_search(study, like, place, trials, jobs, patience)
    else:
        _print_first(study, like, place, trials)


def _print_search(study: Study, like: Training, place: Place, trials: int, jobs: int, patience: int | None) -> None:
    """Print the request of a search by SageMaker's own tuner."""
    from medloom.backends.sagemaker.tuner import search_call
    from medloom.tuning.amt import search_of

    search, _ = search_of(study, like, place, trials, jobs, patience)
    print_calls([search_call(search, place)], {"images": like.channels["training"], "trials": trials})


def _print_first(study: Study, like: Training, place: Place, trials: int) -> None:
    """Print the request of the first trial: of the recipe as it is, or where the space lacks that, of an example."""
    from medloom.backends.sagemaker import training_call
    from medloom.tuning.sagemaker import trial_name, trial_training
    from medloom.tuning.storage import first_settings

    laid = first_settings(study)
    values = laid[0] if laid else study.space.chosen(lambda _, parameter: parameter.extremes[0])
    say(f"trials: {trials}, each with such a request; this is {'the first' if laid else 'an example of one'}")
    first, _ = trial_training(like, study.space.recipe_of(values), trial_name(study.folder.name, 0), place, "0000")
    print_calls([training_call(first, place)], {"images": like.channels["training"], "trials": trials, "first": values})
