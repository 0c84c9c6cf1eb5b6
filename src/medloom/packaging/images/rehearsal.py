"""What a server imports until its first answer, compiled when the image is built: later nothing can be written."""

from __future__ import annotations

import importlib
import pkgutil
import py_compile
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["compile_what_is_used", "import_what_serves"]

_ROOMS = ("medloom.imaging", "medloom.inference", "medloom.packaging", "medloom.serving")
_COMMANDS = ("batch", "doctor", "drift", "inspect", "predict", "serve", "verify")
_NOT_HERE = (
    "medloom.imaging.deidentify",
    "medloom.inference.runtimes",
    "medloom.packaging.code",
    "medloom.packaging.export",
    "medloom.serving.batch.labelled",
)
"""What needs the libraries of preparing or training, or one runtime of several."""

_LIBRARIES = (
    "PIL.Image",
    "awslambdaric.bootstrap",
    "awslambdaric.lambda_runtime_client",
    "highdicom",
    "nibabel",
    "onnxruntime",
    "openvino",
    "pydicom",
    "simplejpeg",
    "tifffile",
    "uvloop",
)


def import_what_serves() -> None:
    """Import every module that a server or a batch may come to need."""
    for room in _ROOMS:
        package = importlib.import_module(room)
        for module in pkgutil.walk_packages(package.__path__, f"{room}."):
            if not module.name.startswith(_NOT_HERE):
                importlib.import_module(module.name)
    for command in ("lambda_", "serving"):
        importlib.import_module(f"medloom.container.{command}")
    for command in _COMMANDS:
        importlib.import_module(f"medloom.cli.{command}")
    for library in _LIBRARIES:
        with suppress(ModuleNotFoundError):  # of the two runtimes one is there
            importlib.import_module(library)


def compile_what_is_used() -> int:
    """Compile what is imported by now to where Python looks for it, and trust it from then on without looking at times.

    Returns:
        How many modules.
    """
    from PIL import Image

    Image.init()  # its formats, which it imports on first use
    count = 0
    for module in list(sys.modules.values()):
        spec = getattr(module, "__spec__", None)
        if spec is not None and spec.cached is not None and spec.origin is not None and Path(spec.origin).is_file():
            py_compile.compile(
                spec.origin, spec.cached, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
            )
            count += 1
    return count
