"""``medloom sagemaker delete``."""

from __future__ import annotations

from typing import Annotated

import typer

from medloom.cli.options import JsonOption, YesOption
from medloom.cli.output import confirmed, print_result, say, table
from medloom.cli.sagemaker_options import BucketOption, PrefixOption, RegionOption
from medloom.errors import UserError
from medloom.wording import counted

__all__ = ["command"]


def command(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Run, endpoint or batch, as list calls it.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything of Medloom's in the region.")] = False,
    files: Annotated[bool, typer.Option("--files", help="Also delete its files in the bucket.")] = False,
    region: RegionOption = None,
    bucket: BucketOption = None,
    prefix: PrefixOption = "medloom",
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete endpoints and models, and stop jobs; asks first.

    Only what has Medloom's tags is touched. Jobs that have ended cannot be deleted; they cost nothing.
    """
    from medloom.backends.sagemaker import Account
    from medloom.backends.sagemaker.account import find_bucket
    from medloom.backends.sagemaker.inventory import JOBS, OF_A_NAME, delete_objects, delete_thing, list_ours
    from medloom.backends.sagemaker.names import aws_name

    if (name is None) == (not everything):
        raise UserError("expected the NAME of what is to be deleted, as medloom sagemaker list calls it, or --all")
    account = Account(region)
    things = [one for one in list_ours(account, run=name) if one.bills or one.kind not in JOBS]
    if not things and not files:
        raise UserError(f"there is nothing of {name or 'Medloom'} to delete in {account.region}")
    say(table([(one.kind, one.name, one.state) for one in things]))
    also = " and its files in the bucket" if files else ""
    if not confirmed(f"Delete {counted(len(things), 'thing')} in {account.region}{also}?", yes=yes):
        return
    done = [one for one in things if delete_thing(account, one)]
    gone = 0
    if files:
        folders = [f"{part}/{aws_name(name)}" for part in OF_A_NAME] if name else [""]
        where = find_bucket(account, bucket, say)
        gone = sum(delete_objects(account, where, prefix.strip("/"), folder) for folder in folders)
    text = f"deleted {counted(len(done), 'thing')}" + (f" and {counted(gone, 'file')}" if files else "")
    print_result({"deleted": [one.plain() for one in done], "files": gone}, text, as_json=as_json)
