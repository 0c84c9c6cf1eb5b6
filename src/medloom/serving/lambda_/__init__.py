"""AWS Lambda: requests and events of storage, answered as ``medloom serve`` does, by one model."""

from __future__ import annotations

from medloom.serving.lambda_.context import LIMITS, Context
from medloom.serving.lambda_.function import Function
from medloom.serving.lambda_.settings import VARIABLES, Settings

__all__ = ["LIMITS", "VARIABLES", "Context", "Function", "Settings"]
