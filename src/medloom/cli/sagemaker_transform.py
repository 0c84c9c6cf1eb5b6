"""``medloom sagemaker transform``."""

from __future__ import annotations

from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medloom.cli.display import progress
from medloom.cli.options import DryRunOption, JsonOption, YesOption
from medloom.cli.output import ExitCode, print_result, say, warn
from medloom.cli.sagemaker_options import (
    BucketOption,
    ImageOption,
    InstanceOption,
    InstancesOption,
    IsolatedOption,
    KmsOption,
    MaxCostOption,
    PrefixOption,
    PriceOption,
    RegionOption,
    RoleOption,
    SecurityGroupOption,
    SubnetOption,
    TagOption,
    agreed,
    model_uri,
    place_for,
    print_calls,
    send_model,
    stamp,
    wanted,
)
from medloom.errors import MedloomError, UserError
from medloom.wording import few

if TYPE_CHECKING:
    from medloom.backends.sagemaker import Account, Place, Transform

__all__ = ["command"]


def command(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE|RUN", help="Bundle, run that has one, or s3://BUCKET/model.tar.gz.")
    ],
    images: Annotated[Path, typer.Argument(metavar="PATH", help="Folder or zip with the images.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the answers.")],
    image: ImageOption,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="What the batch is called.")] = None,
    skip: Annotated[
        list[str] | None, typer.Option("--skip", metavar="GLOB", help="Names to leave out [default: *_mask.*].")
    ] = None,
    accept: Annotated[
        str, typer.Option("--accept", metavar="TYPE", help="What answers are, such as image/png.")
    ] = "application/json",
    instance: InstanceOption = "ml.m5.xlarge",
    instances: InstancesOption = 1,
    at_a_time: Annotated[int, typer.Option("--at-a-time", min=1, help="Requests at a time for one machine.")] = 2,
    payload: Annotated[int, typer.Option("--payload", metavar="MB", min=1, help="Largest image.")] = 32,
    max_time: Annotated[str, typer.Option("--max-time", metavar="TIME", help="It is stopped after that.")] = "2h",
    region: RegionOption = None,
    bucket: BucketOption = None,
    role: RoleOption = None,
    prefix: PrefixOption = "medloom",
    kms_key: KmsOption = None,
    subnet: SubnetOption = None,
    security_group: SecurityGroupOption = None,
    isolated: IsolatedOption = False,
    tag: TagOption = None,
    price: PriceOption = None,
    max_cost: MaxCostOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Predict a folder of images in a job there, and bring the answers back, one file an image.

    What is no image is set aside here, for SageMaker ends a job at the first image that the container refuses; the exit
    code is then 3. SageMaker knows no longest time for such a job: it is stopped from here, while this command waits.
    """
    from medloom.backends.sagemaker import Transform, check, estimate, transform_calls
    from medloom.backends.sagemaker.upload import INPUTS, data_uri
    from medloom.pipeline import read_budget

    if not images.exists():
        raise UserError(f"{images}: there is no such folder or zip")
    asked = wanted(region, bucket, role, prefix, kms_key, subnet, security_group, tag, isolated=isolated)
    account, place = place_for(asked, dry_run=dry_run)
    model = model_uri(bundle, name, place)
    mark = "" if dry_run else stamp()
    transform = Transform(
        model.name, image, model.uri, data_uri(place, images, INPUTS), place.batch_uri(model.name, mark), accept=accept,
        instance=instance, count=instances, at_a_time=at_a_time, payload_mb=payload, stamp=mark,
    )  # fmt: skip
    calls = [check(call) for call in transform_calls(transform, place)]
    seconds = read_budget(max_time, "--max-time")
    cost = estimate(instance, instances, seconds, place.region, price)
    question = f"Predict {images} in {place.region}?"
    if not agreed(cost, max_cost, yes=yes, dry_run=dry_run, question=question):
        return
    if account is None:
        print_calls(calls, {"images": transform.source})
        return
    names, refused = _sent(account, place, images, skip if skip is not None else ["*_mask.*"])
    send_model(account, place, model)
    _done(account, transform, place, seconds)
    _report(account, transform, names, refused, output, as_json=as_json)


def _sent(account: Account, place: Place, images: Path, skip: list[str]) -> tuple[list[str], dict[str, str]]:
    """Look at the images and send those that are some."""
    from medloom.backends.sagemaker.transforms import sound_images
    from medloom.backends.sagemaker.upload import INPUTS, upload_images

    with progress("look") as update:
        names, refused = sound_images(images, lambda name: any(fnmatchcase(name, one) for one in skip), update)
    if not names:
        raise UserError(f"{images} holds no image that can be predicted")
    with progress("send") as update:
        sent = upload_images(account, place, images, update, names, INPUTS)
    say(f"images: {sent.files:,}; {sent.sent:,} sent")
    return names, refused


def _done(account: Account, transform: Transform, place: Place, seconds: float) -> None:
    """Let the job run to its end; what takes too long is stopped, and its model goes."""
    from medloom.backends.sagemaker import Call
    from medloom.backends.sagemaker.jobs import stop_job
    from medloom.backends.sagemaker.transforms import begin_transform
    from medloom.cli.sagemaker_following import followed

    begin_transform(account, transform, place)
    say(f"begun: {transform.job} in {place.region}")
    try:
        found = followed(account, transform.job, "transform", timeout_s=seconds)
    except BaseException:  # nobody looks at it any more
        with suppress(MedloomError):
            stop_job(account, transform.job, "transform")
        raise
    finally:
        with suppress(MedloomError):  # what went wrong before is what the user is told
            account.send(Call("sagemaker", "DeleteModel", {"ModelName": transform.job}), "its model cannot be deleted")
    if found.value["state"] in ("running", "waiting"):
        stop_job(account, transform.job, "transform")
        raise UserError(f"the batch took longer than --max-time and was stopped: {transform.job}; give it more")


def _report(
    account: Account, transform: Transform, names: list[str], refused: dict[str, str], output: Path, *, as_json: bool
) -> None:
    from medloom.backends.sagemaker.transforms import fetch_answers

    with progress("fetch") as update:
        found = fetch_answers(account, transform, names, output, update)
    without = {**refused, **found.refused}
    for line in few([f"{name}: {reason}" for name, reason in without.items()]):
        warn(line)
    value = {"job": transform.job, "answered": found.answered, "set_aside": without, "output": str(output)}
    text = f"{found.answered:,} of {len(names) + len(refused):,} images have an answer: {output}"
    print_result(value, text, as_json=as_json)
    if without:
        raise typer.Exit(ExitCode.SET_ASIDE)
