"""Stands in for ``docker compose up``: runs Medloom's container for each service of a compose file, without Docker.

As there: the services start together, see nothing of the environment but what the file says, and know each other by
name; the first that ends takes the others with it by SIGTERM, and its exit code is the command's; so does SIGTERM to
the command. What a volume puts below ``/opt/ml`` becomes a link below a folder of the service's own, which
``SAGEMAKER_BASE_DIR`` names, and a port of this machine is bound by the service itself. ``MEDLOOM_PYTHON`` is the
interpreter; several services need ``unshare`` for their names.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

_OF_THE_IMAGE = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")
_NAMED = ["unshare", "-rm", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"']
_GRACE_S = 10
"""Docker kills what has not stopped after so long."""


def linked(volumes: Iterable[str], base: Path) -> None:
    """Put the volumes of a service below its base."""
    pairs = [volume.removesuffix(":z").split(":") for volume in volumes]
    for here, there in sorted(pairs, key=lambda pair: pair[1].count("/")):
        at = base / Path(there).relative_to("/opt/ml")
        Path(here).mkdir(parents=True, exist_ok=True)
        at.parent.mkdir(parents=True, exist_ok=True)
        if at.resolve() == Path(here).resolve():
            continue
        if at.is_dir() and not any(at.iterdir()):
            at.rmdir()
        at.symlink_to(here, target_is_directory=True)


def started(service: dict[str, Any], base: Path, names: Path | None) -> subprocess.Popen[bytes]:
    """Start the container of a service."""
    (base / "tmp").mkdir(parents=True)
    linked(service["volumes"], base)
    variables = {name: os.environ[name] for name in _OF_THE_IMAGE if name in os.environ}
    variables |= {"HOME": str(base / "tmp"), "TMPDIR": str(base / "tmp"), "SAGEMAKER_BASE_DIR": str(base)}
    variables |= dict(one.split("=", 1) for one in service["environment"])
    if service.get("ports"):
        variables["SAGEMAKER_BIND_TO_PORT"] = service["ports"][0].partition(":")[0]
    word = service.get("command", "train")  # of a training image, where the file names no command
    command = [os.environ["MEDLOOM_PYTHON"], "-m", "medloom.container", word]
    before = [] if names is None else [*_NAMED, str(names)]
    return subprocess.Popen([*before, *command], env=variables, cwd=base / "tmp", start_new_session=True)


def first_of(running: list[subprocess.Popen[bytes]]) -> int:
    """Wait for the first that ends, and end the others; its exit code."""
    while True:
        ended, status = os.wait()
        for one in running:
            if one.pid == ended:
                one.returncode = code = os.waitstatus_to_exitcode(status)
                stop(running)
                return code


def stop(running: list[subprocess.Popen[bytes]]) -> None:
    """Stop containers as ``docker stop`` does."""
    for one in running:
        if one.poll() is None:
            one.terminate()
    for one in running:
        try:
            one.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            one.kill()
            one.wait()


def run(compose: Path) -> int:
    """Run the services of a compose file; the exit code."""
    services = yaml.safe_load(compose.read_text())["services"]
    names = None
    if len(services) > 1:
        names = compose.parent / "hosts"
        names.write_text(f"127.0.0.1 localhost {' '.join(services)}\n")
    running = [started(service, compose.parent / f"machine-{host}", names) for host, service in services.items()]
    signal.signal(signal.SIGTERM, lambda *_: stop(running) or sys.exit(0))
    try:
        return first_of(running)
    finally:
        stop(running)
        for host in services:
            shutil.rmtree(compose.parent / f"machine-{host}" / "tmp", ignore_errors=True)


if __name__ == "__main__":
    if sys.argv[1:3] == ["compose", "version"]:
        sys.stdout.write("Docker Compose version v2.30.0\n")
        sys.exit(0)
    sys.exit(run(Path(sys.argv[sys.argv.index("-f") + 1])))
