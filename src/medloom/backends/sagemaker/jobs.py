"""Jobs there: how they stand, what they print, how they are stopped, and which belongs to a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from medloom.backends.api import State, Status
from medloom.backends.sagemaker.account import Account
from medloom.backends.sagemaker.calls import Call
from medloom.backends.sagemaker.faults import is_absent, plainly
from medloom.backends.sagemaker.names import RUN_TAG, aws_name, tags_of
from medloom.errors import UserError
from medloom.extras import require

__all__ = ["KINDS", "JobFacts", "JobKind", "Lines", "find_job", "follow", "job_facts", "stop_job"]

_STATES = {
    "InProgress": State.RUNNING,
    "Stopping": State.RUNNING,
    "Completed": State.DONE,
    "Stopped": State.CANCELLED,
    "Failed": State.FAILED,
    "Deleting": State.CANCELLED,
    "DeleteFailed": State.CANCELLED,
}
_WAITING = {"Starting", "Pending", "LaunchingMLInstances", "PreparingTrainingStack"}

_EMPTY_PAGES = 3
"""CloudWatch gives pages without a line in between; the end is where it gives the same token again."""

_SIGNALS = 128
"""A container that a signal killed has its number and so much as its exit code."""

_POLL_S = 5.0
_LONGEST_POLL_S = 30.0


@dataclass(frozen=True)
class JobKind:
    """What operations and log group a kind of job has.

    Args:
        noun: As in ``DescribeTrainingJob``.
        group: Its group of logs; empty for what prints nothing by itself.
        resource: As in its ARN.
        listing: boto3's name of the list of them.
        longest: Longest name.
    """

    noun: str
    group: str
    resource: str
    listing: str
    longest: int = 63

    @property
    def name(self) -> str:
        """Member with its name."""
        return f"{self.noun}Name"


KINDS = {
    "training": JobKind("TrainingJob", "/aws/sagemaker/TrainingJobs", "training-job", "list_training_jobs"),
    "transform": JobKind("TransformJob", "/aws/sagemaker/TransformJobs", "transform-job", "list_transform_jobs"),
    "tuning": JobKind(
        "HyperParameterTuningJob", "", "hyper-parameter-tuning-job", "list_hyper_parameter_tuning_jobs", 32
    ),
}
"""The kinds of jobs."""


@dataclass(frozen=True)
class JobFacts:
    """How a job stands.

    Args:
        name: Its name.
        kind: A name in ``KINDS``.
        status: Where it stands, in Medloom's words.
        said: The same in SageMaker's, such as ``Downloading``.
        reason: Why it failed.
        begun: When the machines began; None before.
        ended: When they ended.
        billed_s: Seconds that are billed; with spot fewer than it took.
        best: The best value of the monitored metric so far, where the job has said one.
        warm: What became of the machine that was to be kept, as SageMaker says it.
        plain: Everything that SageMaker says.
    """

    name: str
    kind: str
    status: Status
    said: str
    reason: str = ""
    begun: datetime | None = None
    ended: datetime | None = None
    billed_s: int | None = None
    best: float | None = None
    warm: str = ""
    plain: Mapping[str, Any] = field(default_factory=dict)


def job_facts(account: Account, name: str, kind: str = "training") -> JobFacts:
    """Ask how a job stands.

    Raises:
        UserError: If there is no such job.
    """
    of = KINDS[kind]
    found = account.send(
        Call("sagemaker", f"Describe{of.noun}", {of.name: name}),
        f"the job {name} cannot be looked up in {account.region}",
    )
    said, second = found[f"{of.noun}Status"], found.get("SecondaryStatus", "")
    state = State.WAITING if said == "InProgress" and second in _WAITING else _STATES[said]
    code = {State.DONE: 0, State.FAILED: _code(found), State.CANCELLED: 0}.get(state)
    return JobFacts(
        name,
        kind,
        Status(state, code),
        second or said,
        str(found.get("FailureReason", "")),
        _first(found, "TrainingStartTime", "TransformStartTime")
        or (found["CreationTime"] if kind == "tuning" else None),
        _first(found, "TrainingEndTime", "TransformEndTime", "HyperParameterTuningEndTime"),
        found.get("BillableTimeInSeconds"),
        _best(found),
        str(found.get("WarmPoolStatus", {}).get("Status", "")),
        found,
    )


def _code(found: Mapping[str, Any]) -> int:
    """Exit code of a container that failed, where SageMaker says it; the negative of the signal that killed it."""
    words = str(found.get("FailureReason", "")).lower().replace(",", " ").split()
    codes = [after for word, after in pairwise(words) if word.endswith("code:")]
    code = int(codes[0]) if codes and codes[0].isdigit() else 1
    return code if code <= _SIGNALS else _SIGNALS - code


def _first(found: Mapping[str, Any], *names: str) -> datetime | None:
    """The time of the kind of job that it is."""
    return next((found[name] for name in names if found.get(name)), None)


def _best(found: Mapping[str, Any]) -> float | None:
    of_search = found.get("BestTrainingJob", {}).get("FinalHyperParameterTuningJobObjectiveMetric")
    said = [*found.get("FinalMetricDataList", []), *([of_search] if of_search else [])]
    values = {one["MetricName"]: one["Value"] for one in said}
    return values.get("medloom:best")


def stop_job(account: Account, name: str, kind: str = "training") -> None:
    """Ask a job to stop; a training saves first. One that has ended stays as it is."""
    of = KINDS[kind]
    if not job_facts(account, name, kind).status.ended:
        account.send(Call("sagemaker", f"Stop{of.noun}", {of.name: name}), f"the job {name} cannot be stopped")


def find_job(account: Account, run: str) -> tuple[str, str]:
    """Return the newest job of a run or a search and its kind, by its tags, where nothing on this machine remembers it.

    Raises:
        UserError: If there is none.
    """
    for kind in ("tuning", "training"):  # the trainings of a search have its tags, too
        of = KINDS[kind]
        head = aws_name(run, most=of.longest).rpartition("-")[0][:40]
        jobs = account.pages(
            "sagemaker",
            of.listing,
            f"{of.noun}Summaries",
            f"the jobs of {run} cannot be listed",
            NameContains=head,
            SortBy="CreationTime",
            SortOrder="Descending",
        )
        for job in jobs:
            if _tags(account, job[f"{of.noun}Arn"]).get(RUN_TAG) == run:
                return str(job[of.name]), kind
    raise UserError(
        f"no training of the run {run} is known in {account.region}; medloom sagemaker list shows what there is"
    )


def _tags(account: Account, arn: str) -> dict[str, str]:
    found = account.send(Call("sagemaker", "ListTags", {"ResourceArn": arn, "MaxResults": 100}), "tags cannot be read")
    return tags_of(found.get("Tags"))


class Lines:
    """What a job prints, from CloudWatch, each line once.

    Args:
        account: The account.
        job: Its name.
        kind: ``training`` or ``transform``.
    """

    def __init__(self, account: Account, job: str, kind: str = "training") -> None:
        self._account, self._job, self._group = account, job, KINDS[kind].group
        self._tokens: dict[str, str | None] = {}

    def new(self) -> list[str]:
        """Return the lines since the last call; of several machines each with the name of its own before it."""
        with plainly(f"the lines of {self._job} cannot be read"):
            streams = self._streams()
            several = len(streams) > 1
            return [
                f"{stream.removeprefix(f'{self._job}/').rpartition('-')[0]}  {line}" if several else line
                for stream in streams
                for line in self._of(stream)
            ]

    def _streams(self) -> list[str]:
        pages = self._account.client("logs").get_paginator("describe_log_streams")
        try:
            found = pages.paginate(logGroupName=self._group, logStreamNamePrefix=f"{self._job}/")
            return sorted(one["logStreamName"] for page in found for one in page["logStreams"])
        except require("botocore.exceptions", "aws").ClientError as error:
            if is_absent(error):  # the first job of an account makes the group
                return []
            raise

    def _of(self, stream: str) -> Iterator[str]:
        logs, empty = self._account.client("logs"), 0
        while True:
            token = self._tokens.get(stream)
            more = {"nextToken": token} if token else {}
            page = logs.get_log_events(logGroupName=self._group, logStreamName=stream, startFromHead=True, **more)
            self._tokens[stream] = page["nextForwardToken"]
            for event in page["events"]:
                yield from event["message"].rstrip("\n").split("\n")
            empty = 0 if page["events"] else empty + 1
            if page["nextForwardToken"] == token or empty >= _EMPTY_PAGES:
                return


def follow(
    account: Account,
    job: str,
    say: Callable[[str], object],
    *,
    kind: str = "training",
    changed: Callable[[JobFacts], object] = lambda facts: None,
    sleep: Callable[[float], object] = time.sleep,
    timeout_s: float | None = None,
) -> JobFacts:
    """Hand on what a job prints until it has ended.

    Args:
        account: The account.
        job: Its name.
        say: Told each line.
        kind: ``training`` or ``transform``.
        changed: Told how it stands whenever SageMaker calls that something else.
        sleep: Waits for so many seconds between two looks.
        timeout_s: Longest time to follow it; None until it has ended.

    Returns:
        How it stands then.
    """
    lines, before, poll_s = Lines(account, job, kind), "", _POLL_S
    ends = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        facts = job_facts(account, job, kind)  # first: what it prints until its end is handed on before that
        printed = lines.new()
        for line in printed:
            say(line)
        if facts.said != before:
            changed(facts)
            before = facts.said
        if facts.status.ended or (ends is not None and time.monotonic() >= ends):
            return facts
        poll_s = _POLL_S if printed else min(_LONGEST_POLL_S, poll_s * 1.5)
        sleep(poll_s)
