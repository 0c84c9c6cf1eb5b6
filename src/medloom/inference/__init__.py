"""From an image to a prediction: ``Predictor``, the kinds of answer, and the runtimes behind it."""

from __future__ import annotations

from medloom.inference.answers import Difference, Point, Prediction, VolumeAnswer, default_point, point_from_plain
from medloom.inference.answers.labels import LabelPoint, LabelPrediction, LabelVolumePrediction
from medloom.inference.answers.mask_volume import VolumePrediction
from medloom.inference.answers.masks import MaskPoint, MaskPrediction
from medloom.inference.metadata import MetadataGaps
from medloom.inference.postprocess import erase_small, foreground_probability, to_mask
from medloom.inference.predictor import Predictor
from medloom.inference.prepared import Prepared
from medloom.inference.runtimes import NetworkSpec, Runtime, build_runtime, needs_weights

__all__ = [
    "Difference",
    "LabelPoint",
    "LabelPrediction",
    "LabelVolumePrediction",
    "MaskPoint",
    "MaskPrediction",
    "MetadataGaps",
    "NetworkSpec",
    "Point",
    "Prediction",
    "Predictor",
    "Prepared",
    "Runtime",
    "VolumeAnswer",
    "VolumePrediction",
    "build_runtime",
    "default_point",
    "erase_small",
    "foreground_probability",
    "needs_weights",
    "point_from_plain",
    "to_mask",
]
