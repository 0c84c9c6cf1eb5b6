"""``medloom ui``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from medloom.cli.options import RUNS, RunsOption
from medloom.cli.output import say
from medloom.errors import UserError

__all__ = ["command"]

_FULL = "mlflow"
"""The distribution that holds the pages. What it needs for them, such as flask, may be there for other reasons."""


def command(
    runs: RunsOption = RUNS,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 5000,
) -> None:
    """Open MLflow's pages on the runs that are tracked beside them, for this machine alone.

    For runs that a server tracks, open the server's address.
    """
    from medloom.tracking.mlflow import store_beside

    store, files = store_beside(runs)
    _check(runs)
    say(f"MLflow on http://127.0.0.1:{port} (Ctrl-C stops)")
    program = [sys.executable, "-P", "-m", "mlflow", "server", "--backend-store-uri", store]
    program += ["--default-artifact-root", str(files), "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # it would start seven more processes for jobs, of which a person who looks at runs has none
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **os.environ}
    raise typer.Exit(subprocess.run(program, check=False, env=environment).returncode)  # noqa: S603 - no shell


def _check(runs: Path) -> None:
    """Raise if the pages cannot be opened, saying what to type."""
    if version_of(_FULL) is None:
        client = version_of("mlflow-skinny")
        version = "" if client is None else f"=={client}"  # the one that fits the client that is installed
        raise UserError(
            "MLflow's pages need the full mlflow, which is not installed; install it with: "
            f"pip install 'mlflow{version}'"
        )
    if not (runs / "mlflow.db").is_file():
        raise UserError(
            f"no run in {runs} was tracked yet: `medloom run RECIPE --set tracking=[mlflow]`, or `medloom track RUN`"
        )


def version_of(distribution: str) -> str | None:
    """Return the version of what is installed under a name; None if nothing is."""
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
