"""What SageMaker says of a training job, as one plain value: files below ``/opt/ml``, and ``SM_*`` variables over them.

Nothing here makes, changes or imports anything else of a job. AWS's own toolkit sets the ``SM_*`` variables for a
script; an image that SageMaker starts by itself gets the files alone.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medloom.errors import UserError

__all__ = ["Channel", "Hosts", "Places", "TrainingJob", "read_job", "read_places"]

_BASE = "/opt/ml"
_PORT = 7777


@dataclass(frozen=True)
class Channel:
    """One channel of input data.

    Args:
        name: What the job calls it.
        folder: Where its files are.
        mode: ``File``, ``FastFile`` or ``Pipe``.
        distribution: ``FullyReplicated``, or ``ShardedByS3Key`` where each host has other files.
    """

    name: str
    folder: Path
    mode: str = "File"
    distribution: str = "FullyReplicated"


@dataclass(frozen=True)
class Places:
    """Where a job writes.

    Args:
        model: What becomes ``model.tar.gz``.
        output: What becomes ``output.tar.gz``.
        failure: The file of which the first 1024 characters become the job's ``FailureReason``.
        checkpoints: What is kept in step with S3 while the job runs, and is there again after a spot stop.
    """

    model: Path
    output: Path
    failure: Path
    checkpoints: Path


@dataclass(frozen=True)
class Hosts:
    """The machines of a job.

    Args:
        current: This one.
        names: All of them, sorted.
        interface: The network interface between them; empty for what the system chooses.
        gpus: GPUs of each.
        port: Where the processes meet on the first of them.
    """

    current: str = "algo-1"
    names: tuple[str, ...] = ("algo-1",)
    interface: str = ""
    gpus: int = 0
    port: int = _PORT

    @property
    def rank(self) -> int:
        """Number of this host, from 0."""
        return self.names.index(self.current)


@dataclass(frozen=True)
class TrainingJob:
    """A training job as its container sees it.

    Args:
        name: Its name; empty where nobody says it, as in a container that is started by hand.
        hyperparameters: Texts by name, as they came.
        channels: Input data by name.
        places: Where it writes.
        hosts: The machines.
    """

    name: str
    hyperparameters: Mapping[str, str]
    channels: Mapping[str, Channel]
    places: Places
    hosts: Hosts = Hosts()

    def asked(self, arguments: Sequence[str]) -> TrainingJob:
        """Return the job with what a command line says over it.

        Args:
            arguments: ``--name value`` pairs, as AWS's toolkit hands hyper-parameters to a script.

        Raises:
            UserError: If one has no value, or is no such pair.

        Example:
            >>> job = read_job({}, gpus=0).asked(["--train.epochs", "5", "--lr=0.1"])
            >>> job.hyperparameters
            {'train.epochs': '5', 'lr': '0.1'}
        """
        return replace(self, hyperparameters={**self.hyperparameters, **_pairs(arguments)})


def read_job(environment: Mapping[str, str], *, gpus: int) -> TrainingJob:
    """Read what SageMaker says of the job that this container is for.

    Args:
        environment: The environment variables.
        gpus: How many GPUs there are, where no variable says it.

    Raises:
        UserError: If a file or variable holds something else than SageMaker writes.
    """
    base = Path(environment.get("SAGEMAKER_BASE_DIR") or _BASE)
    config = Path(environment.get("SM_INPUT_CONFIG_DIR") or base / "input/config")
    return TrainingJob(
        name=environment.get("TRAINING_JOB_NAME") or environment.get("SM_JOB_NAME") or "",
        hyperparameters=_hyperparameters(config, environment),
        channels=_channels(base, config, environment),
        places=read_places(environment),
        hosts=_hosts(config, environment, gpus),
    )


def read_places(environment: Mapping[str, str]) -> Places:
    """Return where a job writes; needs no file, so that a job that cannot be read can say so.

    Args:
        environment: The environment variables.
    """
    base = Path(environment.get("SAGEMAKER_BASE_DIR") or _BASE)
    output = Path(environment.get("SM_OUTPUT_DIR") or base / "output")
    return Places(
        model=Path(environment.get("SM_MODEL_DIR") or base / "model"),
        output=Path(environment.get("SM_OUTPUT_DATA_DIR") or output / "data"),
        failure=Path(environment.get("SM_OUTPUT_FAILURE") or output / "failure"),
        checkpoints=base / "checkpoints",
    )


def _hyperparameters(config: Path, environment: Mapping[str, str]) -> dict[str, str]:
    given = {**_file(config / "hyperparameters.json"), **_variable(environment, "SM_HPS", dict)}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}


def _channels(base: Path, config: Path, environment: Mapping[str, str]) -> dict[str, Channel]:
    """Those that the configuration names; without any, the folders that are there."""
    root = Path(environment.get("SM_INPUT_DIR") or base / "input") / "data"
    said = {**_file(config / "inputdataconfig.json"), **_variable(environment, "SM_INPUT_DATA_CONFIG", dict)}
    names = [*said, *_variable(environment, "SM_CHANNELS", list)]
    if not names and root.is_dir():
        names = [path.name for path in root.iterdir() if path.is_dir()]
    return {name: _channel(name, said.get(name), root, environment) for name in sorted({*map(str, names)})}


def _channel(name: str, said: object, root: Path, environment: Mapping[str, str]) -> Channel:
    folder = Path(environment.get(f"SM_CHANNEL_{name.upper()}") or root / name)
    plain = said if isinstance(said, Mapping) else {}
    mode, distribution = plain.get("TrainingInputMode"), plain.get("S3DistributionType")
    return Channel(name, folder, str(mode or "File"), str(distribution or "FullyReplicated"))


def _hosts(config: Path, environment: Mapping[str, str], gpus: int) -> Hosts:
    said = {**_file(config / "resourceconfig.json"), **_variable(environment, "SM_RESOURCE_CONFIG", dict)}
    current = str(environment.get("SM_CURRENT_HOST") or said.get("current_host") or Hosts.current)
    names = tuple(sorted(map(str, _variable(environment, "SM_HOSTS", list) or said.get("hosts") or [current])))
    if current not in names:
        raise UserError(f"resourceconfig.json: this host is {current}, which is none of {', '.join(names)}")
    interface = environment.get("SM_NETWORK_INTERFACE_NAME") or said.get("network_interface_name") or ""
    return Hosts(
        current,
        names,
        str(interface),
        _whole(environment, "SM_NUM_GPUS", gpus),
        _whole(environment, "SM_MASTER_PORT", _PORT),
    )


def _whole(environment: Mapping[str, str], name: str, otherwise: int) -> int:
    said = environment.get(name)
    if not said:
        return otherwise
    if not said.isdecimal():
        raise UserError(f"{name}: expected a whole number; got {said!r}")
    return int(said)


def _file(path: Path) -> dict[str, Any]:
    """What a file of the configuration holds; nothing where it is not there."""
    if not path.is_file():
        return {}
    try:
        text = path.read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name} cannot be read as text; SageMaker writes JSON there") from error
    return dict(_read(text, path.name, dict)) if text else {}


def _variable(environment: Mapping[str, str], name: str, kind: type) -> Any:  # noqa: ANN401 - a list or a mapping
    said = environment.get(name)
    return _read(said, name, kind) if said else kind()


def _read(text: str, name: str, kind: type) -> Any:  # noqa: ANN401 - a list or a mapping
    wanted = "an object" if kind is dict else "a list"
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UserError(f"{name} is no JSON; expected {wanted}") from error
    if not isinstance(value, kind):
        raise UserError(f"{name}: expected {wanted} in JSON")
    return value


def _pairs(arguments: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not name.startswith("--") or len(name) == 2:
            raise UserError(f"{name}: expected --name value, such as --train.epochs 5")
        if not equals:
            if not rest:
                raise UserError(f"{name}: expected a value behind it")
            value = rest.pop(0)
        found[name[2:]] = value
    return found
