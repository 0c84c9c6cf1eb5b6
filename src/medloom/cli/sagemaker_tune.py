"""``medloom sagemaker tune``."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from medloom.backends.sagemaker import Place, Training
    from medloom.recipe import Recipe

__all__ = ["command"]


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
    """
    require("torch", "train")
    require("optuna", "tune")
    from medloom import pipeline, tuning
    from medloom.backends.sagemaker import Training, check, estimate, training_call
    from medloom.backends.sagemaker.upload import data_uri

    loaded = pipeline.loaded_recipe(recipe, overrides or ())
    check_machines(machines, loaded)
    images = Path(data or loaded.data.path or "").expanduser()
    if not (data or loaded.data.path) or not images.exists():
        raise UserError("say where the images are, on this machine: --data PATH; the study needs them, too")
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
        _print_first(loaded, tuning.study_folder(study or loaded.name, studies), like, place, trials)
        return
    from medloom.tuning.sagemaker import SageMakerTrials, work_there

    send_images(account, place, images)
    there = SageMakerTrials(account, place, like, stamp)
    with Display() as display:
        found = tuning.tune(
            recipe,
            trials=trials,
            study=study,
            data=images,
            settings=overrides or (),
            studies=studies,
            elsewhere=lambda begun, where, limits, events: work_there(begun, where, limits, jobs, there, events),
            on_event=display,
        )
    if found.stopped is not None:
        say(STOPPED)
        return
    print_result(found.plain(), closing(found), as_json=as_json)


def _print_first(recipe: Recipe, folder: Path, like: Training, place: Place, trials: int) -> None:
    """Print the request of the first trial: of the recipe as it is, or where the space lacks that, of an example."""
    from medloom.backends.sagemaker import training_call
    from medloom.tuning.plan import Study
    from medloom.tuning.sagemaker import trial_name, trial_training
    from medloom.tuning.storage import first_settings

    study = Study.begun(folder, recipe)
    laid = first_settings(study)
    values = laid[0] if laid else study.space.chosen(lambda _, parameter: parameter.extremes[0])
    say(f"trials: {trials}, each with such a request; this is {'the first' if laid else 'an example of one'}")
    first, _ = trial_training(like, study.space.recipe_of(values), trial_name(folder.name, 0), place, "0000")
    print_calls([training_call(first, place)], {"images": like.channels["training"], "trials": trials, "first": values})
