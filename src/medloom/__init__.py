"""Medloom: from a folder of medical images to a measured, packaged, served model.

Example:
    >>> import medloom
    >>> result = medloom.run("brain-mri", data="images")  # doctest: +SKIP
    >>> predictor = medloom.load(result.bundle)  # doctest: +SKIP
    >>> prediction = predictor.predict(open("image.tif", "rb").read())  # doctest: +SKIP
"""

from __future__ import annotations

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
