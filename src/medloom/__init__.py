"""Medloom: from a folder of medical images to a measured, packaged, served model.

Example:
    >>> import medloom
    >>> result = medloom.run("brain-mri", data="images")  # doctest: +SKIP
    >>> predictor = medloom.load(result.bundle)  # doctest: +SKIP
    >>> prediction = predictor.predict(open("image.tif", "rb").read())  # doctest: +SKIP
"""

from __future__ import annotations

import lazy_loader

from medloom.telemetry import switch_off

__version__ = "0.1.0"

switch_off()  # before anything imports a library that reports to its maker

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
