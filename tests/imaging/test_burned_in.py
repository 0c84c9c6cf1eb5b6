"""Text drawn into pixels is seen; anatomy, noise, markers and rulers are not taken for it."""

import importlib.util
import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    UltrasoundMultiFrameImageStorage,
)
from scipy import ndimage

from medloom.data.phantom import PhantomPlan, phantom_patient
from medloom.data.phantom.chest import chest_image
from medloom.errors import UserError
from medloom.imaging.deidentify import Deidentifier, has_text

FIRST = ["MIRIAM", "JONAS", "Lidia", "OSKAR", "Tomasz", "INGRID", "Hugo", "SELMA"]
LAST = ["MUSTERMANN", "Kowalska", "OKAFOR", "Tanaka", "BERGER", "Moreau", "LINDQVIST", "Rossi"]


def font_files():
    """Pillow's own font, and those of matplotlib where it is."""
    found = importlib.util.find_spec("matplotlib")
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" if found else Path()
    names = ("DejaVuSans", "DejaVuSansMono", "DejaVuSans-Bold", "DejaVuSerif")
    return [None, *(folder / f"{name}.ttf" for name in names if (folder / f"{name}.ttf").is_file())]


def drawn(lines, size, path=None):
    """Lines of text as a coverage from 0 to 1."""
    font = ImageFont.load_default(size=size) if path is None else ImageFont.truetype(str(path), size)
    width, height = int(max(map(font.getlength, lines))) + 8, int(1.25 * size * len(lines)) + 8
    picture = PillowImage.new("L", (width, height), 0)
    for number, line in enumerate(lines):
        ImageDraw.Draw(picture).text((4, 3 + 1.25 * size * number), line, fill=255, font=font)
    return np.asarray(picture, np.float64) / 255


def written(image, text, at=(3, 3), ink=None, paper=None):
    """``image`` with ``text`` on it: its coverage is mixed with what is below, or with a box of ``paper``."""
    out, (y, x) = image.astype(np.float64), at
    place = out[y : y + text.shape[0], x : x + text.shape[1]]
    text = text[: place.shape[0], : place.shape[1]]
    ink = out.max() if ink is None else ink
    place[:] = (place if paper is None else paper) * (1 - text) + ink * text
    return out.round().astype(image.dtype)


def brain(rng):
    plan = PhantomPlan(size=256, slices=(4, 6), seed=int(rng.integers(1000)))
    slices = [image for image, _ in phantom_patient(plan, 1)]
    return slices[len(slices) // 2][..., int(rng.integers(3))]


def radiograph(rng, size=600):
    return chest_image(rng, size, ill=bool(rng.integers(2)))


def body(rng, size=512):
    """Smooth organs with sharp borders and noise, as in CT; 12 bits."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    inside = (x / 0.42) ** 2 + (y / 0.32) ** 2 < 1
    image = np.where(inside, 1100.0, 0.0)
    for _ in range(12):
        right, down, wide, tall = *rng.uniform(-0.3, 0.3, 2), *rng.uniform(0.02, 0.12, 2)
        image[(((x - right) / wide) ** 2 + ((y - down) / tall) ** 2 < 1) & inside] = rng.uniform(100, 2400)
    return (ndimage.gaussian_filter(image, 1) + rng.normal(50, 20, image.shape)).clip(0, 4095).astype(np.uint16)


def speckle(rng):
    """A sector of speckle, as in ultrasound."""
    y, x = np.mgrid[:480, :640] / 640
    sector = (np.abs(np.arctan2(x - 0.5, y + 1e-3)) < 0.7) & (np.hypot(x - 0.5, y) < 0.7)
    noise = ndimage.gaussian_filter(rng.normal(size=y.shape), (1, 2.5))
    return (70 * np.abs(noise / noise.std()) * sector).clip(0, 255).astype(np.uint8)


MAKERS = [brain, radiograph, body, speckle]


def planted(rng, image):
    """An invented name, date or number, drawn so that a person can read it."""
    name = f"{rng.choice(LAST)}^{rng.choice(FIRST)}"
    date, number = f"{rng.integers(1, 29):02d}.{rng.integers(1, 13):02d}.19{rng.integers(30, 99)}", rng.integers(10**7)
    lines = [[name], [name, date], [f"ID {number:07d}"], [f"{name.replace('^', ', ')} {date}"]][int(rng.integers(4))]
    path = font_files()[int(rng.integers(len(font_files())))]
    size = int(np.exp(rng.uniform(np.log(11), np.log(min(image.shape) / 12))))
    text = drawn(lines, size, path)
    while text.shape[1] > image.shape[1] - 6:
        size -= 1
        text = drawn(lines, size, path)
    corner = [(3, 3), (3, image.shape[1] - text.shape[1] - 3), (image.shape[0] - text.shape[0] - 3, 3)]
    anywhere = tuple(int(rng.integers(image.shape[axis] - text.shape[axis])) for axis in (0, 1))
    at = [*corner, anywhere][int(rng.integers(4))]
    low, high = float(image.min()), float(image.max())
    below = np.median(image[at[0] : at[0] + text.shape[0], at[1] : at[1] + text.shape[1]])
    opposite = high if below - low < high - below else low
    ink, paper = [(opposite, None), (low, high), (high, low)][int(rng.integers(3))]
    return written(image, text, at, ink, paper)


def test_text_is_seen_in_95_of_100_images_and_in_5_of_100_without_it_at_most():
    seen, wrong, count = 0, 0, 80
    for number in range(count):
        rng = np.random.default_rng([77, number])
        image = MAKERS[number % len(MAKERS)](rng)
        wrong += has_text(image)
        seen += has_text(planted(rng, image))
    assert seen >= 0.95 * count
    assert wrong <= 0.05 * count


TEXT = drawn(["MUSTERMANN^ANNA", "24.12.1951"], 16)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_text_is_seen_in_every_type_of_pixel(dtype):
    image = ndimage.gaussian_filter(np.random.default_rng(1).normal(60, 30, (300, 400)), 2).astype(dtype)
    image = image - 1024 if np.dtype(dtype).kind in "if" else image
    assert not has_text(image)
    assert has_text(written(image, TEXT, ink=float(image.min()) + 255))


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("inverted", [False, True])
def test_text_is_seen_when_it_is_dark_and_when_it_is_turned(turns, inverted):
    image = np.rot90(written(radiograph(np.random.default_rng(2), 400), TEXT, (80, 120), 255, 0), turns)
    assert has_text(255 - image if inverted else image)


@pytest.mark.parametrize("size", [11, 24, 60, 150])
def test_text_is_seen_in_a_large_radiograph(size):
    rng = np.random.default_rng(3)
    image = ndimage.zoom(radiograph(rng, 600).astype(np.float32), 3, order=1) * 40
    image = (image + rng.normal(0, 60, image.shape)).clip(0, 65535).astype(np.uint16)
    text = drawn(["KOWALSKA 1948"], size)
    assert has_text(written(image, text, (60, 50)))
    assert has_text(written(image, text, (image.shape[0] - 300, 200), 0, 9000))


def test_text_far_above_or_within_the_other_values_is_seen():
    image = body(np.random.default_rng(4))
    assert has_text(written(image, TEXT, ink=65535))
    hot = image.copy()
    hot[300, 300] = 65535  # one pixel that stretches the range must not hide it
    assert has_text(written(hot, TEXT, ink=1500))


@pytest.mark.parametrize("ink", [(255, 255, 0), (0, 255, 0), (255, 40, 40), (255, 255, 255)])
def test_coloured_text_is_seen(ink):
    image = np.repeat(speckle(np.random.default_rng(5))[..., np.newaxis], 3, axis=2)
    coloured = np.stack([written(image[..., number], TEXT, (400, 20), ink[number]) for number in range(3)], axis=2)
    assert not has_text(image)
    assert has_text(coloured)


def test_a_side_marker_is_not_text_of_a_patient():
    for letter in ("R", "L", "AP"):
        assert not has_text(written(radiograph(np.random.default_rng(6)), drawn([letter], 40), (30, 30)))


def grid_of_lines():
    return np.tile((np.arange(400) % 5 < 2) * np.uint8(200), (300, 1))


def ruler():
    image = np.full((300, 400), 20, np.uint8)
    for position in range(20, 380, 12):
        image[200 : 214 if position % 60 else 220, position : position + 2] = 255
    return image


@pytest.mark.parametrize(
    "image",
    [np.zeros((1, 1), np.uint8), np.zeros((1, 900), np.uint16), np.full((64, 64), 7, np.uint8),
     np.zeros((300, 400, 3), np.uint8), np.full((80, 80), -3.5, np.float32), grid_of_lines(), ruler(),
     np.random.default_rng(7).integers(0, 256, (400, 500), dtype=np.uint8),
     np.random.default_rng(8).normal(size=(300, 300)).astype(np.float32),
     np.add.outer(np.arange(300), np.arange(400)).astype(np.uint16)],
)  # fmt: skip
def test_what_is_empty_or_regular_or_noise_is_not_text(image):
    assert not has_text(image)


def test_the_pixels_are_not_changed():
    image = written(body(np.random.default_rng(9)), TEXT)
    before = image.copy()
    has_text(image)
    np.testing.assert_array_equal(image, before)


def dicom(frames, syntax=ExplicitVRLittleEndian, encoded=None, **attributes):
    """A CT file of frames (F, H, W)."""
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.1", "1.2.3.2", "1.2.3.3"
    dataset.PatientID, dataset.Modality, dataset.ImageType = "7", "CT", ["ORIGINAL", "PRIMARY"]
    (count, dataset.Rows, dataset.Columns), dataset.SamplesPerPixel = frames.shape, 1
    dataset.BitsAllocated = dataset.BitsStored = 8 * frames.dtype.itemsize
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    if count > 1:
        dataset.NumberOfFrames = str(count)
    dataset.PixelData = frames.tobytes() if encoded is None else encapsulate(encoded)
    dataset["PixelData"].VR = "OW" if frames.dtype.itemsize == 2 and encoded is None else "OB"
    dataset["PixelData"].is_undefined_length = encoded is not None
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


PLAIN = (body(np.random.default_rng(10), 256) // 16).astype(np.uint8)
NAMED = written(PLAIN, TEXT, ink=255)


def jpeg(image):
    stream = io.BytesIO()
    PillowImage.fromarray(image).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def compressed(image, syntax):
    dataset = pydicom.dcmread(io.BytesIO(dicom(image[np.newaxis])))
    dataset.compress(syntax, generate_instance_uid=False)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


FILES = {
    "plain": lambda image: dicom(image[np.newaxis]),
    "16 bits": lambda image: dicom(image[np.newaxis].astype(np.uint16) * 16),
    "RLE": lambda image: compressed(image, RLELossless),
    "JPEG-LS": lambda image: compressed(image, JPEGLSLossless),
    "JPEG": lambda image: dicom(image[np.newaxis], JPEGBaseline8Bit, [jpeg(image)]),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_whose_pixels_show_text_is_withheld_whatever_it_says_about_itself(kind):
    clean = Deidentifier().clean(FILES[kind](PLAIN))
    assert not clean.unseen
    data = FILES[kind](NAMED)
    with pytest.raises(UserError, match=r"seems to be burned in.*--allow-burned-in") as caught:
        Deidentifier().clean(data)
    assert "MUSTER" not in str(caught.value)
    assert Deidentifier(allow_burned_in=True).clean(data).data


def test_a_wrong_no_does_not_help_and_a_true_one_does():
    for image, modality in ((PLAIN, "US"), (PLAIN, "CT")):
        assert Deidentifier().clean(dicom(image[np.newaxis], BurnedInAnnotation="NO", Modality=modality))
    with pytest.raises(UserError, match="seems to be burned in"):
        Deidentifier().clean(dicom(NAMED[np.newaxis], BurnedInAnnotation="NO"))


@pytest.mark.parametrize("place", [0, 3, 6])
def test_text_in_the_first_the_middle_or_the_last_frame_is_seen(place):
    frames = np.stack([PLAIN] * 7)
    attributes = {"SOPClassUID": UltrasoundMultiFrameImageStorage, "BurnedInAnnotation": "NO"}
    assert not Deidentifier().clean(dicom(frames, **attributes)).unseen
    frames[place] = NAMED
    with pytest.raises(UserError, match="seems to be burned in"):
        Deidentifier().clean(dicom(frames, **attributes))


def test_pixels_that_cannot_be_decoded_are_exported_and_said_to_be_unseen():
    data = dicom(PLAIN[np.newaxis], JPEGBaseline8Bit, [b"\xff\xd8" + bytes(200) + b"\xff\xd9"])
    assert Deidentifier().clean(data).unseen
