"""Any job as a training job: its command runs in the training image, its URIs become channels and checkpoints.

Jobs go on when this process ends; what they cost ends with their longest time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from medloom.backends.api import State, Status
from medloom.backends.sagemaker.account import Account
from medloom.backends.sagemaker.calls import Call
from medloom.backends.sagemaker.jobs import Lines, job_facts, stop_job
from medloom.backends.sagemaker.place import Place
from medloom.backends.sagemaker.training import Training, training_call
from medloom.errors import UserError
from medloom.jobs import Job

__all__ = ["SageMakerBackend", "job_call"]

_FRESH_S = 2.0
"""So long what SageMaker said of a job is taken for what it says now: it refuses who asks too often."""


_WAITS = Status(State.WAITING)


@dataclass
class _Known:
    """A job that was submitted here."""

    lines: Lines
    heard: list[str] = field(default_factory=list)
    status: Status = _WAITS
    asked_s: float = float("-inf")
    began: bool = False


class SageMakerBackend:
    """Runs jobs there. A context manager; leaving it lets go of them and ends none.

    Args:
        account: The account.
        place: Where in it.
        like: Image, machine and longest time of every job; its run, settings and channels are those of each.
        stamp: Makes the part of a job's name that tells it from others.
    """

    name = "sagemaker"

    def __init__(self, account: Account, place: Place, like: Training, stamp: Callable[[], str]) -> None:
        self._account, self._place, self._like, self._stamp = account, place, like, stamp
        self._known: dict[str, _Known] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the jobs."""
        self.close()

    def request(self, job: Job) -> dict[str, Any]:
        """Return the request of a training job whose container runs the command; nothing is sent."""
        about = {"backend": self.name, "name": job.name, "command": list(job.command)}
        return {
            **about,
            "inputs": list(job.inputs),
            "outputs": list(job.outputs),
            **job_call(job, self._like, self._place, "").plain(),
        }

    def submit(self, job: Job) -> str:
        """Begin a job; SageMaker lets it wait for machines.

        Raises:
            UserError: If it reads or writes on this machine, or AWS refuses.
        """
        here = [uri for uri in (*job.inputs, *job.outputs) if not uri.startswith("s3://")]
        if here:
            raise UserError(f"{job.name}: {here[0]} is on this machine; expected s3://, where SageMaker can reach it")
        call = job_call(job, self._like, self._place, self._stamp())
        self._account.send(call, f"{job.name} cannot begin")
        handle = str(call.parameters["TrainingJobName"])
        self._known[handle] = _Known(Lines(self._account, handle))
        return handle

    def status(self, handle: str) -> Status:
        """Return where a job stands, as SageMaker said it at most two seconds ago."""
        known = self._job(handle)
        now = time.monotonic()
        if not known.status.ended and now - known.asked_s >= _FRESH_S:
            facts = job_facts(self._account, handle)
            known.began = known.began or facts.begun is not None
            is_void = facts.status.state == State.CANCELLED and not known.began
            known.status, known.asked_s = Status(State.CANCELLED) if is_void else facts.status, now
        return known.status

    def logs(self, handle: str, after: int = 0) -> list[str]:
        """Return the lines that CloudWatch has of a job."""
        known = self._job(handle)
        known.heard += known.lines.new()
        return known.heard[after:]

    def cancel(self, handle: str) -> None:
        """Ask a job to stop; it has two minutes to save."""
        self._job(handle)
        stop_job(self._account, handle)
        self._known[handle].asked_s = float("-inf")

    def wait(self, handle: str, timeout_s: float | None = None) -> Status:
        """Wait until a job has ended."""
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        while not (status := self.status(handle)).ended:
            left = _FRESH_S if ends is None else min(_FRESH_S, ends - time.monotonic())
            if left <= 0:
                break
            time.sleep(left)
        return status

    def close(self) -> None:
        """Let go of the jobs, which go on there."""
        self._known.clear()

    def _job(self, handle: str) -> _Known:
        if handle not in self._known:
            raise UserError(
                f"there is no job {handle!r} of this process; medloom sagemaker list shows those of the account"
            )
        return self._known[handle]


def job_call(job: Job, like: Training, place: Place, stamp: str) -> Call:
    """Return the request of a training job whose container runs a command; the same job gives the same.

    Args:
        job: Its inputs become channels, ``input-0`` and so on, and what it writes its checkpoints.
        like: Image, machine and longest time.
        place: Where.
        stamp: What tells it from others of its name.
    """
    channels = {f"input-{number}": uri for number, uri in enumerate(job.inputs)}
    cores = {} if job.resources.cores is None else {"OMP_NUM_THREADS": str(job.resources.cores)}
    environment = {**like.environment, **cores, **job.environment}
    training = replace(like, run=job.name, settings={}, channels=channels, environment=environment, stamp=stamp)
    call = training_call(training, place)
    body = {key: value for key, value in call.parameters.items() if value not in ([], {})}
    body["AlgorithmSpecification"] = {**body["AlgorithmSpecification"], "ContainerArguments": list(job.command)}
    if job.outputs:
        body["CheckpointConfig"] = {**body["CheckpointConfig"], "S3Uri": job.outputs[0]}
    return Call(call.service, call.operation, body)
