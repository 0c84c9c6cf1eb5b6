"""What AWS Lambda calls: the handler is ``lambda_function.lambda_handler``.

Only /tmp can be written to there, and the home of whoever runs it does not exist.
"""

import os
from pathlib import Path

os.environ.setdefault("MEDLOOM_BUNDLE", str(Path(__file__).resolve().parent / "model"))
os.environ.setdefault("MEDLOOM_CACHE", "/tmp/medloom")
os.environ["HOME"] = "/tmp"

from medloom.container.lambda_ import function
from medloom.container.lambda_ import handler as lambda_handler

__all__ = ["lambda_handler"]

function()  # before the first event: what is wrong with the bundle or the settings is an error of the start
