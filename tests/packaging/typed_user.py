"""A user's script, checked by mypy with the sources (`make check`), and run by ``test_typed.py``.

Where a type is not what is asserted here, the check fails.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import medloom
from medloom.errors import MedloomError
from medloom.imaging import Volume
from medloom.inference import (
    LabelPrediction,
    LabelVolumePrediction,
    MaskPrediction,
    Prediction,
    Predictor,
    VolumePrediction,
)


def segment(bundle: Path, pixels: NDArray[Any], volume: Volume) -> tuple[int, int]:
    """Return foreground pixels and voxels."""
    predictor = medloom.load(bundle, kind="masks", threads=1, providers=["CPUExecutionProvider"])
    assert_type(predictor, Predictor[MaskPrediction, VolumePrediction])
    found = predictor.at(predictor.point).predict(pixels)
    assert_type(found.mask, NDArray[np.uint8])
    whole = predictor.predict(volume)
    assert_type(whole, VolumePrediction)
    both = predictor.predict_batch([pixels, b"no image"])
    assert_type(both, list[MaskPrediction | MedloomError])
    assert_type(predictor.predict_batch([pixels], on_error="raise"), list[MaskPrediction])
    areas = [one.area_px for one in both if not isinstance(one, MedloomError)]
    return sum(areas), whole.area_px


def classify(bundle: Path, pixels: NDArray[Any], volume: Volume) -> tuple[str, ...]:
    """Return the decision."""
    predictor = medloom.load(bundle, kind="binary")
    assert_type(predictor, Predictor[LabelPrediction, LabelVolumePrediction])
    assert_type(predictor.predict(volume), LabelVolumePrediction)
    return predictor.predict(pixels).decision


def whatever(bundle: Path, pixels: NDArray[Any]) -> dict[str, Any]:
    """Return the answer of any bundle."""
    predictor = medloom.load(bundle)
    found = predictor.predict(pixels)
    assert_type(found, Prediction)
    return found.plain()
