"""What every format promises: pixels or a DecodeError, whatever comes in."""

import gc
import sys
import threading
import tracemalloc

import numpy as np
import pytest

import medloom.imaging
from medloom.errors import DecodeError
from medloom.imaging import (
    CONTENT_TYPES,
    FORMATS_BY_SUFFIX,
    Budget,
    available_codecs,
    decode,
    inspect,
    sniff,
)

NAMES = [
    "tiff-raw", "tiff-lzw", "tiff-deflate", "tiff-packbits", "tiff-jpeg-tiles", "tiff-big", "tiff-g4",
    "png-rgb", "png-16", "png-palette", "jpeg", "jpeg-progressive", "jpeg-grey", "jpeg-cmyk", "npy", "npy-fortran",
    "bmp", "bmp-grey", "bmp-palette", "gif", "gif-transparent", "webp-lossless", "webp-alpha", "webp-lossy",
    "dicom-raw", "dicom-rgb", "dicom-rle", "dicom-jpeg", "dicom-jpegls", "dicom-j2k",
]  # fmt: skip


def outcome(data, **options):
    """Return the pixels or the DecodeError; anything else is the test's failure."""
    try:
        return decode(data, **options)
    except DecodeError as error:
        return error


def mutant(data, rng):
    """Flip bytes, cut, repeat or overwrite a piece."""
    changed = bytearray(data)
    kind = rng.integers(5)
    at = int(rng.integers(len(data)))
    if kind == 0:
        return bytes(changed[:at])
    if kind == 1:
        piece = bytes(changed[at : at + int(rng.integers(1, 64))])
        return bytes(changed[:at]) + piece * int(rng.integers(1, 4)) + bytes(changed[at:])
    if kind == 2:
        changed[at : at + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\1\0\0\0"])
    for position in rng.integers(len(changed), size=int(rng.integers(1, 6))):
        changed[position] ^= int(rng.integers(1, 256))
    if kind == 4:  # headers are where lies matter
        changed[int(rng.integers(min(160, len(changed))))] = int(rng.integers(256))
    return bytes(changed)


def attack(data, count, seed):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        hostile = mutant(data, rng)
        result = outcome(hostile, page=None if rng.integers(2) else 0)
        if isinstance(result, DecodeError):
            assert result.http in (400, 413, 415)
        else:
            assert result.pixels.nbytes <= Budget().max_decoded_bytes
            assert result.pixels.ndim == 3
            assert np.isfinite(result.pixels).all()
            if result.format != "tiff":
                assert inspect(hostile).shape == result.pixels.shape


def test_the_corpus_is_complete(corpus):
    assert sorted(corpus) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_header_and_pixels_agree(corpus, name):
    image, header = decode(corpus[name]), inspect(corpus[name])
    assert header.shape == image.pixels.shape
    assert header.dtype == image.pixels.dtype.name
    assert header.nbytes == image.pixels.nbytes
    assert header.format == image.format == sniff(corpus[name]) == name.partition("-")[0]
    assert image.pixels.flags.c_contiguous
    assert image.pixels.flags.writeable
    assert image.spacing_mm is None


@pytest.mark.parametrize("name", NAMES)
def test_cut_at_every_sixteenth_is_truncated(corpus, name):
    data = corpus[name]
    for part in range(1, 16):
        with pytest.raises(DecodeError) as caught:
            decode(data[: len(data) * part // 16])
        assert caught.value.code == "truncated"


@pytest.mark.parametrize("name", NAMES)
def test_cut_at_any_of_the_first_and_last_bytes_is_refused(corpus, name):
    data = corpus[name]
    for length in {*range(1, 64), *range(len(data) - 16, len(data))}:
        assert isinstance(outcome(data[:length]), DecodeError), length


@pytest.mark.parametrize("name", NAMES)
def test_mutants_end_in_pixels_or_a_decode_error(corpus, name, capfd, recwarn):
    attack(corpus[name], 60, seed=NAMES.index(name))
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


@pytest.mark.parametrize("name", NAMES)
def test_refusals_cost_no_reference_to_none(corpus, name):
    """A decoder that loses one for each bad file ends a Python 3.11 server after some thousands of them."""
    data = corpus[name]
    hostile = [data[: len(data) // 2], bytes(byte ^ 0x55 for byte in data[: len(data) // 2]) + data[len(data) // 2 :]]
    for _ in range(3):
        rng = np.random.default_rng(5)
        hostile += [mutant(data, rng) for _ in range(20)]
    gc.collect()  # what other tests left behind holds references too
    gc.disable()
    try:
        before = sys.getrefcount(None)
        for _ in range(5):
            for item in hostile:
                outcome(item, page=0)
        assert sys.getrefcount(None) > before - 50
    finally:
        gc.enable()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_thousands_of_mutants_end_in_pixels_or_a_decode_error(corpus, name):
    attack(corpus[name], 600, seed=1000 + NAMES.index(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_good_image_is_the_same_after_hostile_ones(corpus, name):
    before = decode(corpus[name]).pixels.tobytes()
    rng = np.random.default_rng(3)
    for other in NAMES:
        outcome(mutant(corpus[other], rng))
        outcome(corpus[other][: len(corpus[other]) // 2])
    assert decode(corpus[name]).pixels.tobytes() == before


def test_threads_do_not_disturb_each_other(corpus):
    expected = {name: decode(corpus[name]).pixels.tobytes() for name in NAMES}
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for name in rng.permutation(NAMES):
            outcome(mutant(corpus[name], rng))
            if decode(corpus[name]).pixels.tobytes() != expected[name]:
                wrong.append(name)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("name", NAMES)
def test_headers_are_read_without_allocating_pixels(corpus, name):
    inspect(corpus[name])
    tracemalloc.start()
    try:
        inspect(corpus[name])
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024
    finally:
        tracemalloc.stop()


def test_bombs_are_refused_without_allocating(png_of_header):
    huge = b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000, 100000), }"
    npy = b"\x93NUMPY\x01\x00" + len(huge).to_bytes(2, "little") + huge
    for bomb in (png_of_header(20_000, 20_000), png_of_header(999_999, 50, depth=16, colour=6), npy):
        tracemalloc.start()
        try:
            assert outcome(bomb).code == "too_large"
            assert tracemalloc.get_traced_memory()[1] < 2**20
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "budget", [Budget(max_bytes=100), Budget(max_pixels=40 * 48 - 1), Budget(max_decoded_bytes=40 * 48 - 1),
               Budget(ratio_above_bytes=100, max_ratio=0)],
)  # fmt: skip
def test_every_limit_can_be_lowered(corpus, name, budget):
    assert outcome(corpus[name], budget=budget).code == "too_large"


def test_the_budget_is_inclusive(corpus):
    data = corpus["png-rgb"]
    budget = Budget(max_bytes=len(data), max_pixels=40 * 48, max_decoded_bytes=40 * 48 * 3, max_frames=1)
    assert decode(data, budget=budget).pixels.shape == (40, 48, 3)


def test_nothing_is_no_image():
    assert outcome(b"").code == "empty"
    for junk in (b"RIFF" + bytes(50), b"GIF88a" + bytes(50), bytes(200), b"%PDF-1.7", b"PK\x03\x04", b"{}"):
        assert outcome(junk).code == "unsupported"
        assert outcome(junk).http == 415


@pytest.mark.parametrize("name", NAMES)
def test_a_type_declared_wrongly_is_a_mismatch(corpus, name):
    own = name.partition("-")[0]
    for content_type, format_name in CONTENT_TYPES.items():
        result = outcome(corpus[name], content_type=f"{content_type.upper()}; q=1")
        if format_name == own:
            assert result.format == own
        else:
            assert (result.code, result.http) == ("mismatch", 415)


@pytest.mark.parametrize("content_type", [None, "", "application/octet-stream"])
def test_a_type_not_declared_is_found(corpus, content_type):
    assert decode(corpus["jpeg"], content_type=content_type).format == "jpeg"


def test_an_unknown_declared_type_is_unsupported_and_not_repeated(corpus):
    result = outcome(corpus["jpeg"], content_type="image/<script>")
    assert (result.code, result.http) == ("unsupported", 415)
    assert "script" not in str(result)
    assert "image/png" in str(result)


def test_a_page_is_refused_where_there_is_only_one(corpus):
    for name in NAMES:
        assert decode(corpus[name], page=0).pixels.size
        assert outcome(corpus[name], page=1).code == "page_required"


def test_constant_and_tiny_images_decode(write_npy, write_tiff):
    for shape in ((1, 1), (1, 7), (7, 1)):
        for data in (write_npy(np.zeros(shape, "uint8")), write_tiff(np.full(shape, 9, "uint16"))):
            assert decode(data).pixels.shape == (*shape, 1)


def test_every_format_has_suffixes_types_and_a_codec():
    names = {"dicom", "tiff", "png", "jpeg", "bmp", "gif", "webp", "npy", "nifti"}
    assert set(CONTENT_TYPES.values()) == set(FORMATS_BY_SUFFIX.values()) == set(available_codecs()) == names
    assert FORMATS_BY_SUFFIX[".tif"] == "tiff"
    assert FORMATS_BY_SUFFIX[".jpeg"] == "jpeg"
    assert "LZW" in available_codecs()["tiff"]


def test_the_front_door_is_narrow():
    assert sorted(medloom.imaging.__all__) == sorted(
        ["CONTENT_TYPES", "DEFAULT_BUDGET", "FILE_BUDGET", "FORMATS_BY_SUFFIX", "Budget", "Header", "Image", "Volume",
         "Window", "apply_window", "available_codecs", "decode", "encode_png", "inspect", "read_frames", "read_series",
         "read_volume", "sniff", "strip_suffix", "to_grey", "transfer_syntaxes"]
    )  # fmt: skip
