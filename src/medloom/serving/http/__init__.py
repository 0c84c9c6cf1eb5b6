"""The service over HTTP: ``create_app`` makes the application, ``server`` runs it with uvicorn."""

from __future__ import annotations
