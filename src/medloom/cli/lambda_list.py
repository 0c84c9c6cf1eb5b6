"""``medloom lambda list``."""

from __future__ import annotations

from datetime import UTC, datetime

from medloom.cli.options import JsonOption
from medloom.cli.output import print_result, table
from medloom.cli.sagemaker_options import RegionOption
from medloom.wording import counted, duration_text

__all__ = ["command"]


def command(region: RegionOption = None, as_json: JsonOption = False) -> None:
    """List the functions that Medloom has made in the account and region, by the tags of their stacks.

    A function costs nothing while nobody asks it.
    """
    from medloom.backends.lambda_.stacks import list_stacks
    from medloom.backends.sagemaker import Account

    account, now = Account(region), datetime.now(UTC)
    found = list_stacks(account)
    rows = [
        (
            one.run,
            one.name,
            one.state.lower(),
            "-" if one.begun is None else f"{duration_text((now - one.begun).total_seconds())} ago",
            one.outputs.get("FunctionUrl", "-"),
        )
        for one in found
    ]
    head = f"{counted(len(found), 'function')} of Medloom's in {account.region}"
    print_result([one.plain() for one in found], f"{head}\n{table(rows)}" if rows else head, as_json=as_json)
