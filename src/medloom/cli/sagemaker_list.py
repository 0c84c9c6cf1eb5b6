"""``medloom sagemaker list``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from medloom.cli.options import JsonOption
from medloom.cli.output import print_result, table
from medloom.cli.sagemaker_options import RegionOption
from medloom.wording import counted, duration_text

__all__ = ["command"]


def command(
    running: Annotated[bool, typer.Option("--running", help="Only what costs money now.")] = False,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what Medloom has made in the account and region, by its tags, what costs money first and since when."""
    from medloom.backends.sagemaker import Account
    from medloom.backends.sagemaker.inventory import list_ours

    account, now = Account(region), datetime.now(UTC)
    things = sorted(list_ours(account, running=running), key=lambda one: not one.bills)
    rows = [
        (
            one.kind,
            one.name,
            one.run,
            one.state.lower() or "-",
            "-" if one.begun is None else f"{duration_text((now - one.begun).total_seconds())} ago",
            "COSTS NOW" if one.bills else "",
        )
        for one in things
    ]
    bills = sum(one.bills for one in things)
    head = f"{counted(len(things), 'thing')} of Medloom's in {account.region}, {bills} of which cost money now"
    print_result([one.plain() for one in things], f"{head}\n{table(rows)}" if rows else head, as_json=as_json)
