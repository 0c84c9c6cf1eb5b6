"""``lambda``: an AWS Lambda function in a container, by AWS's own client of the runtime API.

The bundle is loaded once, before the first event is asked for.
Source: https://docs.aws.amazon.com/lambda/latest/dg/python-image.html
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from medloom.errors import UserError
from medloom.extras import require
from medloom.imaging.fence import DecodeFence
from medloom.serving import Models, Service
from medloom.serving.fencing import new_fence
from medloom.serving.lambda_ import LIMITS, Context, Function
from medloom.serving.models import Opening, fenced

__all__ = ["handler", "run"]

_BUNDLES = ("/opt/medloom/model", "/opt/model")
"""Where an image of ``medloom image build serve BUNDLE`` holds its bundle, and where others may."""

_API = "AWS_LAMBDA_RUNTIME_API"


def run() -> None:
    """Answer events until Lambda ends the container.

    Raises:
        UserError: If this is not Lambda, or there is no bundle.
        MissingExtraError: If AWS's client is not installed.
        BundleError: If the bundle is damaged.
    """
    if not os.environ.get(_API):
        raise UserError(f"{_API} is not set: Lambda sets it; give another command, such as serve, elsewhere")
    client = require("awslambdaric.lambda_runtime_client", "lambda").LambdaRuntimeClient(os.environ[_API])
    _function()
    require("awslambdaric.bootstrap", "lambda").run(f"{__name__}.handler", client)


def handler(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Answer one event; what Lambda calls."""
    return _function().answer(event, context)


@cache
def _function() -> Function:
    """The model, loaded once for all events."""
    fence: DecodeFence = new_fence(LIMITS.decoders)
    model = fenced(Opening().open(_bundle()), fence)
    return Function(Service(Models([model]), LIMITS))


def _bundle() -> Path:
    named = os.environ.get("MEDLOOM_BUNDLE")
    found = [Path(one) for one in ([named] if named else _BUNDLES) if Path(one).exists()]
    if not found:
        raise UserError(f"there is no bundle at {named or ' or '.join(_BUNDLES)}; name one with MEDLOOM_BUNDLE")
    return found[0]
