"""``medloom lambda deploy``."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medloom.cli.lambda_package import ArchitectureOption, RuntimeOption
from medloom.cli.options import DryRunOption, JsonOption, YesOption
from medloom.cli.output import print_result, say
from medloom.cli.sagemaker_options import (
    BucketOption,
    KmsOption,
    PrefixOption,
    RegionOption,
    TagOption,
    agreed,
    bundle_name,
    stamp,
    wanted,
)
from medloom.errors import UserError

if TYPE_CHECKING:
    from medloom.backends.lambda_ import Function
    from medloom.backends.lambda_.stacks import Stack
    from medloom.backends.sagemaker import Account, Estimate, Place, Wanted

__all__ = ["command"]


def command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE|RUN", help="Bundle, or a run that has one.")],
    image: Annotated[
        str | None, typer.Option("--image", metavar="URI", help="Image in ECR with the bundle; default: a zip is made.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Of the function; default: the run's or bundle's.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--input", metavar="s3://BUCKET/PREFIX/", help="Predict each new object there.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--output", metavar="s3://BUCKET/PREFIX/", help="With --input: where answers go.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="With --input: most objects of one call.")] = 5,
    api: Annotated[bool, typer.Option("--api", help="Also an HTTP API of API Gateway; like the URL for IAM.")] = False,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="ARN", help="Of another account, may call the URL; several times."),
    ] = None,
    runtime: RuntimeOption = "python3.13",
    architecture: ArchitectureOption = "x86_64",
    memory: Annotated[int, typer.Option("--memory", metavar="MB", help="Memory; a processor for each 1769.")] = 3008,
    timeout: Annotated[int, typer.Option("--timeout", metavar="SECONDS", help="Longest time of a call.")] = 60,
    storage: Annotated[int, typer.Option("--storage", metavar="MB", help="Room in /tmp.")] = 512,
    reserved_concurrency: Annotated[
        int, typer.Option("--reserved-concurrency", metavar="N", help="Most calls at a time; 0 sets no limit.")
    ] = 10,
    log_days: Annotated[int, typer.Option("--log-days", help="How long lines are kept.")] = 30,
    region: RegionOption = None,
    bucket: BucketOption = None,
    prefix: PrefixOption = "medloom",
    kms_key: KmsOption = None,
    tag: TagOption = None,
    price: Annotated[
        float | None, typer.Option("--price", metavar="USD", min=0, help="What a GB for a second costs you.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0, help="Of an image, for the estimate of costs.")] = 1.0,
    max_cost: Annotated[
        float | None, typer.Option("--max-cost", metavar="USD", min=0, help="Refuse what may cost more in an hour.")
    ] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put a bundle into a function of Lambda, or give a function another one, as a stack of CloudFormation.

    The stack has the function, its role, its logs and its URL, which answers those whom IAM allows. With --input a
    queue brings it each new object of a bucket. --dry-run prints the template; CloudFormation takes it as it is.
    """
    from medloom.backends.lambda_ import Code, Function, Watched, estimate
    from medloom.pipeline import bundle_of

    if (source is None) != (target is None):
        raise UserError("--input and --output belong together: name both, or neither")
    file = bundle_of(bundle)
    if not file.is_file():
        raise UserError(f"{bundle}: expected a bundle, model.tar.gz, or a run that has one")
    watched = None if source is None or target is None else Watched(source, target, batch_size)
    asked = wanted(region, bucket, None, prefix, kms_key, tags=tag)
    function = Function(
        name or bundle_name(file), Code(image, None, None, runtime, architecture), memory, timeout, storage,
        reserved_concurrency, log_days, kms_key, watched, api, tuple(allow or ()), asked.more["tags"],
    )  # fmt: skip
    account, place = _place(asked, needs_bucket=image is None, dry_run=dry_run)
    cost = estimate(function, place.region, seconds, price)
    _check_cost(cost, function, max_cost)
    if account is None:
        say(f"cost: {cost.text}")
        _print_template(function)
        return
    _check_buckets(account, place, function)
    also = _events_to_turn_on(account, function)
    if not agreed(cost, None, yes=yes, dry_run=False, question=f"Deploy {function.name} in {place.region}{also}?"):
        return
    found = _deploy(account, place, function, file)
    print_result(found.plain(), _said(found, account.region), as_json=as_json)


def _place(asked: Wanted, *, needs_bucket: bool, dry_run: bool) -> tuple[Account | None, Place]:
    """The account and the place in it; for a template that is only printed no account, and nobody is asked."""
    from medloom.backends.sagemaker import Account, Place
    from medloom.backends.sagemaker.account import default_bucket, place_without_account

    if dry_run:
        return None, place_without_account(asked, lambda _: None)
    account = Account(asked.region)
    bucket = asked.bucket or ""
    if needs_bucket and not bucket:
        bucket = default_bucket(account.region, account.number())
        say(f"bucket: {bucket}, the usual one of this region; --bucket names another")
    return account, Place(account.region, bucket, "", **asked.more)


def _check_cost(cost: Estimate, function: Function, most: float | None) -> None:
    """Refuse what may cost more in an hour than it is to."""
    if most is None:
        return
    if not function.at_a_time:
        raise UserError("--max-cost needs a limit of calls at a time: --reserved-concurrency above 0")
    if cost.hourly_usd > most:
        raise UserError(
            f"--max-cost {most:g}: it may cost {cost.hourly_usd:.2f} USD an hour; take less --memory, or a smaller "
            "--reserved-concurrency"
        )


def _check_buckets(account: Account, place: Place, function: Function) -> None:
    from medloom.backends.lambda_.sending import check_bucket

    if function.code.image is None:
        check_bucket(account, place.bucket, "--bucket")
    if function.watched is not None:
        check_bucket(account, function.watched.input[0], "--input")


def _events_to_turn_on(account: Account, function: Function) -> str:
    """What is asked along with the question whether to deploy."""
    from medloom.backends.lambda_.sending import tells_of_objects

    if function.watched is None or tells_of_objects(account, bucket := function.watched.input[0]):
        return ""
    return f", and let the bucket {bucket} send its events to EventBridge"


def _print_template(function: Function) -> None:
    from medloom.backends.lambda_ import template
    from medloom.backends.lambda_.stacks import change_call
    from medloom.backends.sagemaker import check

    check(change_call(function, "dry-run", update=False))
    if function.code.image is None:
        say("the zip is the one of medloom lambda package; put it into a bucket, and name it by CodeBucket and CodeKey")
    if function.watched is not None:
        say(f"the bucket {function.watched.input[0]} has to send its events to EventBridge, which deploy turns on")
    print(json.dumps(template(function), indent=2), flush=True)


def _deploy(account: Account, place: Place, function: Function, file: Path) -> Stack:
    """Make and send the zip, turn on the events of the bucket, and make or change the stack."""
    from medloom.backends.lambda_.sending import tells_of_objects, turn_on_events
    from medloom.backends.lambda_.stacks import deploy_stack

    if function.code.image is None:
        key = _sent(account, place, function, file)
        function = replace(function, code=replace(function.code, bucket=place.bucket, key=key))
    found = deploy_stack(account, function, stamp(), told=say)
    if function.watched is not None and not tells_of_objects(account, bucket := function.watched.input[0]):
        turn_on_events(account, bucket)
        say(f"the bucket {bucket} sends its events to EventBridge now")
    return found


def _sent(account: Account, place: Place, function: Function, file: Path) -> str:
    """Make the zip and bring it into the bucket; return its key."""
    from medloom.backends.lambda_.sending import send_zip
    from medloom.packaging.functions.zipped import FunctionPlan, write_function

    code = function.code
    with tempfile.TemporaryDirectory(prefix="medloom-function-") as folder:
        made = write_function(FunctionPlan(file, code.runtime, code.architecture), Path(folder) / "function.zip")
        key, sent = send_zip(account, place, made.path, function.name)
    say(f"zip: s3://{place.bucket}/{key}{'' if sent else ', which was there already'}")
    return key


def _said(found: Stack, region: str) -> str:
    url = found.outputs.get("FunctionUrl", "")
    lines = [f"{found.outputs.get('FunctionName', found.name)} {'is there' if found.changed else 'is as it was'}."]
    lines += [f"{name}: {value}" for name, value in found.outputs.items() if name != "FunctionName"]
    asked = f"{url.rstrip('/')}/invocations"
    user = '"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" -H "x-amz-security-token: $AWS_SESSION_TOKEN"'
    lines += ["Next:", f"  curl --aws-sigv4 aws:amz:{region}:lambda --user {user} \\"]
    lines += [f"    -H 'Content-Type: image/tiff' --data-binary @IMAGE.tif {asked}"]
    return "\n".join(lines)
