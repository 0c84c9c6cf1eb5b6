"""The HTTP server: one image in, one prediction out. ``server`` runs it with uvicorn."""

from __future__ import annotations

from medloom.serving.answers import NotAcceptableError, check_accept, encode_prediction
from medloom.serving.app import Limits, create_app
from medloom.serving.requests import ImageRequest, predict, read_request

__all__ = [
    "ImageRequest",
    "Limits",
    "NotAcceptableError",
    "check_accept",
    "create_app",
    "encode_prediction",
    "predict",
    "read_request",
]
