"""What the commands ``medloom sagemaker`` show of a job: its lines while it runs, and how it ended."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medloom.cli.display import progress
from medloom.cli.output import say, table
from medloom.errors import MedloomError
from medloom.wording import duration_text, one_line

if TYPE_CHECKING:
    from medloom.backends.sagemaker import Account
    from medloom.backends.sagemaker.jobs import JobFacts
    from medloom.backends.sagemaker.pull import Pulled

__all__ = ["Told", "followed", "pulled", "told"]


@dataclass(frozen=True)
class Told:
    """How a job stands, for programs and for people."""

    value: Mapping[str, Any]
    text: str


def followed(
    account: Account, job: str, kind: str = "training", timeout_s: float | None = None, done: Collection[int] = (0,)
) -> Told:
    """Print the lines of a job until it has ended, or so many seconds have passed.

    Args:
        account: The account.
        job: Its name.
        kind: What it is.
        timeout_s: Longest time to follow it.
        done: Exit codes of its command with which it has done its work.

    Raises:
        MedloomError: If it failed; the message is what the container said.
    """
    from medloom.backends.sagemaker.jobs import follow
    from medloom.backends.sagemaker.tuner import follow_search

    def changed(facts: JobFacts) -> None:
        say(f"sagemaker: {facts.said}")

    if kind == "tuning":
        return told(follow_search(account, job, say))
    facts = follow(account, job, say, kind=kind, changed=changed, timeout_s=timeout_s)
    if facts.status.code is not None and facts.status.code not in done:
        raise MedloomError(f"the job {job} failed there: {one_line(facts.reason, 1100) or 'without a reason'}")
    return told(facts)


def told(facts: JobFacts) -> Told:
    """Return what is said of a job."""
    from medloom.backends.sagemaker.tuner import counted

    rows = [("job", facts.name), ("state", f"{facts.status.state}, as SageMaker says {facts.said}")]
    end = facts.ended or datetime.now(UTC)
    seconds = None if facts.begun is None else max(0.0, (end - facts.begun).total_seconds())
    rows += [] if seconds is None else [("time", duration_text(seconds))]
    rows += [("search", counted(facts))] if facts.kind == "tuning" else []
    rows += [] if facts.billed_s is None else [("billed", duration_text(facts.billed_s))]
    rows += [] if facts.best is None else [("best so far", f"{facts.best:.4f}")]
    rows += [("machine kept", facts.warm)] if facts.warm else []
    rows += [("reason", one_line(facts.reason, 1100))] if facts.reason else []
    value = {
        "job": facts.name,
        "kind": facts.kind,
        "state": str(facts.status.state),
        "sagemaker": facts.said,
        "seconds": None if seconds is None else round(seconds),
        "billed_s": facts.billed_s,
        "best": facts.best,
        "reason": facts.reason,
    }
    return Told(value, table(rows, indent=""))


def pulled(account: Account, uri: str, folder: Path) -> Pulled:
    """Fetch a run directory, showing how far that is."""
    from medloom.backends.sagemaker.pull import pull_run

    with progress("fetch") as update:
        return pull_run(account, uri, folder, update)
