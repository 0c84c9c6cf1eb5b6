"""``medloom sagemaker batch``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medloom.cli.backend_option import given_options
from medloom.cli.display import progress
from medloom.cli.optional_values import with_values
from medloom.cli.options import DryRunOption, JsonOption, YesOption
from medloom.cli.output import ExitCode, say
from medloom.cli.sagemaker_options import (
    BucketOption,
    EnvironmentOption,
    ImageOption,
    InstanceOption,
    IsolatedOption,
    KmsOption,
    MaxCostOption,
    Model,
    PrefixOption,
    PriceOption,
    RegionOption,
    RoleOption,
    SecurityGroupOption,
    SubnetOption,
    TagOption,
    agreed,
    environment,
    model_uri,
    place_for,
    print_calls,
    send_model,
    stamp,
    wanted,
)
from medloom.errors import MedloomError, ServerError, UserError
from medloom.signals import Terminated

if TYPE_CHECKING:
    from medloom.backends.sagemaker import Account, Call, Place

__all__ = ["BEHIND", "command"]

BEHIND = (
    "--skip", "--page", "--series", "--uncertainty", "--form", "--batch-size", "--workers", "--runtime", "--threads",
    "--provider", "--overlays", "--parquet", "--overwrite", "--strict",
)  # fmt: skip
"""Options of ``medloom batch`` that mean the same there: none of them names a file of this machine."""


def command(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE|RUN", help="Bundle, or run that has one.")],
    inputs: Annotated[str, typer.Argument(metavar="PATH", help="Folder or zip of images, or s3://BUCKET/FOLDER.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to bring the answers to.")],
    image: ImageOption,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[-- OPTIONS]", help="Options of medloom batch, behind --.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the batch [default: of bundle and images].")
    ] = None,
    instance: InstanceOption = "ml.m5.xlarge",
    max_time: Annotated[
        str, typer.Option("--max-time", metavar="TIME", help="It is stopped after that; what is done is kept.")
    ] = "4h",
    spot: Annotated[bool, typer.Option("--spot", help="Take capacity that AWS may take back.")] = False,
    volume: Annotated[int, typer.Option("--volume", metavar="GB", min=1, help="Disk for images and answers.")] = 50,
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
    """Predict any number of files there with medloom batch, and bring its folder back.

    One job reads all images, a bad one is recorded and the rest go on, and what comes back is what medloom batch
    writes here: predictions.csv, masks, overlays; the exit code is 3 if some have no prediction. Its options follow
    behind --, such as: -- --uncertainty entropy --parquet. The image is the training or the serving image.

    The same command goes on with a batch that was stopped, and follows one that is under way.
    """
    from medloom.backends.sagemaker import Training, check, estimate, job_call
    from medloom.backends.sagemaker.batches import batch_job
    from medloom.pipeline import read_budget

    options = _checked(more or ())
    asked = wanted(region, bucket, role, prefix, kms_key, subnet, security_group, tag, isolated=isolated)
    account, place = place_for(asked, dry_run=dry_run)
    model, source = _bundle(bundle, place), _source(inputs)
    called = name or f"{model.name}-on-{Path(inputs.rstrip('/')).stem}"
    _refuse_other(output, called)
    like = Training(
        called, image, {}, {}, instance, 1, int(read_budget(max_time, "--max-time")), volume, spot,
        environment=environment(env),
    )  # fmt: skip
    job = batch_job(called, model.uri, _channel(source, place), place, options)
    call = check(job_call(job, like, place, "" if dry_run else stamp()))
    cost = estimate(instance, 1, like.max_s, place.region, price)
    begun = None if account is None else _goes_on(account, called)
    question = f"Predict {inputs} in {place.region}?"
    if begun is None and not agreed(cost, max_cost, yes=yes, dry_run=dry_run, question=question):
        return
    if account is None:
        print_calls([call], {"bundle": model.uri, "images": _channel(source, place)})
        return
    if begun is None:
        _send(account, place, model, source)
        begun = _begin(account, place, call, called, output)
    _end(account, place, called, begun, model, output, as_json=as_json)


def _checked(options: Sequence[str]) -> list[str]:
    """Options of ``medloom batch``, as it takes them: a typing error is said before anything is sent."""
    from medloom.cli.main import command_of

    words = with_values(["batch", *options])[1:]
    with command_of("batch").make_context("medloom batch", ["BUNDLE", "PATH", "--output=DIR", *words]) as context:
        given = [one for one in given_options(context) if one != "--output"]
        several = len(context.params["inputs"]) > 1
    wrong = [one for one in given if one not in BEHIND]
    if wrong or several:
        raise UserError(
            f"{wrong[0] if wrong else 'several PATHs'}: not of a batch there; behind -- it takes {', '.join(BEHIND)}"
        )
    return words


def _bundle(given: str, place: Place) -> Model:
    if given.startswith("s3://"):
        raise UserError(f"{given}: expected a bundle or run on this machine; medloom sagemaker pull brings a run")
    return model_uri(given, None, place)


def _source(inputs: str) -> Path | str:
    path = Path(inputs).expanduser()
    if not inputs.startswith("s3://") and not path.is_dir() and path.suffix.lower() != ".zip":
        raise UserError(f"{inputs}: expected one folder or zip of images, or s3://BUCKET/FOLDER")
    if not inputs.startswith("s3://") and not path.exists():
        raise UserError(f"{inputs}: there is no such folder or zip")
    return inputs if inputs.startswith("s3://") else path


def _channel(source: Path | str, place: Place) -> str:
    from medloom.backends.sagemaker.upload import INPUTS, data_uri

    return source if isinstance(source, str) else data_uri(place, source, INPUTS)


def _refuse_other(output: Path, name: str) -> None:
    """Refuse a folder in which something else is: files of two batches would lie beside each other."""
    from medloom.backends.sagemaker.note import Note

    if output.exists() and not output.is_dir():
        raise UserError(f"-o {output} is a file; expected a folder, or one that is not there yet")
    note = Note.read(output)
    if output.is_dir() and any(output.iterdir()) and (note is None or note.run != name):
        holds = "something else" if note is None else f"the batch {note.run}"
        raise UserError(f"-o {output} holds {holds}, and not the batch {name} from there; name another folder")


def _goes_on(account: Account, name: str) -> str | None:
    from medloom.backends.sagemaker.inventory import running_training

    job = running_training(account, name)
    if job is not None:
        say(f"{name} is under way there already; this follows it")
    return job


def _send(account: Account, place: Place, model: Model, source: Path | str) -> None:
    from medloom.backends.sagemaker.upload import INPUTS, upload_images

    if isinstance(source, Path):
        with progress("send") as update:
            sent = upload_images(account, place, source, update, below=INPUTS)
        say(f"images: {sent.files:,}; {sent.sent:,} sent")
    send_model(account, place, model)


def _begin(account: Account, place: Place, call: Call, name: str, output: Path) -> str:
    from medloom.backends.sagemaker.note import Note

    account.send(call, "the batch cannot begin")
    job, now = str(call.parameters["TrainingJobName"]), datetime.now(UTC).isoformat(timespec="seconds")
    Note(job, place.region, place.bucket, place.prefix, name, now).save(output)
    say(f"begun: {job} in {place.region}")
    return job


def _end(account: Account, place: Place, name: str, job: str, model: Model, output: Path, *, as_json: bool) -> None:
    """Follow the batch to its end, bring its folder back, and say what medloom batch says of it."""
    from medloom.backends.sagemaker.batches import batch_uri
    from medloom.backends.sagemaker.pull import pull_folder
    from medloom.cli.batch import report
    from medloom.cli.sagemaker_following import followed
    from medloom.files import read_json
    from medloom.packaging import read_bundle
    from medloom.serving.batch import Outcome

    try:
        followed(account, job, done=(ExitCode.DONE, ExitCode.SET_ASIDE))
    except (KeyboardInterrupt, Terminated, ServerError):
        say(f"{job} goes on there and costs money; to stop it: medloom sagemaker status {output}/ --stop")
        raise
    with progress("fetch") as update:
        pull_folder(account, batch_uri(place, name), output, update)
    found = read_json(output / "batch.json")
    if not found["finished"]:
        raise MedloomError(
            f"{job} was stopped there before all was done; the same command goes on, --max-time bounds it"
        )
    with read_bundle(model.file or Path()) as opened:
        phantom = opened.manifest.phantom
    result = found["result"]
    made = Outcome(result, True, result["inputs"], result["inputs"], found["times"]["seconds"])
    report(made, output, None, phantom=phantom, as_json=as_json)
