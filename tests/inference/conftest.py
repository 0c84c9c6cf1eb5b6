import io

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from medloom.inference import LabelPoint, MaskPoint, Predictor, default_point
from medloom.targets import Target
from medloom.transforms import Normalise, Preprocess

AS_IT_IS = Normalise(method="none")


class FakeRuntime:
    """Gives the last channel, clipped to 0..1; counts its calls."""

    name = "fake"

    def __init__(self):
        self.batches = []

    def run(self, batch_nchw, table_nf=None):
        self.batches.append(batch_nchw.shape[0])
        return np.clip(batch_nchw[:, -1:], 0.0, 1.0).astype(np.float32)


@pytest.fixture
def make_predictor():
    """Make a predictor of masks: ``make_predictor(runtime, size=..., point=..., ...)``."""

    def make(
        runtime=None, *, size=(32, 32), channels=("a", "b", "c"), names=("background", "lesion"), point=None, **options
    ):
        preprocess = Preprocess(size=size, normalise=AS_IT_IS, **options.pop("preprocess", {}))
        target = Target("masks", names)
        point = point or MaskPoint(0.5, 0)
        return Predictor(runtime or FakeRuntime(), preprocess, target, channels, point=point, **options)

    return make


class LinearRuntime:
    """Answers ``means @ weights.T`` plus the sum of the metadata, and sigmoid where it is asked for; keeps its calls.

    A view of the image that is moved or mirrored has another answer, because each column weighs as its number.
    """

    name = "linear"

    def __init__(self, outputs=1, sigmoid=True):
        self.outputs, self.sigmoid, self.calls = outputs, sigmoid, []

    def run(self, batch_nchw, table_nf=None):
        self.calls.append((batch_nchw.copy(), table_nf))
        columns = np.linspace(0.0, 2.0, batch_nchw.shape[-1])
        rows = np.linspace(1.5, 0.5, batch_nchw.shape[-2])[:, None]
        mean = (batch_nchw.astype(np.float64) * columns * rows).mean(axis=(1, 2, 3))
        mean = mean + (0.0 if table_nf is None else table_nf.sum(axis=1))
        logits = mean[:, None] * np.arange(1, self.outputs + 1)
        return (1.0 / (1.0 + np.exp(-logits)) if self.sigmoid else logits).astype(np.float32)


@pytest.fixture
def linear_runtime():
    return LinearRuntime


@pytest.fixture
def make_labels():
    """Make a predictor of labels: ``make_labels(runtime, kind=..., names=..., thresholds=..., ...)``."""

    def make(
        runtime=None,
        *,
        size=(16, 16),
        channels=("grey",),
        kind="binary",
        names=("benign", "malignant"),
        thresholds=None,
        **options,
    ):
        target = Target(kind, names)
        point = default_point(target) if thresholds is None else LabelPoint(thresholds)
        preprocess = Preprocess(size=size, normalise=AS_IT_IS)
        return Predictor(runtime or LinearRuntime(), preprocess, target, channels, point=point, **options)

    return make


@pytest.fixture(scope="session")
def write_dicom():
    """Write a grey DICOM file with pydicom, of one frame (H, W) or several (N, H, W)."""

    def write(pixels, **attributes):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3.4"
        data.SeriesInstanceUID = "1.2.3"
        data.Rows, data.Columns = pixels.shape[-2:]
        if pixels.ndim == 3:
            data.NumberOfFrames = len(pixels)
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 8 * pixels.itemsize
        data.HighBit, data.PixelRepresentation = data.BitsStored - 1, 0
        stored = pixels.tobytes()
        data.PixelData = stored + bytes(len(stored) % 2)
        data["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
        for name, value in attributes.items():
            setattr(data, name, value)
        stream = io.BytesIO()
        data.save_as(stream, enforce_file_format=True)
        return stream.getvalue()

    return write


@pytest.fixture(scope="session")
def write_enhanced(write_dicom):
    """Write voxels (D, H, W) as one enhanced DICOM file, its frames from high to low; ``placed`` or without places."""

    def item(**attributes):
        found = Dataset()
        for name, value in attributes.items():
            setattr(found, name, value)
        return found

    def write(voxels, spacing_mm=(2.5, 0.5, 0.75), placed=True, **attributes):
        heights = [30 + number * spacing_mm[0] for number in range(len(voxels))]
        positions = [item(PlanePositionSequence=[item(ImagePositionPatient=[10, -20, height])]) for height in heights]
        shared = item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            PixelMeasuresSequence=[item(PixelSpacing=list(spacing_mm[1:]))],
        )
        groups = {"PerFrameFunctionalGroupsSequence": positions[::-1], "SharedFunctionalGroupsSequence": [shared]}
        return write_dicom(np.ascontiguousarray(voxels[::-1]), **(groups if placed else {}), **attributes)

    return write


@pytest.fixture(scope="session")
def write_series(write_dicom):
    """Write the slices of voxels (D, H, W) as DICOM files of one series, from high to low."""

    def write(voxels, spacing_mm=(2.5, 0.5, 0.75), **attributes):
        return [
            write_dicom(
                plane,
                ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                ImagePositionPatient=[10, -20, 30 + number * spacing_mm[0]],
                PixelSpacing=list(spacing_mm[1:]),
                **attributes,
            )
            for number, plane in reversed(list(enumerate(voxels)))
        ]

    return write
