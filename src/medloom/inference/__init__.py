"""From an image to a prediction: ``Predictor``, the runtimes behind it, and post-processing."""

from __future__ import annotations

from medloom.inference.base import Prepared
from medloom.inference.labels import LabelPrediction, LabelPredictor, MetadataGaps
from medloom.inference.postprocess import OperatingPoint, erase_small, lesion_probability, postprocess, to_mask
from medloom.inference.predictor import Prediction, Predictor
from medloom.inference.runtimes import RUNTIMES, NetworkSpec, Runtime, build_runtime

__all__ = [
    "RUNTIMES",
    "LabelPrediction",
    "LabelPredictor",
    "MetadataGaps",
    "NetworkSpec",
    "OperatingPoint",
    "Prediction",
    "Predictor",
    "Prepared",
    "Runtime",
    "build_runtime",
    "erase_small",
    "lesion_probability",
    "postprocess",
    "to_mask",
]
