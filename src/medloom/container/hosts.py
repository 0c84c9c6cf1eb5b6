"""A training on several hosts: the same command on each of them, started by ``torchrun``.

``torchrun`` takes the place of the container's process (``os.execve``), so that SIGTERM reaches it, and it hands it on.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from medloom.container.environment import Hosts
from medloom.errors import UserError

__all__ = ["await_hosts", "become_torchrun", "is_in_group", "torchrun_command", "torchrun_environment"]

_INTERFACES = Path("/sys/class/net")
_LONGEST_S = 900.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 30.0


def torchrun_command(hosts: Hosts, arguments: Sequence[str]) -> list[str]:
    """Return the command that starts this host's processes of a training.

    Args:
        hosts: The machines.
        arguments: What ``train`` was given.

    Example:
        >>> command = torchrun_command(Hosts("algo-2", ("algo-1", "algo-2"), gpus=4), ["--lr", "0.1"])
        >>> command[3:8]
        ['--nnodes=2', '--nproc_per_node=4', '--node_rank=1', '--master_addr=algo-1', '--master_port=7777']
    """
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        f"--nnodes={len(hosts.names)}",
        f"--nproc_per_node={max(1, hosts.gpus)}",
        f"--node_rank={hosts.rank}",
        f"--master_addr={hosts.names[0]}",
        f"--master_port={hosts.port}",
        "-m",
        "medloom.container",
        "train",
        *arguments,
    ]


def torchrun_environment(
    hosts: Hosts, environment: Mapping[str, str], interfaces: Path = _INTERFACES
) -> dict[str, str]:
    """Return the environment of that command: with the network interface, if this host has one of that name.

    Args:
        hosts: The machines.
        environment: The environment so far, which wins.
        interfaces: Folder with an entry for each interface of this host.
    """
    there = bool(hosts.interface) and (interfaces / hosts.interface).exists()
    named = dict.fromkeys(("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"), hosts.interface) if there else {}
    return {**named, **environment}


def is_in_group() -> bool:
    """Whether ``torchrun`` has started this process; as ``training.ranks.is_in_group``, which would bring torch."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def await_hosts(hosts: Hosts) -> None:
    """Wait until every host is known by its name, which may take a while after the first has started.

    Raises:
        UserError: If one is not known after a quarter of an hour.
    """
    ends_s, wait_s = time.monotonic() + _LONGEST_S, _FIRST_WAIT_S
    for name in hosts.names:
        while True:
            try:
                socket.gethostbyname(name)
                break
            except OSError as error:
                if time.monotonic() > ends_s:
                    raise UserError(f"the host {name} of this job is not known in its network") from error
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def become_torchrun(hosts: Hosts, arguments: Sequence[str]) -> None:
    """Put ``torchrun`` in the place of this process; does not return."""
    await_hosts(hosts)
    command = torchrun_command(hosts, arguments)
    os.execve(command[0], command, torchrun_environment(hosts, os.environ))  # noqa: S606 - no shell, our own arguments
