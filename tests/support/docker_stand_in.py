"""Stands in for ``docker compose``: runs Medloom's container for each service of a compose file, without Docker.

What a volume puts below ``/opt/ml`` becomes a link below a folder of the service's own, which ``SAGEMAKER_BASE_DIR``
names. ``MEDLOOM_PYTHON`` is the interpreter.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml


def linked(volumes: list[str], base: Path) -> None:
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


def run(compose: Path) -> int:
    """Run the services one after another; the largest exit code."""
    codes = []
    for host, service in yaml.safe_load(compose.read_text())["services"].items():
        base = compose.parent / f"machine-{host}"
        base.mkdir()
        linked(service["volumes"], base)
        said = dict(one.split("=", 1) for one in service["environment"])
        variables = {**os.environ, **said, "SAGEMAKER_BASE_DIR": str(base)}
        command = [os.environ["MEDLOOM_PYTHON"], "-m", "medloom.container", "train"]
        codes.append(subprocess.run(command, env=variables).returncode)
    return max(codes)


if __name__ == "__main__":
    if sys.argv[1:3] == ["compose", "version"]:
        sys.stdout.write("Docker Compose version v2.30.0\n")
        sys.exit(0)
    sys.exit(run(Path(sys.argv[sys.argv.index("-f") + 1])))
