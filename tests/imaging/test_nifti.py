"""NIfTI: header first, exact voxels and geometry, compared with nibabel."""

import gzip
import io
import tracemalloc
import zlib

import nibabel
import numpy as np
import pytest

from medloom.errors import DecodeError
from medloom.imaging import Budget, decode, inspect, sniff
from medloom.imaging.nifti import read_nifti_volume, write_nifti

OBLIQUE = np.array([[0.9, -0.2, 0.1, -30.0], [0.25, 1.1, -0.3, 12.5], [0.0, 0.4, 2.5, 7.0], [0, 0, 0, 1]])
PERMUTED = np.array([[0, 0, 2.0, 1], [1, 0, 0, 2], [0, 1, 0, 3], [0, 0, 0, 1]])
DTYPES = ["uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]


def voxels(shape=(6, 5, 4), dtype="int16"):
    rng = np.random.default_rng(3)
    return (rng.normal(size=shape) * 40 + 50).clip(0, 120).astype(dtype)


def written(data, affine=OBLIQUE, kind=nibabel.Nifti1Image, order="<", **fields):
    """Write with nibabel, then set header fields as they are to be found."""
    header = kind.header_class(endianness=order)
    header.set_data_dtype(data.dtype)
    image = kind(data, affine, header)
    raw = bytearray(image.to_bytes())
    view = np.frombuffer(raw, image.header.template_dtype.newbyteorder(order), count=1).copy()
    for name, value in fields.items():
        view[name] = value
    raw[: view.nbytes] = view.tobytes()
    return bytes(raw)


def nib(data):
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    kind = nibabel.Nifti2Image if data[4:7] == b"n+2" else nibabel.Nifti1Image
    return kind.from_bytes(data)


def refused(data, reader=decode, **options):
    with pytest.raises(DecodeError) as caught:
        reader(data, **options)
    return caught.value


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_order_and_version_equals_nibabel(dtype, order, kind):
    data = written(voxels(dtype=dtype), kind=kind, order=order)
    theirs = nib(data)
    for packed in (data, gzip.compress(data, mtime=0)):
        volume = read_nifti_volume(packed)
        assert volume.voxels.dtype == np.dtype(dtype)
        assert volume.voxels.flags.c_contiguous
        assert volume.voxels.flags.writeable
        np.testing.assert_array_equal(volume.voxels.T, np.asanyarray(theirs.dataobj))
        np.testing.assert_allclose(volume.affine, theirs.affine, atol=1e-6)
        np.testing.assert_allclose(volume.spacing_mm[::-1], nibabel.affines.voxel_sizes(theirs.affine), atol=1e-6)


@pytest.mark.parametrize("compress", [False, True])
def test_pages_are_the_slices_of_the_third_axis_with_row_j_and_column_i(compress):
    stored = voxels()
    data = written(stored)
    data = gzip.compress(data) if compress else data
    assert sniff(data) == "nifti"
    header = inspect(data)
    assert (header.shape, header.pages, header.dtype) == ((5, 6, 1), 4, "int16")
    for k in range(4):
        image = decode(data, page=k)
        np.testing.assert_array_equal(image.pixels[..., 0], stored[:, :, k].T)
        np.testing.assert_allclose(image.spacing_mm, nibabel.affines.voxel_sizes(OBLIQUE)[[1, 0]], rtol=1e-6)
    assert refused(data).code == "page_required"


def test_a_file_with_two_axes_has_one_page():
    stored = voxels((6, 5))
    image = decode(written(stored, np.diag([0.5, 0.25, 1, 1])))
    np.testing.assert_array_equal(image.pixels[..., 0], stored.T)
    assert image.spacing_mm == (0.25, 0.5)


@pytest.mark.parametrize("name", ["mask.nii", "mask.nii.gz"])
def test_what_is_predicted_page_by_page_is_written_in_the_place_it_came_from(tmp_path, name):
    source = voxels()
    data = written(source)
    volume = read_nifti_volume(data)
    masks = np.stack([decode(data, page=k).pixels[..., 0] > 50 for k in range(len(volume.voxels))])
    write_nifti(masks, volume.affine, tmp_path / name)
    theirs = nibabel.load(tmp_path / name)
    np.testing.assert_array_equal(np.asanyarray(theirs.dataobj), (source > 50).astype(np.uint8))
    np.testing.assert_array_equal(theirs.affine, nib(data).affine)
    assert theirs.get_data_dtype() == np.uint8
    assert theirs.header.get_xyzt_units()[0] == "mm"


@pytest.mark.parametrize("dtype", [*DTYPES, "bool"])
@pytest.mark.parametrize("affine", [OBLIQUE, np.diag([-1.0, -1, 3, 1]), PERMUTED])
def test_writing_and_reading_is_exact_and_the_same_bytes_each_time(affine, dtype):
    truth = voxels(dtype=dtype)
    data = write_nifti(truth, affine, compress=True)
    assert data == write_nifti(truth.copy(), affine, compress=True)
    volume = read_nifti_volume(data)
    np.testing.assert_array_equal(volume.voxels, truth)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-6)
    assert write_nifti(volume, compress=True) == data
    assert volume.notes == ()


def test_a_long_side_is_written_as_nifti_2():
    truth = np.arange(40_000, dtype=np.uint16).reshape(1, 1, -1)
    data = write_nifti(truth, np.eye(4))
    assert data[4:8] == b"n+2\0"
    np.testing.assert_array_equal(read_nifti_volume(data).voxels, truth)


@pytest.mark.parametrize(
    ("array", "affine"),
    [(np.zeros((2, 2, 2), "complex64"), np.eye(4)), (np.zeros((2, 2, 2, 2), "uint8"), np.eye(4)),
     (np.zeros((2, 0, 2), "uint8"), np.eye(4)), (np.zeros((2, 2, 2), "uint8"), None),
     (np.zeros((2, 2, 2), "uint8"), np.eye(3)), (np.zeros((2, 2, 2), "uint8"), np.full((4, 4), np.nan))],
)  # fmt: skip
def test_what_cannot_be_written_says_so(array, affine):
    with pytest.raises(ValueError, match=r"NIfTI|affine"):
        write_nifti(array, affine)


@pytest.mark.parametrize(
    ("dtype", "out"),
    [("uint8", "float32"), ("int16", "float32"), ("int32", "float64"), ("float32", "float32"), ("float64", "float64")],
)
@pytest.mark.parametrize(("slope", "inter"), [(2.5, -1024.0), (1.0, -3.0), (-0.001, 0.0)])
def test_scaling_equals_nibabel(dtype, out, slope, inter):
    data = written(voxels(dtype=dtype), scl_slope=slope, scl_inter=inter)
    volume = read_nifti_volume(data)
    assert volume.voxels.dtype == decode(data, page=1).pixels.dtype == np.dtype(inspect(data).dtype) == out
    np.testing.assert_allclose(volume.voxels.T, nib(data).get_fdata(), rtol=1e-6)
    np.testing.assert_array_equal(decode(data, page=1).pixels[..., 0], volume.voxels[1])
    assert any("slope" in note for note in volume.notes)


@pytest.mark.parametrize(("slope", "inter"), [(0, 7), (np.nan, 7), (np.nan, np.nan), (0, np.inf), (1, 0)])
def test_no_slope_means_unscaled(slope, inter):
    data = written(voxels(), scl_slope=slope, scl_inter=inter)
    assert read_nifti_volume(data).voxels.dtype == np.int16
    np.testing.assert_array_equal(read_nifti_volume(data).voxels.T, np.asanyarray(nib(data).dataobj))


@pytest.mark.parametrize(("slope", "inter"), [(1, np.nan), (1, np.inf), (np.inf, 0), (-np.inf, 0)])
def test_scaling_that_is_not_finite_is_refused(slope, inter):
    assert refused(written(voxels(), scl_slope=slope, scl_inter=inter), page=0).code == "non_finite"


def test_scaling_that_overflows_is_refused():
    data = written(voxels(dtype="float32"), scl_slope=3e38)
    assert refused(data, page=0).code == refused(data, read_nifti_volume).code == "non_finite"
    assert np.isinf(read_nifti_volume(data, nan_policy="allow").voxels).any()


@pytest.mark.parametrize("qfac", [1, -1, 0])
@pytest.mark.parametrize("quaternion", [(0, 0, 0), (1, 0, 0), (0.1, 0.2, 0.3), (0, 0.6, 0.8)])
def test_qform_equals_nibabel(quaternion, qfac):
    b, c, d = quaternion
    data = written(
        voxels(), sform_code=0, qform_code=1, quatern_b=b, quatern_c=c, quatern_d=d, qoffset_x=1, qoffset_y=-2,
        qoffset_z=300.5, pixdim=(qfac, 0.7, 1.5, 3.25, 0, 0, 0, 0),
    )  # fmt: skip
    volume = read_nifti_volume(data)
    np.testing.assert_allclose(volume.affine, nib(data).affine, atol=1e-6)
    np.testing.assert_allclose(volume.spacing_mm, (3.25, 1.5, 0.7), rtol=1e-6)


def test_sform_goes_before_qform_and_a_conflict_is_noted():
    data = written(voxels(), qform_code=1, sform_code=2, qoffset_x=99)
    volume = read_nifti_volume(data)
    np.testing.assert_allclose(volume.affine, nib(data).affine, atol=1e-6)
    assert any("disagree" in note for note in volume.notes)
    assert read_nifti_volume(write_nifti(voxels(), np.diag([1, 2, 3, 1.0]))).notes == ()


@pytest.mark.parametrize("pixdim", [(1, 0.7, 1.5, 3.25, 0, 0, 0, 0), (1, -0.7, 1.5, 0, 0, 0, 0, 0)])
def test_without_orientation_the_affine_is_nibabels(pixdim):
    data = written(voxels(), sform_code=0, qform_code=0, pixdim=pixdim)
    volume = read_nifti_volume(data)
    np.testing.assert_allclose(volume.affine, nib(data).affine, atol=1e-6)
    assert any("no orientation" in note for note in volume.notes)


def test_without_spacing_the_page_has_none():
    assert (
        decode(written(voxels(), sform_code=0, qform_code=0, pixdim=[1, 0, 0, 0, 0, 0, 0, 0]), page=0).spacing_mm
        is None
    )


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000.0), ("micron", 0.001), ("mm", 1.0), ("unknown", 1.0)])
def test_lengths_come_out_in_millimetres(unit, factor):
    image = nibabel.Nifti1Image(voxels(), np.diag([0.5, 1, 2, 1]))
    image.header.set_xyzt_units(unit)
    assert read_nifti_volume(image.to_bytes()).spacing_mm == pytest.approx((2 * factor, factor, 0.5 * factor))


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"dim": (3, -6, 5, 4, 1, 1, 1, 1)}, "corrupt"), ({"dim": (3, 0, 5, 4, 1, 1, 1, 1)}, "corrupt"),
     ({"dim": (0, 6, 5, 4, 1, 1, 1, 1)}, "corrupt"), ({"dim": (9, 6, 5, 4, 1, 1, 1, 1)}, "corrupt"),
     ({"dim": (-3, 6, 5, 4, 1, 1, 1, 1)}, "corrupt"), ({"dim": (1, 120, 1, 1, 1, 1, 1, 1)}, "unsupported"),
     ({"dim": (4, 6, 5, 2, 2, 1, 1, 1)}, "unsupported"), ({"dim": (5, 6, 5, 1, 1, 4, 1, 1)}, "unsupported"),
     ({"dim": (3, 6, 5, 5, 1, 1, 1, 1)}, "truncated"), ({"dim": (3, 6, 5, 3, 1, 1, 1, 1)}, "corrupt"),
     ({"dim": (3, 30000, 30000, 30000, 1, 1, 1, 1)}, "too_large"), ({"dim": (3, 1, 1, 30000, 1, 1, 1, 1)}, "too_large"),
     ({"dim": (3, 7000, 7000, 1000, 1, 1, 1, 1)}, "too_large"),
     ({"datatype": 32, "bitpix": 64}, "unsupported"), ({"datatype": 128, "bitpix": 24}, "unsupported"),
     ({"datatype": 1536, "bitpix": 128}, "unsupported"), ({"datatype": 0}, "unsupported"), ({"bitpix": 8}, "corrupt"),
     ({"vox_offset": 0}, "corrupt"), ({"vox_offset": -352}, "corrupt"), ({"vox_offset": np.nan}, "corrupt"),
     ({"vox_offset": np.inf}, "corrupt"), ({"vox_offset": 352.5}, "corrupt"), ({"vox_offset": 1e30}, "too_large"),
     ({"vox_offset": 1000}, "truncated"), ({"sizeof_hdr": 347}, "corrupt"),
     ({"srow_x": (np.nan, 0, 0, 0)}, "non_finite"), ({"srow_z": (0, 0, np.inf, 0)}, "non_finite"),
     ({"srow_x": 0, "srow_y": 0, "srow_z": 0}, "corrupt"),
     ({"srow_x": (0, 1, 0, 0), "srow_y": (0, 1, 0, 0)}, "corrupt"),
     ({"sform_code": 0, "pixdim": np.nan}, "non_finite"),
     ({"sform_code": 0, "qform_code": 1, "quatern_b": 5}, "corrupt"),
     ({"sform_code": 0, "qform_code": 1, "quatern_b": np.nan}, "corrupt"),
     ({"sform_code": 0, "qform_code": 1, "qoffset_x": np.nan}, "non_finite")],
)  # fmt: skip
def test_headers_that_make_no_image(fields, code):
    data = written(voxels(), **fields)
    for packed in (data, gzip.compress(data)):
        error = refused(packed, page=0)
        assert error.code == code
        assert refused(packed, read_nifti_volume).code == code
        assert refused(packed, inspect).code == code


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("behind", [b"\0" * 16, b"<xml/>", bytes(60), bytes(2**18)])
def test_bytes_behind_the_voxels_are_ignored_and_said(compress, behind):
    data = written(voxels()) + behind
    data = gzip.compress(data) if compress else data
    volume = read_nifti_volume(data)
    np.testing.assert_array_equal(volume.voxels.T, voxels())
    assert volume.notes == decode(data, page=1).notes == ("bytes behind the voxels ignored",)
    np.testing.assert_array_equal(decode(data, page=1).pixels[..., 0].T, voxels()[..., 1])
    assert inspect(data).shape == (5, 6, 1)


@pytest.mark.parametrize("compress", [False, True])
def test_whole_slices_behind_the_voxels_are_a_wrong_header(compress):
    data = written(voxels(), dim=(3, 6, 5, 3, 1, 1, 1, 1))
    data = gzip.compress(data) if compress else data
    assert refused(data, page=0).code == refused(data, read_nifti_volume).code == refused(data, inspect).code
    assert refused(data, page=0).code == "corrupt"


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("qform_code", [0, 1])
def test_a_spacing_that_is_no_number_is_that_of_a_sound_sform(value, qform_code):
    image = nibabel.Nifti1Image(voxels(), np.diag([-0.5, 1, 2, 1]))
    image.header["qform_code"] = qform_code
    data = bytearray(image.to_bytes())
    data[80:92] = np.full(3, value, "<f4").tobytes()
    volume = read_nifti_volume(bytes(data))
    assert volume.spacing_mm == (2, 1, 0.5)
    assert decode(bytes(data), page=0).spacing_mm == (1, 0.5)
    np.testing.assert_array_equal(volume.affine, image.affine)
    assert volume.notes == ("the spacing is not a finite number; that of sform was used",)


def pair(kind):
    image = kind(voxels().astype("int16"), np.eye(4))
    files = kind.make_file_map({"header": io.BytesIO(), "image": io.BytesIO()})
    image.to_file_map(files)
    return files["header"].fileobj.getvalue()


@pytest.mark.parametrize(
    ("kind", "name"),
    [(nibabel.Nifti1Pair, "NIfTI pair"), (nibabel.Nifti2Pair, "NIfTI pair"), (nibabel.AnalyzeImage, "Analyze")],
)
def test_the_header_of_a_pair_is_named_for_what_it_is(kind, name):
    error = refused(pair(kind))
    assert error.code == "unsupported"
    assert name in error.message
    assert ".img" in error.message
    assert refused(gzip.compress(pair(kind))).message == error.message


@pytest.mark.parametrize(("code", "bits", "name"), [(128, 24, "RGB24"), (2304, 32, "RGBA32"), (32, 64, "complex64")])
def test_voxels_of_other_types_are_refused_by_name(code, bits, name):
    assert name in refused(written(voxels(), datatype=code, bitpix=bits), page=0).message


def test_several_volumes_are_unsupported_with_a_hint_and_one_is_read():
    assert "one file for each volume" in refused(written(voxels((3, 4, 2, 2))), page=0).hint
    one = voxels((3, 4, 2, 1))
    np.testing.assert_array_equal(read_nifti_volume(written(one)).voxels.T, one[..., 0])


def test_a_small_file_with_lying_dimensions_costs_nothing():
    lies = [
        written(voxels(), dim=(3, *sides, 1, 1, 1, 1)) for sides in ((6000, 6000, 10), (512, 512, 2000), (900, 900, 90))
    ]
    for lie in [*lies, *map(gzip.compress, lies)]:
        for read in (inspect, decode, read_nifti_volume):
            tracemalloc.start()
            try:
                assert refused(lie + b"", read).code in ("too_large", "truncated")
                assert tracemalloc.get_traced_memory()[1] < 2**18
            finally:
                tracemalloc.stop()


def test_a_bomb_is_inflated_no_further_than_its_header_says():
    head = written(voxels())
    bomb = gzip.compress(head + bytes(80 * 2**20), 9)
    tracemalloc.start()
    try:
        assert refused(bomb, page=0).code == refused(bomb, read_nifti_volume).code == "corrupt"
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_bomb_that_its_header_announces_is_over_the_ratio():
    head = written(voxels(), dim=(3, 1000, 1000, 100, 1, 1, 1, 1))
    assert refused(gzip.compress(head[:352] + bytes(2 * 10**8), 9), page=0).code == "too_large"


def test_compressed_content_that_is_no_nifti_is_refused():
    assert refused(gzip.compress(bytes(5000))).code == "unsupported"
    assert refused(gzip.compress(b"short")).code == "truncated"
    assert refused(gzip.compress(b"")).code == "truncated"


def test_blocked_gzip_and_padding_are_read_and_litter_is_not():
    data = written(voxels())
    blocks = gzip.compress(data[:400]) + gzip.compress(data[400:])
    for good in (blocks, blocks + bytes(512)):
        np.testing.assert_array_equal(read_nifti_volume(good).voxels.T, voxels())
    assert refused(blocks + b"litter", page=0).code == "corrupt"


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_cut_at_every_sixteenth_is_refused_as_truncated(kind, compress):
    data = written(voxels((24, 20, 16)), kind=kind)
    data = gzip.compress(data) if compress else data
    for part in range(1, 16):
        piece = data[: len(data) * part // 16]
        assert refused(piece, page=0).code == "truncated", part
        assert refused(piece, read_nifti_volume).code == "truncated"
    assert refused(data[:-1], page=0).code == "truncated"


def test_a_flipped_byte_in_compressed_voxels_is_refused():
    data = bytearray(gzip.compress(written(voxels((24, 20, 16)))))
    data[-5] ^= 1
    assert refused(bytes(data), page=0).code == "corrupt"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_not_finite_are_refused_by_default(value):
    data = written(np.full((3, 3, 3), value, "float32"))
    assert refused(data, page=0).code == refused(data, read_nifti_volume).code == "non_finite"
    assert read_nifti_volume(data, nan_policy="allow").voxels.shape == (3, 3, 3)


@pytest.mark.parametrize(
    "budget", [Budget(max_bytes=100), Budget(max_pixels=29), Budget(max_decoded_bytes=239), Budget(max_frames=3),
               Budget(ratio_above_bytes=100, max_ratio=0)],
)  # fmt: skip
@pytest.mark.parametrize("compress", [False, True])
def test_every_limit_can_be_lowered(budget, compress):
    data = gzip.compress(written(voxels())) if compress else written(voxels())
    assert refused(data, page=0, budget=budget).code == "too_large"
    assert refused(data, read_nifti_volume, budget=budget).code == "too_large"


@pytest.mark.parametrize("name", ["plain", "gzip", "big"])
def test_mutants_end_in_voxels_or_a_decode_error(name, recwarn):
    data = written(
        voxels(),
        kind=nibabel.Nifti2Image if name == "big" else nibabel.Nifti1Image,
        order=">" if name == "big" else "<",
        qform_code=1,
        xyzt_units=3,
    )
    rng, outcomes = np.random.default_rng(11), set()
    for _ in range(1500):
        hostile = bytearray(data)
        for position in rng.integers(560 if rng.integers(2) else 120, size=int(rng.integers(1, 5))):
            hostile[position] = int(rng.integers(256))
        packed = bytes(hostile) if name != "gzip" else zlib.compress(bytes(hostile), 1, 31)
        if name == "gzip" and rng.integers(2):
            at = int(rng.integers(len(packed)))
            packed = packed[:at] + bytes([packed[at] ^ 255]) + packed[at + 1 :]
        for read in (read_nifti_volume, lambda item: decode(item, page=0), inspect):
            try:
                read(packed)
                outcomes.add("read")
            except DecodeError as error:
                outcomes.add(error.code)
    assert {"read", "corrupt", "truncated"} <= outcomes
    assert [str(warning.message) for warning in recwarn.list] == []


def test_the_volume_of_a_real_tool_round_trips_through_a_file(tmp_path):
    """What nibabel saves with its own scaling of float data to int16 comes out as nibabel reads it."""
    truth = np.random.default_rng(5).normal(size=(7, 8, 9)) * 1e3
    image = nibabel.Nifti1Image(truth, OBLIQUE)
    image.set_data_dtype(np.int16)
    stream = io.BytesIO()
    image.to_stream(stream)
    volume = read_nifti_volume(stream.getvalue())
    np.testing.assert_allclose(volume.voxels.T, nib(stream.getvalue()).get_fdata(), rtol=1e-6)
