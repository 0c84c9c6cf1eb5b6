"""MLflow without what it prints by itself."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator

__all__ = ["quiet"]

_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""A server that is down is left after seconds, not after minutes, and nothing is printed, unless the user says so."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """MLflow without its own lines on stderr, and without warnings about its use of other libraries."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"(mlflow|sqlalchemy|alembic)\b")
    yield
