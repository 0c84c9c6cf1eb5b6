"""``medloom lambda delete``."""

from __future__ import annotations

from typing import Annotated

import typer

from medloom.cli.options import JsonOption, YesOption
from medloom.cli.output import confirmed, print_result, say, table
from medloom.cli.sagemaker_options import RegionOption
from medloom.errors import UserError
from medloom.wording import counted

__all__ = ["command"]


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Function, as list calls it.")],
    region: RegionOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete a function with its role, logs, URL and queues, and what waits in these; asks first.

    Only stacks with Medloom's tags are touched. Images, answers and the zip stay in their buckets.
    """
    from medloom.backends.lambda_.stacks import delete_stack, list_stacks
    from medloom.backends.sagemaker import Account

    account = Account(region)
    found = list_stacks(account, name)
    if not found:
        raise UserError(f"there is no function {name} of Medloom's in {account.region}; medloom lambda list says which")
    say(table([(one.run, one.name, one.state) for one in found]))
    if not confirmed(f"Delete {counted(len(found), 'stack')} in {account.region}?", yes=yes):
        return
    for one in found:
        delete_stack(account, one.name, told=say)
    names = [one.name for one in found]
    print_result({"deleted": names}, f"deleted {', '.join(names)}", as_json=as_json)
