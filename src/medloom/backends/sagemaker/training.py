"""A training there as a request: built without doing anything, so it can be printed.

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from medloom.backends.sagemaker.calls import Call
from medloom.backends.sagemaker.names import aws_name
from medloom.backends.sagemaker.place import Place
from medloom.errors import UserError

__all__ = ["CHECKPOINTS", "METRIC", "Training", "metric_definitions", "training_call"]

CHECKPOINTS = "/opt/ml/checkpoints"
"""What is written there lies in the bucket seconds later, and is there again after a stop."""

METRIC = "medloom:best"
"""The running best of the monitored metric, which SageMaker shows as the final one."""

_NUMBER = "([0-9eE+.-]+);"
"""Not ``(.*?)``, which would take ``nan``."""

_LONGEST_VALUE = 2500
_MOST_VALUES = 100


@dataclass(frozen=True)
class Training:
    """One training job.

    Args:
        run: Name of the run; trainings of one run share their checkpoints, so the next goes on with the last.
        image: URI of the container image in ECR.
        settings: Hyper-parameters: keys of the recipe and their values, as text.
        channels: URI of the images by the name of their channel, such as ``training``.
        instance: What it runs on, such as ``ml.g5.xlarge``.
        count: How many of them.
        max_s: After so many seconds it is stopped; it is asked to save first.
        volume_gb: Disk for images and pixel store.
        spot: Whether it runs on capacity that AWS may take back; it then goes on from its checkpoints.
        wait_s: With ``spot``: longest time in seconds until it must have ended, waiting included.
        warm_s: Seconds that the machine is kept for the next job of the same kind, and paid for.
        stream: Whether images are read from S3 when they are needed, instead of copied first.
        environment: Environment variables.
        stamp: What tells this job from others of the run, such as the time.

    Raises:
        UserError: If two of these do not go together.
    """

    run: str
    image: str
    settings: Mapping[str, str]
    channels: Mapping[str, str]
    instance: str = "ml.g5.xlarge"
    count: int = 1
    max_s: int = 4 * 3600
    volume_gb: int = 50
    spot: bool = False
    wait_s: int | None = None
    warm_s: int = 0
    stream: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    stamp: str = ""

    def __post_init__(self) -> None:
        if self.spot and self.warm_s:
            raise UserError("a machine that AWS may take back is not kept warm: leave out --spot or --keep-warm")
        if self.wait_s is not None and not self.spot:
            raise UserError("--max-wait says how long to wait for capacity that AWS may take back; it needs --spot")
        if self.wait_s is not None and self.wait_s < self.max_s:
            raise UserError(f"--max-wait: expected at least the {self.max_s} s of --max-time; got {self.wait_s} s")
        _check_settings(self.settings)

    @property
    def name(self) -> str:
        """Name of the job."""
        settings = " ".join(f"{key}={value}" for key, value in sorted(self.settings.items()))
        return aws_name(f"{self.run}-{self.stamp}" if self.stamp else self.run, f"{self.image} {settings}")


def training_call(training: Training, place: Place) -> Call:
    """Return the request of a training. The same training gives the same."""
    spot = {"MaxWaitTimeInSeconds": training.wait_s or 2 * training.max_s} if training.spot else {}
    parameters: dict[str, Any] = {
        "TrainingJobName": training.name,
        "AlgorithmSpecification": {
            "TrainingImage": training.image,
            "TrainingInputMode": "File",
            "MetricDefinitions": metric_definitions(),
            "EnableSageMakerMetricsTimeSeries": True,
        },
        "RoleArn": place.role,
        "HyperParameters": dict(training.settings),
        "InputDataConfig": [
            _channel(name, uri, stream=training.stream) for name, uri in sorted(training.channels.items())
        ],
        "OutputDataConfig": {"S3OutputPath": place.run_uri(training.run, "output"), **place.key("KmsKeyId")},
        "ResourceConfig": _resources(training, place),
        "StoppingCondition": {"MaxRuntimeInSeconds": training.max_s, **spot},
        "CheckpointConfig": {"S3Uri": place.run_uri(training.run, "checkpoints"), "LocalPath": CHECKPOINTS},
        "EnableManagedSpotTraining": training.spot,
        "EnableInterContainerTrafficEncryption": training.count > 1,
        "ProfilerConfig": {"DisableProfiler": True},  # else SageMaker runs one beside the training
        "Tags": place.tagged("training", training.run),
        **place.network,
        **({"Environment": dict(training.environment)} if training.environment else {}),
    }
    return Call("sagemaker", "CreateTrainingJob", parameters)


def metric_definitions() -> list[dict[str, str]]:
    """Return what SageMaker reads from the lines of a training: the running best, this epoch's value, the losses.

    The best is emitted every epoch, so the last that SageMaker saw is the one of the weights that are packaged.
    """
    names = {METRIC: "best", "medloom:value": "value", "medloom:train_loss": "train_loss"}
    return [{"Name": name, "Regex": f"(?:^|[ ;]){word}={_NUMBER}"} for name, word in names.items()]


def _channel(name: str, uri: str, *, stream: bool) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": f"{uri.rstrip('/')}/", "S3DataDistributionType": "FullyReplicated"}
    mode = "FastFile" if stream else "File"
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": mode}


def _resources(training: Training, place: Place) -> dict[str, Any]:
    warm = {"KeepAlivePeriodInSeconds": training.warm_s} if training.warm_s else {}
    return {
        "InstanceType": training.instance,
        "InstanceCount": training.count,
        "VolumeSizeInGB": training.volume_gb,
        **place.key("VolumeKmsKeyId"),
        **warm,
    }


def _check_settings(settings: Mapping[str, str]) -> None:
    long: Sequence[str] = [key for key, value in settings.items() if len(value) > _LONGEST_VALUE]
    if long:
        raise UserError(
            f"{', '.join(long)}: SageMaker takes at most {_LONGEST_VALUE:,} characters of a value; put the recipe into "
            "a file"
        )
    if len(settings) > _MOST_VALUES:
        raise UserError(f"SageMaker takes at most {_MOST_VALUES} settings of a recipe; got {len(settings)}")
