"""The bundle: write, read, verify. ``export`` (from a network to ONNX) imports torch and stands apart."""

from __future__ import annotations

from medloom.packaging.bundle import Bundle, load, read_bundle
from medloom.packaging.golden import VerifyReport, verify
from medloom.packaging.manifest import Manifest, Validation
from medloom.packaging.record import write_validated
from medloom.packaging.writer import write_bundle

__all__ = [
    "Bundle",
    "Manifest",
    "Validation",
    "VerifyReport",
    "load",
    "read_bundle",
    "verify",
    "write_bundle",
    "write_validated",
]
