"""A client of a Medloom server: sends files, arrays, series and metadata, returns what ``medloom.load`` would."""

from medloom.client.client import AsyncClient, Client
from medloom.client.retries import Retries

__all__ = ["AsyncClient", "Client", "Retries"]
