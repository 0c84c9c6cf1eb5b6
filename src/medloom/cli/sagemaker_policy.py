"""``medloom sagemaker policy``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from medloom.cli.output import print_result

__all__ = ["command"]


def command(
    verb: Annotated[
        str,
        typer.Argument(
            metavar="VERB",
            help="train, tune, batch, deploy, transform, status, logs, pull, list, delete, doctor; role, scheduler.",
        ),
    ],
    bucket: Annotated[str, typer.Option("--bucket", metavar="NAME", help="The bucket.")] = "*",
    prefix: Annotated[str, typer.Option("--prefix", metavar="KEY", help="Where in it everything lies.")] = "medloom",
    region: Annotated[str, typer.Option("--region", metavar="NAME", help="Region of the jobs.")] = "*",
    account: Annotated[str, typer.Option("--account", metavar="NUMBER", help="Number of the account.")] = "*",
    role: Annotated[str, typer.Option("--role", metavar="ARN", help="The role that SageMaker takes on.")] = "*",
    kms_key: Annotated[str | None, typer.Option("--kms-key", metavar="ARN", help="The key of KMS.")] = None,
    trusted: Annotated[
        bool, typer.Option("--trust", help="Of role and scheduler: who may take it on, instead of what it may do.")
    ] = False,
) -> None:
    """Print the least rights that a command needs, as a policy of IAM.

    `role` is what the containers may do, and `scheduler` what ends an endpoint in time. A star stands for what is not
    named here. Nothing is asked of AWS.
    """
    from medloom.backends.sagemaker.policy import Scope, policy, trust
    from medloom.errors import UserError

    scope = Scope(region, account, bucket, prefix, role, kms_key)
    value = trust(verb) if trusted else policy(verb, scope)
    if value is None:
        raise UserError(f"--trust: {verb} is no role; expected role or scheduler")
    print_result(value, json.dumps(value, indent=2), as_json=True)
