"""SageMaker's own tuner: a search as a request, how it stands, and the trainings that it began.

The tuner judges a training by the last value of its objective, so that is the running best; see
``medloom.container.metric_lines``.

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateHyperParameterTuningJob.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from medloom.backends.api import State
from medloom.backends.sagemaker.account import Account
from medloom.backends.sagemaker.calls import Call
from medloom.backends.sagemaker.jobs import KINDS, JobFacts, job_facts
from medloom.backends.sagemaker.names import aws_name
from medloom.backends.sagemaker.place import Place
from medloom.backends.sagemaker.training import METRIC, Training, training_call
from medloom.errors import UserError

__all__ = ["Search", "TunerTrial", "counted", "follow_search", "search_call", "search_trials"]

_MOST_PARENTS = 5
_POLL_S = 15.0

_OF_A_TRAINING = (
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "StoppingCondition",
    "CheckpointConfig",
    "VpcConfig",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "Environment",
)
"""What the definition of its trainings has in common with the request of one."""


@dataclass(frozen=True)
class Search:
    """One tuning job.

    Args:
        like: What its trainings have in common: image, machine, longest time; its run is the name of the search, its
            settings are those that are not searched.
        ranges: What is searched, as ``ParameterRanges``.
        larger_is_better: Whether the monitored metric is to be large.
        trials: How many trainings at most; None with ``Grid``, which counts its settings.
        at_a_time: How many at once.
        strategy: ``Bayesian``, ``Random`` or ``Grid``.
        seed: Of the choice of settings.
        gives_up: Whether a training is stopped that is worse than the median of others at the same epoch.
        patience: The search ends after so many trainings in a row that are not better; None for never.
        parents: Names of tuning jobs from whose trainings it goes on learning.

    Raises:
        UserError: If two of these do not go together.
    """

    like: Training
    ranges: Mapping[str, list[dict[str, Any]]]
    larger_is_better: bool
    trials: int | None
    at_a_time: int = 1
    strategy: str = "Bayesian"
    seed: int = 0
    gives_up: bool = False
    patience: int | None = None
    parents: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.like.warm_s:
            raise UserError("--keep-warm: the trainings of a tuning job follow each other by themselves; leave it out")

    @property
    def name(self) -> str:
        """Name of the tuning job."""
        return aws_name(self.like.run, f"{self.like.image} {self.like.stamp}", KINDS["tuning"].longest)


def search_call(search: Search, place: Place) -> Call:
    """Return the request of a search. The same search gives the same."""
    training = training_call(search.like, place).parameters
    limits: dict[str, int] = {"MaxParallelTrainingJobs": search.at_a_time}
    if search.trials is not None:
        limits["MaxNumberOfTrainingJobs"] = search.trials
    objective = {"Type": "Maximize" if search.larger_is_better else "Minimize", "MetricName": METRIC}
    config: dict[str, Any] = {
        "Strategy": search.strategy,
        "HyperParameterTuningJobObjective": objective,
        "ResourceLimits": limits,
        "ParameterRanges": {kind: list(ranges) for kind, ranges in search.ranges.items()},
        "TrainingJobEarlyStoppingType": "Auto" if search.gives_up else "Off",
        "RandomSeed": search.seed,
    }
    if search.patience is not None:
        criteria = {"BestObjectiveNotImproving": {"MaxNumberOfTrainingJobsNotImproving": search.patience}}
        config["TuningJobCompletionCriteria"] = criteria
    algorithm = training["AlgorithmSpecification"]
    definition: dict[str, Any] = {
        "StaticHyperParameters": dict(search.like.settings),
        "AlgorithmSpecification": {
            key: algorithm[key] for key in ("TrainingImage", "TrainingInputMode", "MetricDefinitions")
        },
        **{key: training[key] for key in _OF_A_TRAINING if key in training},
    }
    parents = [{"HyperParameterTuningJobName": name} for name in search.parents[-_MOST_PARENTS:]]
    warm = {"WarmStartType": "IdenticalDataAndAlgorithm", "ParentHyperParameterTuningJobs": parents}
    parameters = {
        "HyperParameterTuningJobName": search.name,
        "HyperParameterTuningJobConfig": config,
        "TrainingJobDefinition": definition,
        "Tags": place.tagged("tuning", search.like.run),
        **({"WarmStartConfig": warm} if parents else {}),
    }
    return Call("sagemaker", "CreateHyperParameterTuningJob", parameters)


@dataclass(frozen=True)
class TunerTrial:
    """A training that the tuner began.

    Args:
        job: Its name.
        state: ``complete``, ``pruned`` if the tuner or someone stopped it, ``failed`` or ``running``.
        tuned: The settings that the tuner chose, as text.
        score: The last value of the objective: the best so far.
        begun: When its machine began.
        ended: When that ended.
        reason: Why it failed.
    """

    job: str
    state: str
    tuned: Mapping[str, str] = field(default_factory=dict)
    score: float | None = None
    begun: datetime | None = None
    ended: datetime | None = None
    reason: str = ""


_TRIAL_STATES = {"Completed": "complete", "Stopped": "pruned", "Failed": "failed"}


def search_trials(account: Account, name: str) -> list[TunerTrial]:
    """Return the trainings of a search, the first one first."""
    pages = account.pages(
        "sagemaker",
        "list_training_jobs_for_hyper_parameter_tuning_job",
        "TrainingJobSummaries",
        f"the trainings of {name} cannot be listed",
        HyperParameterTuningJobName=name,
        SortBy="CreationTime",
        SortOrder="Ascending",
    )
    return [_trial(one) for one in pages]


def _trial(said: Mapping[str, Any]) -> TunerTrial:
    final = said.get("FinalHyperParameterTuningJobObjectiveMetric", {})
    value = final.get("Value")
    return TunerTrial(
        str(said["TrainingJobName"]),
        _TRIAL_STATES.get(str(said["TrainingJobStatus"]), "running"),
        dict(said.get("TunedHyperParameters", {})),
        None if value is None else float(value),
        said.get("TrainingStartTime"),
        said.get("TrainingEndTime"),
        str(said.get("FailureReason", "")),
    )


def counted(facts: JobFacts) -> str:
    """Return how far a search is, in words.

    Args:
        facts: Of the tuning job.
    """
    counts = facts.plain.get("TrainingJobStatusCounters", {})
    failed = counts.get("NonRetryableError", 0) + counts.get("RetryableError", 0)
    parts = [f"{counts.get('Completed', 0)} done", f"{counts.get('InProgress', 0)} under way"]
    parts += [f"{counts['Stopped']} given up"] if counts.get("Stopped") else []
    parts += [f"{failed} failed"] if failed else []
    best = "" if facts.best is None else f", best {facts.best:.4f}"
    return f"trials: {', '.join(parts)}{best}"


def follow_search(
    account: Account, name: str, say: Callable[[str], object], sleep: Callable[[float], object] = time.sleep
) -> JobFacts:
    """Say how far a search is whenever that changes, until it has ended.

    Args:
        account: The account.
        name: Of the tuning job.
        say: Told how far it is.
        sleep: Waits for so many seconds between two looks.

    Returns:
        How it stands then.

    Raises:
        UserError: If it failed as a whole.
    """
    before = ""
    while True:
        facts = job_facts(account, name, "tuning")
        now = counted(facts)
        if now != before:
            say(now)
            before = now
        if facts.status.state == State.FAILED:
            raise UserError(f"the search {name} failed there: {facts.reason or 'without a reason'}")
        if facts.status.ended:
            return facts
        sleep(_POLL_S)
