"""The server: models by name, one prediction path, and HTTP around it. ``http.server`` runs it with uvicorn."""

from __future__ import annotations

from medloom.serving.admission import Admission, Limits
from medloom.serving.answers import NotAcceptableError, check_accept, encode_prediction
from medloom.serving.http.app import create_app
from medloom.serving.models import Model, Models
from medloom.serving.requests import ImageRequest, predict, read_request
from medloom.serving.service import Answer, Observer, Seen, Service

__all__ = [
    "Admission",
    "Answer",
    "ImageRequest",
    "Limits",
    "Model",
    "Models",
    "NotAcceptableError",
    "Observer",
    "Seen",
    "Service",
    "check_accept",
    "create_app",
    "encode_prediction",
    "predict",
    "read_request",
]
