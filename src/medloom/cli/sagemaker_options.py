"""Options and steps that the commands ``medloom sagemaker`` share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medloom.cli.output import confirmed, say, warn
from medloom.errors import UserError

if TYPE_CHECKING:
    from medloom.backends.sagemaker import Account, Call, Estimate, Place, Wanted
    from medloom.recipe import Recipe

__all__ = [
    "BucketOption",
    "EnvironmentOption",
    "ImageOption",
    "InstanceOption",
    "InstancesOption",
    "IsolatedOption",
    "KmsOption",
    "KnownJob",
    "MachinesOption",
    "MaxCostOption",
    "Model",
    "PrefixOption",
    "PriceOption",
    "RegionOption",
    "RoleOption",
    "SecurityGroupOption",
    "SubnetOption",
    "TagOption",
    "agreed",
    "bundle_name",
    "check_machines",
    "environment",
    "known_job",
    "model_uri",
    "place_for",
    "print_calls",
    "send_model",
    "stamp",
    "wanted",
]

RegionOption = Annotated[
    str | None, typer.Option("--region", metavar="NAME", help="Region of AWS [default: AWS_DEFAULT_REGION].")
]
BucketOption = Annotated[
    str | None, typer.Option("--bucket", metavar="NAME", help="Bucket for images and runs, in the same region.")
]
PrefixOption = Annotated[
    str, typer.Option("--prefix", metavar="KEY", help="Everything of ours in the bucket lies below it.")
]
RoleOption = Annotated[
    str | None,
    typer.Option("--role", metavar="ARN|NAME", help="Role that SageMaker takes on [default: MEDLOOM_SAGEMAKER_ROLE]."),
]
KmsOption = Annotated[str | None, typer.Option("--kms-key", metavar="ARN", help="Key of KMS for objects and volumes.")]
SubnetOption = Annotated[
    list[str] | None, typer.Option("--subnet", metavar="ID", help="Subnet of a VPC; may be given several times.")
]
SecurityGroupOption = Annotated[
    list[str] | None, typer.Option("--security-group", metavar="ID", help="Security group; may be given several times.")
]
IsolatedOption = Annotated[
    bool, typer.Option("--isolated", help="Give containers no network at all; files still come and go.")
]
TagOption = Annotated[
    list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="Tag beside ours, such as a cost centre.")
]
EnvironmentOption = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="NAME=VALUE", help="Variable of the container, such as MLFLOW_TRACKING_URI."),
]
ImageOption = Annotated[
    str, typer.Option("--image", envvar="MEDLOOM_IMAGE", metavar="URI", help="Container image in ECR.")
]
InstanceOption = Annotated[str, typer.Option("--instance", metavar="TYPE", help="What it runs on.")]
MachinesOption = Annotated[
    int, typer.Option("--machines", metavar="N", min=1, help="So many of them share each batch of one training.")
]
InstancesOption = Annotated[int, typer.Option("--instances", min=1, help="How many of them.")]
PriceOption = Annotated[
    float | None, typer.Option("--price", metavar="USD", min=0, help="What an hour of one instance costs you.")
]
MaxCostOption = Annotated[
    float | None, typer.Option("--max-cost", metavar="USD", min=0, help="Refuse what may cost more than that.")
]

_SECRETS = ("KEY", "TOKEN", "SECRET", "PASSWORD")


def wanted(
    region: str | None,
    bucket: str | None,
    role: str | None,
    prefix: str,
    kms_key: str | None = None,
    subnets: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
    *,
    isolated: bool = False,
) -> Wanted:
    """Return what the options say of the place.

    Raises:
        UserError: If two of them do not go together, or one is no tag.
    """
    from medloom.backends.sagemaker import Wanted

    if bool(subnets) != bool(groups):
        raise UserError("--subnet and --security-group belong together: name both, or neither")
    more = {
        "prefix": prefix.strip("/"),
        "kms_key": kms_key,
        "subnets": tuple(subnets or ()),
        "security_groups": tuple(groups or ()),
        "isolated": isolated,
        "tags": _pairs("--tag", tags or (), "cost-centre=radiology"),
    }
    return Wanted(region, bucket, role, more)


def environment(texts: Sequence[str] | None) -> Mapping[str, str]:
    """Return the variables that ``--env`` names, and warn of what everyone who sees the job could read.

    Raises:
        UserError: If one is no such pair.
    """
    found = _pairs("--env", texts or (), "MLFLOW_TRACKING_URI=arn:aws:sagemaker:...")
    for name in found:
        if any(word in name.upper() for word in _SECRETS):
            warn(f"--env {name}: whoever may describe the job can read it; a role is safer than a key")
    return found


def _pairs(option: str, texts: Sequence[str], such_as: str) -> Mapping[str, str]:
    pairs = [text.partition("=") for text in texts]
    wrong = [key for key, equals, _ in pairs if not key or not equals]
    if wrong:
        raise UserError(f"{option} {wrong[0]}: expected NAME=VALUE, such as {such_as}")
    return {key: value for key, _, value in pairs}


def place_for(asked: Wanted, *, dry_run: bool) -> tuple[Account | None, Place]:
    """Return the account and the place in it; for requests that are only printed no account, and nobody is asked."""
    from medloom.backends.sagemaker import Account, find_place, place_without_account

    if dry_run:
        return None, place_without_account(asked, say)
    account = Account(asked.region)
    return account, find_place(account, asked, say)


def check_machines(machines: int, recipe: Recipe) -> None:
    """Refuse several machines for what their container would refuse.

    Raises:
        UserError: If the recipe has a network learn from those of its folds.
    """
    if machines > 1 and recipe.package.serve == "distilled":
        raise UserError(
            f"--machines {machines}: with package.serve=distilled one network learns from the others on one machine; "
            "leave out --machines, or choose another package.serve"
        )


def print_calls(calls: Sequence[Call], more: Mapping[str, Any] | None = None) -> None:
    """Print requests as JSON, each checked by AWS's model of it."""
    from medloom.backends.sagemaker import plain_calls

    print(json.dumps({**(more or {}), "calls": plain_calls(calls)}, indent=2), flush=True)


def agreed(cost: Estimate, most: float | None, *, yes: bool, dry_run: bool, question: str) -> bool:
    """Say what something may cost, and ask whether it is to be.

    Args:
        cost: The estimate.
        most: What it may cost at most; None for whatever it costs.
        yes: It was agreed to on the command line.
        dry_run: Whether nothing is sent, so that there is nothing to ask.
        question: What is asked.

    Raises:
        UserError: If it may cost more than it is to, or there is no terminal to ask on.
    """
    say(f"cost: {cost.text}")
    if most is not None and (cost.usd is None or cost.usd > most):
        said = "has no end by itself" if cost.usd is None else f"may cost {cost.usd:.2f} USD"
        raise UserError(f"--max-cost {most:g}: it {said}; take a shorter time or a smaller machine")
    return dry_run or confirmed(question, yes=yes)


def stamp(now: datetime | None = None) -> str:
    """Return the time as it stands in names of jobs, in UTC.

    Example:
        >>> stamp(datetime(2026, 11, 27, 23, 5, tzinfo=UTC))
        '261127-230500'
    """
    return (now or datetime.now(UTC)).strftime("%y%m%d-%H%M%S")


@dataclass(frozen=True)
class KnownJob:
    """The job of a run.

    Args:
        account: The account that it is in.
        name: Its name.
        kind: ``training``, or ``tuning`` of a search.
    """

    account: Account
    name: str
    kind: str

    def training(self) -> str:
        """Return the name of a training.

        Raises:
            UserError: If it is a search, which has several.
        """
        if self.kind != "training":
            raise UserError(f"{self.name} is a search with trainings of its own; medloom sagemaker list names them")
        return self.name


def known_job(run: str, runs: Path, asked: Wanted) -> KnownJob:
    """Return the job of a run or a search: as its folder remembers, else by its tags.

    Args:
        run: Name of a run or of a search, or its folder.
        runs: Folder that holds the runs.
        asked: What the options say; the region of the note is taken where they say none.
    """
    from medloom.backends.sagemaker import Account
    from medloom.backends.sagemaker.jobs import find_job
    from medloom.backends.sagemaker.note import Note
    from medloom.pipeline.names import run_folder

    note = Note.read(run_folder(run, runs))
    account = Account(asked.region or (note.region if note else None))
    return KnownJob(account, *((note.job, note.kind) if note else find_job(account, Path(run).name)))


@dataclass(frozen=True)
class Model:
    """A bundle that is to answer there.

    Args:
        name: What people call it.
        uri: Where it is, or will be.
        file: Where it is here; None if it is there already.
    """

    name: str
    uri: str
    file: Path | None = None


def model_uri(given: str, name: str | None, place: Place) -> Model:
    """Return the bundle that is meant, and where it goes.

    Args:
        given: A bundle, a run that has one, or the URI of a bundle.
        name: What it is called; by default as its run, else as its file.
        place: Where it goes.

    Raises:
        UserError: If there is none.
    """
    from medloom.backends.sagemaker.endpoints import bundle_uri
    from medloom.pipeline.runs import bundle_of

    if given.startswith("s3://"):
        return Model(name or Path(given).parent.name, given)
    file = bundle_of(Path(given))
    if not file.is_file():
        raise UserError(f"{given}: expected a bundle, model.tar.gz, or a run that has one")
    named = name or bundle_name(file)
    return Model(named, bundle_uri(place, file, named), file)


def bundle_name(file: Path) -> str:
    """Return what people call a bundle: as its run, else as its file."""
    return file.absolute().parent.name if file.name == "model.tar.gz" else file.name.partition(".")[0]


def send_model(account: Account, place: Place, model: Model) -> None:
    """Bring a bundle into the bucket, unless it is there."""
    from medloom.backends.sagemaker.endpoints import send_bundle

    if model.file is not None:
        sent = send_bundle(account, place, model.file, model.uri)
        say(f"bundle: {model.uri}{'' if sent else ', which was there already'}")
