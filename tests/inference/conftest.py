import numpy as np
import pytest

from medloom.inference import OperatingPoint, Predictor
from medloom.recipe import NormaliseConfig, PreprocessConfig
from medloom.transforms.preprocess import Preprocess


class FakeRuntime:
    """Gives the last channel, clipped to 0..1; counts its calls."""

    name = "fake"

    def __init__(self):
        self.batches = []

    def run(self, batch_nchw):
        self.batches.append(batch_nchw.shape[0])
        return np.clip(batch_nchw[:, -1:], 0.0, 1.0).astype(np.float32)


@pytest.fixture
def make_predictor():
    def make(runtime=None, *, size=(32, 32), channels=("a", "b", "c"), point=None, **options):
        config = PreprocessConfig(size=size, normalise=NormaliseConfig(method="none"), **options.pop("preprocess", {}))
        return Predictor(
            runtime or FakeRuntime(),
            Preprocess(config),
            ("background", "lesion"),
            channels,
            point or OperatingPoint(0.5, 0),
            **options,
        )

    return make
