"""``lambda``: an AWS Lambda function in a container, by AWS's own client of the runtime API.

The settings are read and the bundle is loaded once, before the first event is asked for; what is wrong with them is
told to Lambda, which has it in the function's log and metrics.
Source: https://docs.aws.amazon.com/lambda/latest/dg/python-image.html
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from medloom.errors import MedloomError, UserError
from medloom.extras import require
from medloom.imaging.fence import DecodeFence
from medloom.serving import Models, Service
from medloom.serving.fencing import new_fence
from medloom.serving.lambda_ import LIMITS, Context, Function, Settings
from medloom.serving.lambda_.settings import BUNDLE
from medloom.serving.models import Opening, fenced

__all__ = ["function", "handler", "run"]

_BUNDLES = ("/opt/medloom/model", "/opt/model")
"""Where an image of ``medloom image build serve BUNDLE`` holds its bundle, and where others may."""

_API = "AWS_LAMBDA_RUNTIME_API"


def run() -> None:
    """Answer events until Lambda ends the container.

    Raises:
        UserError: If this is not Lambda, there is no bundle, or a setting is wrong.
        MissingExtraError: If AWS's client is not installed.
        BundleError: If the bundle is damaged.
    """
    if not os.environ.get(_API):
        raise UserError(f"{_API} is not set: Lambda sets it; give another command, such as serve, elsewhere")
    client = require("awslambdaric.lambda_runtime_client", "lambda").LambdaRuntimeClient(os.environ[_API])
    try:
        function()
    except MedloomError as error:
        client.post_init_error({"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": []})
        raise
    require("awslambdaric.bootstrap", "lambda").run(f"{__name__}.handler", client)


def handler(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Answer one event; what Lambda calls."""
    return function().answer(event, context)


@cache
def function() -> Function:
    """Return what answers all events of this process, made once, with the settings of the environment.

    Raises:
        UserError: If there is no bundle, or a setting is wrong.
        BundleError: If the bundle is damaged.
    """
    logging.getLogger("medloom").setLevel(logging.INFO)  # counts and codes, no keys
    settings = Settings.read(os.environ)
    fence: DecodeFence = new_fence(LIMITS.decoders)
    model = fenced(Opening().open(_bundle(settings)), fence)
    return Function(Service(Models([model]), LIMITS), settings)


def _bundle(settings: Settings) -> Path:
    named = settings.bundle
    found = [one for one in ([named] if named else map(Path, _BUNDLES)) if one.exists()]
    if not found:
        raise UserError(f"there is no bundle at {named or ' or '.join(_BUNDLES)}; name one with {BUNDLE}")
    return found[0]
