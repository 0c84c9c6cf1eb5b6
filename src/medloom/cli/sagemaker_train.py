"""``medloom sagemaker train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medloom.cli.display import progress
from medloom.cli.options import (
    RUNS,
    DataOption,
    DryRunOption,
    JsonOption,
    RecipeArgument,
    RunsOption,
    SetOption,
    YesOption,
)
from medloom.cli.output import print_result, say, warn
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
from medloom.errors import ServerError, UserError
from medloom.signals import Terminated
from medloom.wording import size_text

if TYPE_CHECKING:
    from medloom.backends.sagemaker import Account, Estimate, Place, Training

__all__ = ["command", "send_images"]


def command(
    recipe: RecipeArgument,
    image: ImageOption,
    data: DataOption = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="NAME", help="Name of the run; default: the recipe's name.")
    ] = None,
    runs: RunsOption = RUNS,
    overrides: SetOption = None,
    instance: InstanceOption = "ml.g5.xlarge",
    machines: MachinesOption = 1,
    max_time: Annotated[
        str, typer.Option("--max-time", metavar="TIME", help="It is stopped after that, having saved.")
    ] = "4h",
    spot: Annotated[
        bool, typer.Option("--spot", help="Take capacity that AWS may take back; it goes on from its checkpoints.")
    ] = False,
    max_wait: Annotated[
        str | None, typer.Option("--max-wait", metavar="TIME", help="With --spot: waiting included [twice --max-time].")
    ] = None,
    keep_warm: Annotated[
        str | None, typer.Option("--keep-warm", metavar="TIME", help="Keep the machine for the next job; it bills.")
    ] = None,
    volume: Annotated[int, typer.Option("--volume", metavar="GB", min=1, help="Disk for images and pixels.")] = 50,
    stream: Annotated[
        bool, typer.Option("--stream", help="Read images from S3 instead of copying them first.")
    ] = False,
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
    home_price: Annotated[
        float, typer.Option("--home-price", metavar="USD", min=0, help="What an hour of this machine costs you.")
    ] = 0.0,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for the end.")] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a recipe on SageMaker: send what is new of the images, begin, follow, bring the run back.

    The run goes on where it was if its last job was stopped. The laptop may be closed: medloom sagemaker status and
    pull take the run up from its name. --data may be s3:// where the images are there already.
    """
    from medloom import pipeline
    from medloom.backends.sagemaker import Training, check, estimate, training_call
    from medloom.backends.sagemaker.recipes import recipe_settings
    from medloom.pipeline.names import run_folder

    loaded = pipeline.loaded_recipe(recipe, overrides or ())
    check_machines(machines, loaded)
    folder = run_folder(run or loaded.name, runs)
    name = folder.name
    asked = wanted(region, bucket, role, prefix, kms_key, subnet, security_group, tag, isolated=isolated)
    account, place = place_for(asked, dry_run=dry_run)
    source = _source(data or loaded.data.path)
    sent = recipe_settings(recipe, overrides or (), name, place)
    training = Training(
        name,
        image,
        sent.settings,
        {"training": _channel(source, place), **sent.channels},
        instance,
        machines,
        int(pipeline.read_budget(max_time, "--max-time")),
        volume,
        spot,
        None if max_wait is None else int(pipeline.read_budget(max_wait, "--max-wait")),
        0 if keep_warm is None else int(pipeline.read_budget(keep_warm, "--keep-warm")),
        stream,
        environment(env),
        stamp="" if dry_run else stamp(),
    )
    cost = estimate(instance, machines, training.max_s + training.warm_s, place.region, price)
    call = check(training_call(training, place))
    if account is not None and (job := _goes_on(account, name)) is not None:
        _end(account, place, name, job, folder, detach=detach, as_json=as_json)
        return
    _warn_of_home(source, folder, cost, home_price)
    if not agreed(cost, max_cost, yes=yes, dry_run=dry_run, question=f"Train {name} in {place.region}?"):
        return
    if account is None:
        print_calls([call], {"images": _channel(source, place)})
        return
    if isinstance(source, Path):
        send_images(account, place, source)
    sent.upload(account, place)
    _begin(account, place, training, folder)
    _end(account, place, name, training.name, folder, detach=detach, as_json=as_json)


def _source(said: str | None) -> Path | str:
    """The images here, or where they are in a bucket already."""
    if said is None:
        raise UserError("the recipe has no images; say where they are: --data PATH, or --data s3://BUCKET/FOLDER")
    if said.startswith("s3://"):
        return said
    path = Path(said).expanduser()
    if not path.exists():
        raise UserError(f"--data {said}: there is no such folder or zip")
    return path


def _warn_of_home(source: Path | str, folder: Path, cost: Estimate, home_usd: float) -> None:
    """Say where the training would be cheaper on this machine: by its forecast, else by how small the images are."""
    from medloom.backends.sagemaker.prices import cheaper_at_home
    from medloom.files import read_json, size_of

    if isinstance(source, str):
        return
    known = folder / "forecast.json"
    here_s = float(read_json(known)["total_s"]) if known.is_file() else None
    warning = cheaper_at_home(here_s, cost, size_of(source), home_usd)
    if warning is not None:
        warn(warning)


def _channel(source: Path | str, place: Place) -> str:
    from medloom.backends.sagemaker.upload import data_uri

    return source if isinstance(source, str) else data_uri(place, source)


def send_images(account: Account, place: Place, source: Path) -> str:
    """Bring images into the bucket, showing how far that is; return where they are."""
    from medloom.backends.sagemaker.upload import upload_images

    with progress("send") as update:
        sent = upload_images(account, place, source, update)
    say(f"images: {sent.files:,} files, {size_text(sent.bytes)}; {sent.sent:,} sent, {sent.removed:,} removed there")
    return sent.uri


def _begin(account: Account, place: Place, training: Training, folder: Path) -> None:
    from datetime import UTC, datetime

    from medloom.backends.sagemaker import training_call
    from medloom.backends.sagemaker.note import Note

    account.send(training_call(training, place), "the training cannot begin")
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    Note(training.name, place.region, place.bucket, place.prefix, training.run, begun).save(folder)
    say(f"begun: {training.name} in {place.region}")


def _goes_on(account: Account, run: str) -> str | None:
    """The job of the run that is there already: it is followed, and no second one begins."""
    from medloom.backends.sagemaker.inventory import running_training

    job = running_training(account, run)
    if job is not None:
        say(f"{run} trains there already; this follows it, and what was said of the machine and the recipe is not used")
    return job


def _end(account: Account, place: Place, run: str, job: str, folder: Path, *, detach: bool, as_json: bool) -> None:
    """Follow a training to its end and bring its run back, or say how to."""
    from medloom.cli.sagemaker_following import followed, pulled

    if detach:
        text = f"Next:\n  medloom sagemaker status {folder}\n  medloom sagemaker pull {folder}"
        print_result({"job": job, "run": str(folder)}, text, as_json=as_json)
        return
    try:
        facts = followed(account, job)
    except (KeyboardInterrupt, Terminated, ServerError, UserError):  # such as credentials that have expired
        say(f"{job} goes on there and costs money; to stop it: medloom sagemaker status {folder} --stop")
        raise
    brought = pulled(account, place.run_uri(run, "checkpoints"), folder)
    if (folder / "model.tar.gz").is_file():
        text = f"{facts.text}\nNext:\n  medloom evaluate {folder}\n  medloom serve {folder / 'model.tar.gz'}"
    else:
        text = f"{facts.text}\nIt was stopped there; the same command goes on."
    print_result({**facts.value, "run": str(brought.folder)}, text, as_json=as_json)
