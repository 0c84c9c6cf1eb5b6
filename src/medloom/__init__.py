"""Medloom: from a folder of medical images to a measured, packaged, served model.

Example:
    >>> import medloom
    >>> predictor = medloom.load("runs/brain/model.tar.gz")  # doctest: +SKIP
    >>> prediction = predictor.predict(open("slice.tif", "rb").read())  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from medloom.inference import LabelPredictor, Predictor

__all__ = ["__version__", "load"]

__version__ = "0.1.0"


def load(bundle: str | Path, *, runtime: str | None = None) -> Predictor | LabelPredictor:
    """Load a bundle and return its predictor.

    Args:
        bundle: A ``model.tar.gz`` or the folder it was extracted to.
        runtime: ``onnx``, ``openvino`` or ``torch``; the bundle's own choice by default.

    Returns:
        A ``Predictor`` for segmentation, a ``LabelPredictor`` for classification; ready to take raw image bytes.

    Raises:
        BundleError: If the bundle is damaged, tampered with or of another format.
    """
    from medloom.packaging import load as load_bundle  # imported on use: ``import medloom`` stays light

    return load_bundle(bundle, runtime=runtime)
