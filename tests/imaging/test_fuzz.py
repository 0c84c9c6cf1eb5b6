"""Mutants of good files of every format, decoded in a child process: pixels or a DecodeError, and nothing else.

The child may take a gigabyte more than the parent; a signal, a hang or an exception of another kind fails the test.
"""

import gzip
import io
import multiprocessing
import re
import resource
import traceback
import zipfile
import zlib

import imagecodecs
import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from medloom.data.whole import read_whole
from medloom.errors import DecodeError
from medloom.imaging import Budget, decode, inspect
from medloom.imaging.dicom_seg import read_segmentation
from medloom.imaging.registry import FORMATS
from support.segmentations import item, make_labels, write_seg
from support.tiffs import tiff

_SECONDS = 120
_ADDRESS_SPACE = 2**30
_GROWTH = 2**28
_EXTREMES = [
    bytes([value]) * size for value in (0, 1, 0x7F, 0x80, 0xFF) for size in (1, 2, 4, 8)
] + [b"nan ", b"1e99", b"-1", b"99999999", b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"]  # fmt: skip
_DICOM_FIELD = re.compile(rb"(?:US|UL|DS|IS|CS|UI|SQ|OB|OW)")

KINDS = [
    "tiff-lzw", "tiff-big", "tiff-jpeg-tiles", "png-palette", "png-16", "jpeg", "jpeg-cmyk", "npy", "nifti", "nifti-2",
    "nifti-gz", "dicom-raw", "dicom-rgb", "dicom-rle", "dicom-jpeg", "dicom-jpegls", "dicom-j2k", "dicom-deflated",
    "dicom-palette", "dicom-lossless", "dicom-extended", "dicom-htj2k", "dicom-enhanced", "dicom-implicit",
    "dicom-big-endian", "png-exif", "dicom-modality-lut", "dicom-segments", "dicom-float", "dicom-double-deflated",
    "dicom-bare", "dicom-table", "dicom-padded", "tiff-packed", "jpeg-junk",
    "bmp", "bmp-grey", "bmp-palette", "gif", "gif-transparent", "webp-lossless", "webp-alpha", "webp-lossy",
]  # fmt: skip


def enhanced(write_dicom, make_pixels):
    def item(**attributes):
        found = Dataset()
        for name, value in attributes.items():
            setattr(found, name, value)
        return found

    own = [
        item(PixelValueTransformationSequence=Sequence([item(RescaleSlope="2", RescaleIntercept=str(number))]))
        for number in range(3)
    ]
    shared = item(PixelMeasuresSequence=Sequence([item(PixelSpacing=["1", "2"])]))
    return write_dicom(
        make_pixels((3, 20, 24), "uint16"), NumberOfFrames="3", PerFrameFunctionalGroupsSequence=Sequence(own),
        SharedFunctionalGroupsSequence=Sequence([shared]),
    )  # fmt: skip


def turned_png(write_pillow, pixels):
    exif = Image.Exif()
    exif[274] = 6
    return write_pillow(Image.fromarray(pixels), "PNG", exif=exif)


def without_head(data):
    """Return the data set of a DICOM file alone."""
    return data[144 + int.from_bytes(data[140:144], "little") :]


@pytest.fixture(scope="module")
def files(corpus, write_dicom, write_float_dicom, write_pillow, make_pixels):
    """Good files by kind."""
    deep, rgb = make_pixels((40, 48), "uint16"), make_pixels((40, 48, 3))
    volume = nibabel.Nifti1Image(make_pixels((6, 7, 8), "int16"), np.diag([1, 2, 3, 1]))
    volume_2 = nibabel.Nifti2Image(make_pixels((6, 7, 8), "float32"), np.eye(4))
    colours = ("Red", "Green", "Blue")
    table = np.arange(256, dtype="<u2").tobytes()
    palette = {
        "PhotometricInterpretation": "PALETTE COLOR",
        **{f"{colour}PaletteColorLookupTableDescriptor": [256, 0, 16] for colour in colours},
        **{f"{colour}PaletteColorLookupTableData": table for colour in colours},
    }
    modality = Dataset()
    modality.add_new("LUTDescriptor", "US", [400, 20, 16])
    modality.add_new("LUTData", "OW", np.arange(400, dtype="<u2").tobytes())
    segments = {
        "PhotometricInterpretation": "PALETTE COLOR",
        **{f"{colour}PaletteColorLookupTableDescriptor": [256, 0, 8] for colour in colours},
        **{
            f"Segmented{colour}PaletteColorLookupTableData": bytes([0, 3, 1, 2, 3, 1, 250, 90, 2, 1, 0, 0, 0, 0])
            for colour in colours
        },
    }
    shown = Dataset()
    shown.add_new("LUTDescriptor", "US", [400, 20, 12])
    shown.add_new("LUTData", "OW", np.arange(400, dtype="<u2").tobytes())
    real = make_pixels((40, 48), "float32")
    twelve = deep >> 4
    rescaled = {"RescaleSlope": "0.5", "RescaleIntercept": "-10", "PixelSpacing": ["1", "1"], "WindowCenter": "40",
                "WindowWidth": "80", "PixelPaddingValue": 0, "ImageOrientationPatient": list("100010"),
                "ImagePositionPatient": ["-1.5", "2", "30"], "PatientOrientation": ["L", "P"]}  # fmt: skip
    return {
        **{name: data for name, data in corpus.items() if name in KINDS},
        "png-exif": turned_png(write_pillow, rgb),
        "nifti": volume.to_bytes(),
        "nifti-2": volume_2.to_bytes(),
        "nifti-gz": gzip.compress(volume.to_bytes()),
        "dicom-deflated": write_dicom(deep, "1.2.840.10008.1.2.1.99"),
        "dicom-palette": write_dicom(make_pixels((40, 48)), **palette),
        "dicom-modality-lut": write_dicom(deep, ModalityLUTSequence=Sequence([modality]), PixelPaddingValue=30),
        "dicom-segments": write_dicom(make_pixels((40, 48)), **segments),
        "dicom-bare": without_head(write_dicom(deep)),
        "dicom-table": write_dicom(deep, VOILUTSequence=Sequence([shown]), PhotometricInterpretation="MONOCHROME1"),
        "dicom-padded": write_dicom(deep, PixelPaddingValue=int(deep[0, 0]), LossyImageCompression="01"),
        "tiff-packed": tiff(make_pixels((40, 48)) // 16, 4, 32773),
        "jpeg-junk": corpus["jpeg"][:20] + b"junk" + corpus["jpeg"][20:],
        "dicom-float": write_float_dicom(real, FloatPixelPaddingValue=float(real[0, 0]), RescaleSlope="2"),
        "dicom-double-deflated": write_float_dicom(real.astype(float), "1.2.840.10008.1.2.1.99"),
        "dicom-lossless": write_dicom(
            deep, "1.2.840.10008.1.2.4.70", [
                imagecodecs.jpeg8_encode(deep, lossless=True, predictor=1, bitspersample=16),
            ],
        ),
        "dicom-extended": write_dicom(
            twelve, "1.2.840.10008.1.2.4.51", [imagecodecs.jpeg8_encode(twelve, bitspersample=12)],
            BitsStored=12, HighBit=11,
        ),
        "dicom-htj2k": write_dicom(
            rgb, "1.2.840.10008.1.2.4.201", [bytes(imagecodecs.htj2k_encode(rgb, reversible=True))]
        ),
        "dicom-enhanced": enhanced(write_dicom, make_pixels),
        "dicom-implicit": write_dicom(deep, "1.2.840.10008.1.2", **rescaled),
        "dicom-big-endian": write_dicom(deep, "1.2.840.10008.1.2.2", **rescaled),
    }  # fmt: skip


def flipped(data, rng):
    changed = bytearray(data)
    for position in rng.integers(len(changed), size=int(rng.integers(1, 6))):
        changed[position] ^= int(rng.integers(1, 256))
    return bytes(changed)


def edited(data, rng):
    """Overwrite a field: after a type in DICOM, anywhere in the head elsewhere."""
    fields = [match.end() for match in _DICOM_FIELD.finditer(data[128:6000])]
    if fields and data[128:132] == b"DICM":
        at = 128 + fields[int(rng.integers(len(fields)))] + int(rng.integers(0, 6))
    else:
        at = int(rng.integers(min(600, len(data))))
    value = _EXTREMES[int(rng.integers(len(_EXTREMES)))]
    return data[:at] + value + data[at + len(value) :]


def cut(data, rng):
    return data[: int(rng.integers(len(data)))]


def spliced(data, rng):
    """Repeat, drop or move a piece."""
    start, end = sorted(int(place) for place in rng.integers(len(data), size=2))
    end = min(end, start + 200)
    at = int(rng.integers(len(data)))
    kept = data[:start] + data[end:] if rng.integers(2) else data
    return kept[:at] + data[start:end] * int(rng.integers(0, 4)) + kept[at:]


def mutant(data, rng):
    change = (flipped, edited, cut, spliced, edited)[int(rng.integers(5))]
    if data[:2] == b"\x1f\x8b" and rng.integers(2):
        return gzip.compress(change(gzip.decompress(data), rng), 1)
    if b"1.2.840.10008.1.2.1.99" in data[:400] and rng.integers(2):
        start = 144 + int.from_bytes(data[140:144], "little")
        deflater = zlib.compressobj(1, zlib.DEFLATED, -15)
        inner = change(zlib.decompressobj(-15).decompress(data[start:]), rng)
        return data[:start] + deflater.compress(inner) + deflater.flush()
    return change(data, rng)


def attack(data, count, seed, answers, survives):
    """Decode mutants; send back what went wrong first, or how many were refused and decoded, and the growth."""
    try:
        statm = [int(pages) * resource.getpagesize() for pages in open("/proc/self/statm").read().split()]  # noqa: SIM115, PTH123
        resource.setrlimit(resource.RLIMIT_AS, (statm[0] + _ADDRESS_SPACE, -1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rng, counts = np.random.default_rng(seed), [0, 0]
        for _ in range(count):
            hostile = mutant(data, rng)
            counts[survives(hostile, None if rng.integers(2) else 0)] += 1
        grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        answers.send(("done", counts, grown))
    except BaseException:
        answers.send(("failed", traceback.format_exc(), 0))


def survives(hostile, page):
    """Tell whether a mutant still decodes; what it decodes to must be what its header says, and finite."""
    try:
        image = decode(hostile, page=page)
    except DecodeError:
        return False
    assert image.pixels.ndim == 3
    assert image.pixels.nbytes <= Budget().max_decoded_bytes
    assert np.isfinite(image.pixels).all()
    assert image.format in FORMATS
    assert image.axes is None or len(set(image.axes)) == 2
    assert image.affine is None or (np.isfinite(image.affine).all() and np.linalg.det(image.affine))
    if image.format != "tiff":  # its pages may have different sizes
        assert inspect(hostile).shape == image.pixels.shape
    return True


def survives_whole(hostile, page):
    """The same for a mutant that is read as a volume."""
    try:
        volume = read_whole(hostile)
    except DecodeError:
        return False
    assert volume is None or volume.voxels.nbytes <= Budget().max_decoded_bytes
    assert volume is None or (volume.voxels.ndim == 3 and np.isfinite(volume.affine).all())
    return True


def survives_segmentation(hostile, page):
    """The same for a mutant that is read as a segmentation."""
    try:
        found = read_segmentation(hostile)
    except DecodeError:
        return False
    assert found is None or (found.values.shape == found.grid.sides[::-1] and np.isfinite(found.grid.affine).all())
    return True


def run(data, count, seed, survives=survives):
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=attack, args=(data, count, seed, sender, survives))
    child.start()
    sender.close()
    try:
        assert receiver.poll(_SECONDS), "the decoder hangs"
        kind, answer, grown = receiver.recv()
    except EOFError:
        kind, answer, grown = "failed", "the process ended by a signal", 0
    finally:
        child.join(5)
        child.kill()
        child.join()
    assert kind == "done", answer
    assert child.exitcode == 0
    assert grown < _GROWTH
    return answer


@pytest.mark.parametrize("kind", KINDS)
def test_hundreds_of_mutants_decode_or_are_refused(files, kind):
    assert decode(files[kind], page=0).format == kind.partition("-")[0]
    refused, _ = run(files[kind], 30, KINDS.index(kind))
    assert refused > 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_thousands_of_mutants_decode_or_are_refused(files, kind):
    refused, decoded = run(files[kind], 1000, 100 + KINDS.index(kind))
    assert refused > 100
    assert refused + decoded == 1000


PLACED = {"ImageOrientationPatient": list("100010"), "PixelSpacing": ["1", "1"]}


@pytest.fixture(scope="module")
def volumes(write_dicom, make_pixels):
    """Good volumes, each with what reads it."""
    positions = [item(PlanePositionSequence=[item(ImagePositionPatient=["0", "0", str(at)])]) for at in range(3)]
    frames = {"NumberOfFrames": "3", "PerFrameFunctionalGroupsSequence": positions}
    enhanced = write_dicom(make_pixels((3, 20, 24), "uint16"), **frames, **PLACED)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for at in range(3):
            plane = make_pixels((20, 24), "uint16")
            opened.writestr(f"IM{at}", write_dicom(plane, ImagePositionPatient=["0", "0", str(at)], **PLACED))
    volume = nibabel.Nifti1Image(make_pixels((6, 7, 8), "int16"), np.diag([1, 2, 3, 1]))
    return {
        "enhanced": (enhanced, survives_whole),
        "zip": (archive.getvalue(), survives_whole),
        "nifti": (gzip.compress(volume.to_bytes()), survives_whole),
        "segmentation": (write_seg(make_labels()), survives_segmentation),
        "label map": (write_seg(make_labels(), kind="LABELMAP"), survives_segmentation),
    }


VOLUMES = ["enhanced", "zip", "nifti", "segmentation", "label map"]


@pytest.mark.parametrize("kind", VOLUMES)
def test_hundreds_of_mutants_of_volumes_are_read_or_refused(volumes, kind):
    data, survives = volumes[kind]
    assert (read_segmentation if "enta" in kind or "map" in kind else read_whole)(data) is not None
    run(data, 40, VOLUMES.index(kind), survives)


@pytest.mark.slow
@pytest.mark.parametrize("kind", VOLUMES)
def test_thousands_of_mutants_of_volumes_are_read_or_refused(volumes, kind):
    data, survives = volumes[kind]
    refused, read = run(data, 1000, 100 + VOLUMES.index(kind), survives)
    assert refused > 100
    assert refused + read == 1000
