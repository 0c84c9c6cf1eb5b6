"""``serve``: what SageMaker says of an endpoint or a batch transform, as arguments of ``medloom serve``.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from medloom.aws import says_yes
from medloom.errors import UserError

__all__ = ["serve_arguments"]

_BASE = "/opt/ml"
_PORT = "8080"

_BATCH_TIMEOUT_S = "590"
"""A batch transform waits 600 s for an answer, unless it says otherwise; an endpoint 60 s."""

_NUMBERS = {
    "SAGEMAKER_MAX_PAYLOAD_IN_MB": "--max-body",
    "SAGEMAKER_MODEL_SERVER_TIMEOUT": "--timeout",
    "SAGEMAKER_MODEL_SERVER_WORKERS": "--processes",
}
"""Variables whose number is one of ours. The last two are those of AWS's own servers."""


def serve_arguments(environment: Mapping[str, str]) -> list[str]:
    """Return the command that answers as SageMaker asks of a container.

    SageMaker alone reaches the container, and asks for a signature itself, so no token is asked for here. With several
    models behind one endpoint the server begins without any; SageMaker loads them.

    Args:
        environment: The environment variables.

    Raises:
        UserError: If a variable holds something else than SageMaker writes.

    Example:
        >>> serve_arguments({"SAGEMAKER_BIND_TO_PORT": "9000"})
        ['serve', '/opt/ml/model', '--host', '0.0.0.0', '--port', '9000', '--insecure']
    """
    base = Path(environment.get("SAGEMAKER_BASE_DIR") or _BASE)
    several = says_yes(environment, "SAGEMAKER_MULTI_MODEL")
    models = ["--model-folder", str(base / "models")] if several else [str(base / "model")]
    port = _number(environment, "SAGEMAKER_BIND_TO_PORT") or _PORT
    numbers = {option: said for name, option in _NUMBERS.items() if (said := _number(environment, name))}
    if several:  # what a client has loaded is in one process alone
        numbers.pop("--processes", None)
    options = ["--insecure"]
    if says_yes(environment, "SAGEMAKER_BATCH"):
        numbers.setdefault("--timeout", _BATCH_TIMEOUT_S)
        options.append("--refuse-in-records")
    options += [word for option, said in numbers.items() for word in (option, said)]
    return ["serve", *models, "--host", "0.0.0.0", "--port", port, *options]  # noqa: S104 - the container's own


def _number(environment: Mapping[str, str], name: str) -> str | None:
    said = environment.get(name) or None
    if said is not None and not said.isdecimal():
        raise UserError(f"{name}: expected a whole number; got {said!r}")
    return said
