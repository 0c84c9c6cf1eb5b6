"""``medloom sagemaker deploy``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from medloom.cli.options import DryRunOption, JsonOption, YesOption
from medloom.cli.output import print_result, say
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
from medloom.errors import UserError

if TYPE_CHECKING:
    from medloom.backends.sagemaker import Deployment, Estimate, Place
    from medloom.backends.sagemaker.endpoints import Ending
    from medloom.backends.sagemaker.hosting import EndpointKind

__all__ = ["command"]

_KINDS = ("real-time", "serverless", "async")


def command(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE|RUN", help="Bundle, run that has one, or s3://BUCKET/model.tar.gz.")
    ],
    image: ImageOption,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the endpoint; default: the run's or bundle's.")
    ] = None,
    kind: Annotated[
        str, typer.Option("--kind", metavar="|".join(_KINDS), help="Always on, on while asked, or in a queue.")
    ] = "real-time",
    ends: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="It deletes itself after that, such as 2h.")
    ] = None,
    scheduler_role: Annotated[
        str | None, typer.Option("--scheduler-role", metavar="ARN", help="With --for: role of EventBridge Scheduler.")
    ] = None,
    instance: InstanceOption = "ml.m5.xlarge",
    instances: InstancesOption = 1,
    most: Annotated[
        int | None, typer.Option("--most", min=1, help="So many machines where there is much to do.")
    ] = None,
    per_minute: Annotated[int, typer.Option("--per-minute", min=1, help="With --most: requests a minute of one.")] = 60,
    memory: Annotated[int, typer.Option("--memory", metavar="MB", help="Of a serverless endpoint.")] = 4096,
    concurrency: Annotated[
        int, typer.Option("--concurrency", help="Of a serverless endpoint: requests at a time.")
    ] = 5,
    capture: Annotated[
        int, typer.Option("--capture", metavar="PERCENT", min=0, max=100, help="Keep so many requests, images too.")
    ] = 0,
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
    """Put a bundle behind an endpoint, or give an endpoint another model; waits until it answers.

    An endpoint that is always on costs money until it is deleted: --for 2h lets it delete itself, in the account and
    not on this laptop.
    """
    from medloom.backends.sagemaker import Deployment
    from medloom.backends.sagemaker.endpoints import deploy, endpoint_state, planned_calls

    if kind not in _KINDS:
        raise UserError(f"--kind {kind}: expected one of {', '.join(_KINDS)}")
    asked = wanted(region, bucket, role, prefix, kms_key, subnet, security_group, tag, isolated=isolated)
    account, place = place_for(asked, dry_run=dry_run)
    model = model_uri(bundle, name, place)
    deployment = Deployment(
        model.name, image, model.uri, cast("EndpointKind", kind), instance, instances, most, per_minute, memory,
        concurrency, capture, stamp="" if dry_run else stamp(),
    )  # fmt: skip
    seconds, ending = _ending(ends, scheduler_role)
    cost = _cost(deployment, place, seconds, price)
    if cost is not None and not agreed(
        cost, max_cost, yes=yes, dry_run=dry_run, question=f"Deploy {model.name} in {place.region}?"
    ):
        return
    if account is None:
        print_calls(planned_calls(deployment, place, ending))
        return
    planned_calls(deployment, place, ending, update=endpoint_state(account, model.name) is not None)
    send_model(account, place, model)
    found = deploy(account, deployment, place, ending, told=say)
    _say_deployed(deployment, found, ending, as_json=as_json)


def _ending(ends: str | None, role: str | None) -> tuple[float | None, Ending | None]:
    """When it is deleted: in so many seconds, and as a time."""
    from medloom.backends.sagemaker.endpoints import Ending
    from medloom.pipeline import read_budget

    if ends is None:
        return None, None
    if role is None:
        raise UserError(
            "--for needs --scheduler-role ARN, a role that EventBridge Scheduler takes on to delete the endpoint; "
            "medloom sagemaker policy scheduler prints what it may do, with --trust who may take it on"
        )
    seconds = read_budget(ends, "--for")
    return seconds, Ending(datetime.now(UTC) + timedelta(seconds=seconds), role)


def _cost(deployment: Deployment, place: Place, seconds: float | None, price: float | None) -> Estimate | None:
    """What it costs at most; a serverless endpoint costs what is asked of it, and no price of that is known here."""
    from medloom.backends.sagemaker import estimate

    if deployment.kind == "serverless":
        say("cost: a serverless endpoint bills by the time and memory of each request, and nothing while nobody asks")
        return None
    return estimate(deployment.instance, deployment.most or deployment.count, seconds, place.region, price)


def _say_deployed(deployment: Deployment, found: dict[str, Any], ending: Ending | None, *, as_json: bool) -> None:
    endpoint = found["EndpointName"]
    until = None if ending is None else ending.at.isoformat(timespec="minutes")
    value = {"endpoint": endpoint, "name": deployment.name, "state": found["EndpointStatus"], "until": until}
    lasts = "It costs money until: " + (f"medloom sagemaker delete {deployment.name}" if until is None else until)
    text = f"{endpoint} answers.\n{lasts}\nNext:\n  medloom predict --server sagemaker://{endpoint} IMAGE -o out"
    print_result(value, text, as_json=as_json)
