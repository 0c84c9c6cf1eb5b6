"""``medloom sagemaker transform``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    from medloom.backends.sagemaker.transforms import Answers
    from medloom.serving.batch.folder import Manifest

__all__ = ["command"]


def command(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE|RUN", help="Bundle, run that has one, or s3://BUCKET/model.tar.gz.")
    ],
    images: Annotated[
        str, typer.Argument(metavar="PATH|URI", help="Folder or zip with images, or s3://BUCKET/FOLDER/.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the answers.")],
    image: ImageOption,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="What the batch is called.")] = None,
    skip: Annotated[
        list[str] | None, typer.Option("--skip", metavar="GLOB", help="Names to leave out [default: *_mask.*].")
    ] = None,
    accept: Annotated[
        str | None,
        typer.Option("--accept", metavar="TYPE", help="Keep the answers as they come, such as image/png."),
    ] = None,
    parquet: Annotated[bool, typer.Option("--parquet", help="Write the table as Parquet, too.")] = False,
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
    """Predict a folder of images in a job there, and write what medloom batch writes.

    Writes masks/ and overlays/ of a bundle for segmentation, predictions.csv and batch.json; with --accept one file an
    image as the container answers it. Images of a bucket are predicted where they lie; all below the place are sent.

    A bad image is answered with the reason and the rest go on; the exit code is then 3. SageMaker knows no longest time
    for such a job: it is stopped from here, while this command waits.
    """
    from medloom.backends.sagemaker import Transform, check, estimate, transform_calls
    from medloom.backends.sagemaker.transforms import FILES
    from medloom.pipeline import read_budget

    asked = wanted(region, bucket, role, prefix, kms_key, subnet, security_group, tag, isolated=isolated)
    given = _Images(images, skip)
    account, place = place_for(asked, dry_run=dry_run)
    model = model_uri(bundle, name, place)
    mark = "" if dry_run else stamp()
    transform = Transform(
        model.name, image, model.uri, given.uri(place), place.batch_uri(model.name, mark), accept=accept or FILES,
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
    with _folder(output, transform, keep=accept is not None) as manifest:
        names = given.sent(account, place)
        send_model(account, place, model)
        _done(account, transform, place, seconds)
        found = _fetched(account, transform, names, output, manifest, parquet=parquet)
    _report(found, transform, output, as_json=as_json)


class _Images:
    """What is predicted: files here, which are sent, or objects that are there.

    Args:
        given: Path or URI.
        skip: Names that are left out.

    Raises:
        UserError: If there is no such folder or zip, or names of a bucket are to be left out.
    """

    def __init__(self, given: str, skip: list[str] | None) -> None:
        self._given, self._there = given, given.startswith("s3://")
        self._skip = skip if skip is not None else ["*_mask.*"]
        if self._there and skip is not None:
            raise UserError("--skip: SageMaker takes all that lies below a place in a bucket; leave it out")
        if not self._there and not Path(given).exists():
            raise UserError(f"{given}: there is no such folder or zip")

    def uri(self, place: Place) -> str:
        """Where the images are, or will be."""
        from medloom.backends.sagemaker.upload import INPUTS, data_uri

        return self._given.rstrip("/") if self._there else data_uri(place, Path(self._given), INPUTS)

    def sent(self, account: Account, place: Place) -> list[str]:
        """Send those that are not there yet, and return the names of all."""
        from medloom.backends.sagemaker.transforms import names_there
        from medloom.backends.sagemaker.upload import INPUTS, upload_images
        from medloom.data import open_source

        if self._there:
            return names_there(account, self._given)
        images = Path(self._given)
        with open_source(images) as source:
            names = [name for name in source.names() if not any(fnmatchcase(name, one) for one in self._skip)]
        if not names:
            raise UserError(f"{images} holds no image that can be predicted")
        with progress("send") as update:
            sent = upload_images(account, place, images, update, names, INPUTS)
        say(f"images: {sent.files:,}; {sent.sent:,} sent")
        return names


@contextmanager
def _folder(output: Path, transform: Transform, *, keep: bool) -> Iterator[Manifest | None]:
    """Open the folder before anything costs money, as that of a batch unless answers are kept as they come."""
    if keep:
        yield None
        return
    from medloom import __version__
    from medloom.serving.batch.folder import opened_folder

    of = {"sagemaker": transform.name, "bundle": transform.model, "images": transform.source, "medloom": __version__}
    with opened_folder(output, of, overwrite=False) as manifest:
        yield manifest


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


def _fetched(
    account: Account,
    transform: Transform,
    names: list[str],
    output: Path,
    manifest: Manifest | None,
    *,
    parquet: bool,
) -> Answers:
    """Bring the answers here, and write down what became of the batch."""
    from medloom.backends.sagemaker.transforms import fetch_answers, fetch_files

    with progress("fetch") as update:
        if manifest is None:
            return fetch_answers(account, transform, names, output, update)
        begun = time.monotonic()
        found = fetch_files(account, transform, names, output, update, parquet=parquet)
    manifest.result, manifest.finished = {**found.result, "job": transform.job}, True
    manifest.ended(time.monotonic() - begun)
    manifest.write(output)
    return found


def _report(found: Answers, transform: Transform, output: Path, *, as_json: bool) -> None:
    result = found.result
    for text in result.get("warnings", ()):
        warn(text)
    for line in few([f"{name}: {reason}" for name, reason in found.refused.items()]):
        warn(line)
    if found.refused:
        codes = ", ".join(f"{count:,} {code}" for code, count in result["codes"].items())
        warn(f"{len(found.refused):,} have no prediction: {codes}")
    value = {
        **result,
        "job": transform.job,
        "answered": found.answered,
        "set_aside": dict(found.refused),
        "phantom": found.phantom,
        "output": str(output),
    }
    text = f"{found.answered:,} of {result['inputs']:,} images have an answer{result.get('text', '')}: {output}"
    if found.phantom:
        text += "\nThe model learned from phantoms: these predictions mean nothing for people."
    print_result(value, text, as_json=as_json)
    if found.refused:
        raise typer.Exit(ExitCode.SET_ASIDE)
