"""Every slice of a volume, frame of a DICOM and page of a TIFF is a sample; nothing is read once for each of them."""

import io

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
import yaml
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from medloom.data import PageReader, labels_of, meta_of, open_source, page_reader, pages, preparation, prepare
from medloom.data import workers as workers_file
from medloom.data.layouts import Item, Listing, natural_key
from medloom.data.pages import with_pages
from medloom.data.pseudonyms import with_pseudonyms
from medloom.errors import DataError, DecodeError, RecipeError
from medloom.imaging import DEFAULT_BUDGET, decode
from medloom.recipe import Recipe, parse_recipe
from medloom.targets import Target
from medloom.transforms import Preprocess

SIZE = 16
SPACING = (0.5, 2.0)  # row, column
MASKS = {"mask_values": {"background": 0, "lesion": 1}}
AFFINE = np.diag([-SPACING[1], -SPACING[0], 3.0, 1.0])  # as axial slices are looked at


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    monkeypatch.setattr(preparation, "describe", lambda *a, **k: {})


def nifti(voxels_dhw, suffix=".nii.gz") -> bytes:
    data = nibabel.Nifti1Image(voxels_dhw.T, AFFINE).to_bytes()
    return page_reader.gzip.compress(data, 1) if suffix.endswith(".gz") else data


def tiff(pages_dhw) -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for page in pages_dhw:
            writer.write(page, contiguous=False)
    return stream.getvalue()


def dicom(frames_dhw, syntax=ExplicitVRLittleEndian) -> bytes:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.PatientName, dataset.PatientID = "Nobody^At^All", "NOBODY"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = frames_dhw.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelSpacing = list(SPACING)
    dataset.PixelData = frames_dhw.astype("<u2").tobytes()
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def voxels(seed, depth, dtype=np.uint16):
    return np.random.default_rng(seed).integers(1, 2000, (depth, SIZE, SIZE + 2)).astype(dtype)


def lesions(seed, depth):
    """A lesion on every third slice; the first slice of every patient is blank."""
    mask = np.zeros((depth, SIZE, SIZE + 2), np.uint8)
    for number in range(1 + seed % 2, depth, 3):
        mask[number, 3 : 5 + number % 7, 4:9] = 1
    return mask


def write(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def build_recipe(data, target) -> Recipe:
    whole = {"name": "test", "target": target, "data": data, "preprocess": {"size": [SIZE, SIZE + 2]}}
    return parse_recipe(yaml.safe_dump(whole))


def volumes(suffix=".nii.gz", **data) -> Recipe:
    patterns = {"layout": "image-mask", "image": f"images/{{sample}}{suffix}", "mask": f"masks/{{sample}}{suffix}"}
    return build_recipe({**patterns, "page": "all", **data}, MASKS)


def classes(data) -> Recipe:
    return build_recipe({"page": "all", **data}, {"kind": "auto"})


def run(dataset, folder, recipe, *, workers=1):
    with open_source(dataset) as source:
        work = Preprocess.of(recipe.preprocess)
        return prepare(recipe, source, folder / "run", folder / "cache", workers=workers, preprocess=work)


WRITERS = {".nii.gz": nifti, ".nii": lambda array: nifti(array, ".nii"), ".tif": tiff}
DEPTHS = (5, 7, 12, 4)


@pytest.fixture(params=WRITERS)
def suffix(request):
    return request.param


@pytest.fixture
def folder(tmp_path, suffix):
    """Four volumes with masks."""
    files = {}
    for patient, depth in enumerate(DEPTHS):
        files[f"images/p{patient}{suffix}"] = WRITERS[suffix](voxels(patient, depth))
        files[f"masks/p{patient}{suffix}"] = WRITERS[suffix](lesions(patient, depth))
    return write(tmp_path / "set", files)


def check_slices(catalogue, store):
    for sample in catalogue.itertuples():
        patient = int(sample.image.partition(".")[0][-1])
        row = store.rows([sample.sample_id])[0]
        image, mask = voxels(patient, DEPTHS[patient]), lesions(patient, DEPTHS[patient])
        np.testing.assert_array_equal(store.images[row, 0], image[sample.frame])
        np.testing.assert_array_equal(store.masks[row], mask[sample.frame])
        assert sample.foreground_px == mask[sample.frame].sum()


def test_every_slice_is_a_sample_with_the_same_slice_of_the_mask(folder, tmp_path, suffix):
    prepared = run(folder, tmp_path, volumes(suffix))
    catalogue = prepared.catalogue
    assert len(catalogue) == prepared.facts["found"] == prepared.facts["used"] == sum(DEPTHS)
    assert catalogue.groupby("image")["frame"].apply(list).tolist() == [list(range(depth)) for depth in DEPTHS]
    check_slices(catalogue, prepared.store)


def test_slices_share_their_patient_and_are_numbered(folder, tmp_path, suffix):
    catalogue = run(folder, tmp_path, volumes(suffix)).catalogue
    assert catalogue.groupby("image")["patient_id"].unique().str.len().max() == 1
    assert catalogue.groupby("patient_id")["split"].nunique().max() == 1
    assert catalogue["sample_id"].is_unique
    third = catalogue[catalogue["patient_id"] == "P003"]
    assert third["sample_id"].tolist() == [f"P003-{number:03d}" for number in range(1, 13)]
    assert third["sha256"].is_unique


def test_samples_of_a_thousand_slices_sort_as_text():
    entries = with_pseudonyms(Item("a", f"s{page}", ("a.nii",), "", page=page) for page in range(1200))
    names = [entry.sample_id for entry in entries]
    assert names == sorted(names)
    assert len(set(names)) == 1200


@pytest.mark.parametrize("suffix", [".nii.gz"], indirect=True)
def test_many_processes_make_the_same_store(folder, tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(workers_file, "_WORTH_PROCESSES", 1)
    monkeypatch.setattr(workers_file, "_PIECE", 3)
    one = run(folder, tmp_path / "a", volumes(suffix))
    many = run(folder, tmp_path / "b", volumes(suffix), workers=2)
    assert one.store.key == many.store.key
    check_slices(many.catalogue, many.store)


def test_a_compressed_volume_is_read_and_inflated_once_for_all_its_slices(tmp_path, monkeypatch):
    depth = 100
    files = {}
    for patient in range(3):
        files[f"images/p{patient}.nii.gz"] = nifti(voxels(patient, depth))
        files[f"masks/p{patient}.nii.gz"] = nifti(lesions(patient, depth))
    write(tmp_path / "set", files)
    inflated, read = [], []
    real = page_reader.gzip.decompress
    monkeypatch.setattr(page_reader.gzip, "decompress", lambda data: (inflated.append(1), real(data))[1])
    monkeypatch.setattr(page_reader, "inspect", lambda data, **_: read.append(1))
    assert len(run(tmp_path / "set", tmp_path, volumes()).catalogue) == 300
    # Once more for the first file of all, whose type the store takes.
    assert len(inflated) == len(read) <= len(files) + 2


def test_the_pages_of_a_file_are_read_by_one_worker():
    items = [Item("a", str(page), (f"{file}.nii",), "", page=page) for file in range(3) for page in range(40)]
    pieces = list(workers_file._pieces(with_pseudonyms(items)))
    assert [row for piece in pieces for row, _ in piece] == list(range(120))
    for file in range(3):
        assert sum(any(entry.item.images == (f"{file}.nii",) for _, entry in piece) for piece in pieces) == 1


def test_kept_files_go_when_the_next_sample_comes_and_never_to_another_process():
    files = {"a": nifti(voxels(0, 3)), "b": nifti(voxels(1, 3))}
    asked = []
    reader = PageReader(lambda name: (asked.append(name), files[name])[1])
    for _ in range(3):
        reader.only(["a", "b"])
        reader.decode("a", 0)
        reader.decode("b", 2)
    assert asked == ["a", "b"]
    assert reader.__getstate__()["_files"] == {}
    reader.only(["b"])
    reader.sha256("a")
    assert asked == ["a", "b", "a"]


@pytest.mark.parametrize("page", [0, 2])
@pytest.mark.parametrize("data", [nifti(voxels(0, 3)), nifti(voxels(0, 3), ".nii"), tiff(voxels(0, 3))])
def test_a_page_is_what_decode_returns_for_it(data, page):
    found, expected = PageReader(lambda name: data).decode("a", page), decode(data, page=page)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert found.pixels.dtype == expected.pixels.dtype
    assert (found.spacing_mm, found.notes, found.format) == (expected.spacing_mm, expected.notes, expected.format)


def test_a_volume_may_be_longer_than_a_request():
    large = np.zeros((1024, 1024, 14), np.int16)
    large[5, 3, 13] = 7
    data = nibabel.Nifti1Image(large, np.eye(4)).to_bytes()
    assert len(data) > DEFAULT_BUDGET.max_bytes
    pixels = PageReader(lambda name: data).decode("a", 13).pixels
    assert (pixels.max(), pixels[3, 5, 0]) == (7, 7)


GOOD = nifti(voxels(0, 3))


@pytest.mark.parametrize(
    ("data", "page"),
    [(GOOD, None), (GOOD, 3), (GOOD[:-9], 0), (GOOD + b"more", 0), (b"\x1f\x8bno", 0), (b"", 0), (b"no image", 0)],
)
def test_what_decode_refuses_is_refused_in_the_same_words(data, page):
    reader = PageReader(lambda name: data)
    with pytest.raises(DecodeError) as expected:
        decode(data, page=page)
    with pytest.raises(DecodeError) as found:
        reader.decode("a", page)
    assert str(found.value) == str(expected.value)


def test_a_volume_whose_second_slice_is_not_finite_loses_that_slice_only(tmp_path):
    volume = voxels(1, 7, np.float32)
    volume[2, 5, 5] = np.nan
    files = {f"images/p{patient}.nii.gz": nifti(voxels(patient, 7, np.float32)) for patient in (0, 2, 3)}
    files["images/p1.nii.gz"] = nifti(volume)
    files |= {f"masks/p{patient}.nii.gz": nifti(lesions(patient, 7)) for patient in range(4)}
    recipe = volumes(policy="quarantine", quarantine_limit=0.1)
    prepared = run(write(tmp_path / "set", files), tmp_path, recipe)
    assert prepared.facts["used"] == 27
    assert [line.partition(":")[0] for line in prepared.set_aside] == ["images/p1.nii.gz"]
    assert "page 2: non_finite" in prepared.set_aside[0]


def test_a_blank_slice_says_nothing_about_the_other_slices_of_the_same_bytes(tmp_path):
    """The same mask file for all: its first slice is blank, its third is not."""
    files = {f"images/p{patient}.nii": nifti(voxels(patient, 6), ".nii") for patient in range(4)}
    files |= {f"masks/p{patient}.nii": nifti(lesions(1, 6), ".nii") for patient in range(4)}
    catalogue = run(write(tmp_path / "set", files), tmp_path, volumes(".nii")).catalogue
    expected = lesions(1, 6).sum(axis=(1, 2)).tolist()
    assert catalogue.groupby("image")["foreground_px"].apply(list).tolist() == [expected] * 4


def test_everything_about_pages_is_said_in_one_pass(folder, tmp_path, suffix):
    make = WRITERS[suffix]
    write(
        folder,
        {
            f"masks/p0{suffix}": make(lesions(0, 4)),
            f"images/p1{suffix}": make(voxels(1, 7))[:200],
            f"masks/p2{suffix}": make(lesions(2, 12) * 9),
        },
    )
    with pytest.raises(DataError) as caught:
        run(folder, tmp_path, volumes(suffix))
    problems = caught.value.problems
    assert len(problems) == 3, problems
    counts, unreadable, values = problems
    assert counts == (f"images/p0{suffix}: the file has 5 pages, and masks/p0{suffix} has 4; expected the same number")
    assert unreadable.startswith(f"images/p1{suffix}: ")
    assert values.startswith(f"masks/p2{suffix}: pages 1, 4, 7, 10: mask has the values 9")


def test_files_that_differ_in_pages_count_once_and_can_be_set_aside(tmp_path):
    files = {}
    for patient in range(6):
        files[f"images/p{patient}.tif"] = tiff(voxels(patient, 5))
        files[f"masks/p{patient}.tif"] = tiff(lesions(patient, 5 + (patient == 4)))
    recipe = volumes(".tif", policy="quarantine", quarantine_limit=0.1)
    facts = run(write(tmp_path / "set", files), tmp_path, recipe).facts
    assert (facts["found"], facts["used"]) == (26, 25)
    assert facts["set_aside"] == [{"reason": "pages", "count": 1}]


def test_the_channels_of_a_volume_come_from_the_same_slice_of_each_file(tmp_path):
    files = {}
    for patient in range(4):
        for offset, channel in ((0, "t1"), (50, "flair")):
            files[f"p{patient}_{channel}.nii.gz"] = nifti(voxels(offset + patient, 4))
        files[f"p{patient}_seg.nii.gz"] = nifti(lesions(patient, 4))
    patterns = {"image": "{sample}_{channel}.nii.gz", "mask": "{sample}_seg.nii.gz", "channels": ["t1", "flair"]}
    prepared = run(write(tmp_path / "set", files), tmp_path, volumes(**patterns))
    row = prepared.store.rows(["P003-002"])[0]
    np.testing.assert_array_equal(prepared.store.images[row], np.stack([voxels(2, 4)[1], voxels(52, 4)[1]]))
    write(tmp_path / "set", {"p1_flair.nii.gz": nifti(voxels(51, 3))})
    with pytest.raises(DataError, match=r"p1_t1\.nii\.gz: the file has 4 pages, and p1_flair\.nii\.gz has 3"):
        run(tmp_path / "set", tmp_path, volumes(**patterns))


def test_files_of_one_page_are_what_they_were(tmp_path):
    files = {f"images/p{number}.tif": tiff(voxels(number, 1)) for number in range(6)}
    files |= {f"masks/p{number}.tif": tiff(lesions(number, 2)[1:]) for number in range(6)}
    write(tmp_path / "set", files)
    every = run(tmp_path / "set", tmp_path, volumes(".tif"))
    one = run(tmp_path / "set", tmp_path, volumes(".tif", page=None))
    assert every.catalogue.equals(one.catalogue)
    np.testing.assert_array_equal(every.store.images, one.store.images)


def test_which_pages_are_read_makes_another_store(folder, tmp_path, suffix):
    rules = (0, 1, "all")
    prepared = [run(folder, tmp_path, volumes(suffix, page=page)) for page in rules]
    assert len({found.store.key for found in prepared}) == 3
    assert [found.catalogue["frame"].unique().tolist() for found in prepared[:2]] == [[0], [1]]
    for found in prepared:
        check_slices(found.catalogue, found.store)
    for page, found in zip(rules, prepared, strict=True):
        again = run(folder, tmp_path, volumes(suffix, page=page))
        assert again.facts["store"]["reused"]
        assert again.store.key == found.store.key


def test_without_a_rule_a_volume_is_refused(folder, tmp_path, suffix):
    with pytest.raises(DataError, match="page_required"):
        run(folder, tmp_path, volumes(suffix, page=None))


def test_the_second_time_no_file_is_read_and_a_changed_one_alone_is_counted_again(
    folder, tmp_path, suffix, monkeypatch
):
    asked = []
    real = pages.inspect
    monkeypatch.setattr(pages, "inspect", lambda data, **options: (asked.append(1), real(data, **options))[1])
    first = run(folder, tmp_path, volumes(suffix))
    assert len(asked) == 8
    second = run(folder, tmp_path, volumes(suffix))
    assert len(asked) == 8
    assert second.facts["store"]["reused"]
    assert second.store.key == first.store.key
    make = WRITERS[suffix]
    write(folder, {f"images/p1{suffix}": make(voxels(1, 9)), f"masks/p1{suffix}": make(lesions(1, 9))})
    assert len(run(folder, tmp_path, volumes(suffix)).catalogue) == sum(DEPTHS) + 2
    assert len(asked) == 10


def test_copied_volumes_are_found_again_by_their_bytes(folder, tmp_path, suffix):
    first = run(folder, tmp_path, volumes(suffix))
    for path in folder.rglob("*.*"):
        path.write_bytes(path.read_bytes())
    second = run(folder, tmp_path, volumes(suffix))
    assert second.facts["store"]["reused"]
    assert second.catalogue.equals(first.catalogue)


def test_a_volume_that_is_there_under_two_names_is_found_slice_by_slice(tmp_path):
    files = {f"images/p{patient}.nii.gz": nifti(voxels(patient % 5, 4)) for patient in range(6)}
    files |= {f"masks/p{patient}.nii.gz": nifti(lesions(patient % 5, 4)) for patient in range(6)}
    catalogue = run(write(tmp_path / "set", files), tmp_path, volumes()).catalogue
    hashes = catalogue.groupby("patient_id")["sha256"].apply(list)
    assert hashes["P001"] == hashes["P006"]
    assert catalogue["sha256"].nunique() == 20


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_frames_of_a_dicom_have_the_label_of_their_file(tmp_path, syntax):
    frames = [3, 1, 4, 1, 5, 2]
    files = {f"d/{number:03d}.dcm": dicom(voxels(number, count), syntax) for number, count in enumerate(frames)}
    rows = [f"{number:03d},{number % 2},w{number},{20 + number}" for number in range(6)]
    files["labels.csv"] = "\n".join(["image,level,who,age", *rows]).encode()
    labels = {"patient": "who", "metadata": {"numeric": ["age"]}}
    prepared = run(write(tmp_path / "set", files), tmp_path, classes({"layout": "csv", "labels": labels}))
    catalogue = prepared.catalogue
    numbers = catalogue["image"].str[2:5].astype(int)
    assert catalogue.groupby("image").size().tolist() == frames
    np.testing.assert_array_equal(labels_of(catalogue)[:, 0], numbers % 2)
    assert [meta["age"] for meta in meta_of(catalogue)] == [str(20 + number) for number in numbers]
    assert catalogue.groupby("image")["patient_id"].nunique().max() == 1
    for sample, number in zip(catalogue.itertuples(), numbers, strict=True):
        row = prepared.store.rows([sample.sample_id])[0]
        np.testing.assert_array_equal(prepared.store.images[row, 0], voxels(number, frames[number])[sample.frame])
    assert b"NOBODY" not in (tmp_path / "run" / "catalogue.csv").read_bytes()


@pytest.mark.parametrize(("suffix", "make"), [(".dcm", dicom), (".nii.gz", nifti), (".tiff", tiff)])
def test_class_folders_and_vectors_know_every_suffix(tmp_path, suffix, make):
    files = {f"{name}/p{n}_1{suffix}": make(voxels(n, 2)) for n in range(6) for name in ["cat", "dog"][n % 2 :][:1]}
    labels = {"patient_pattern": r"(p\d)_"}
    found = run(
        write(tmp_path / "a", files), tmp_path / "x", classes({"layout": "folder-classes", "labels": labels})
    ).catalogue
    assert found["frame"].tolist() == [0, 1] * 6
    assert found["labels"].tolist() == [f"[{n % 2}]" for n in range(6) for _ in range(2)]

    files = {f"i/p{n}{suffix}": make(voxels(n, 2)) for n in range(6)}
    for n in range(6):
        stream = io.BytesIO()
        np.save(stream, np.array([n % 2]))
        files[f"v/p{n}.npy"] = stream.getvalue()
    data = {"layout": "array", "image": f"i/{{sample}}{suffix}", "array": "v/{sample}.npy"}
    found = run(write(tmp_path / "b", files), tmp_path / "y", classes(data)).catalogue
    assert found["labels"].tolist() == [f"[{n % 2}]" for n in range(6) for _ in range(2)]


def test_stacks_in_the_layout_of_the_brain_set(tmp_path):
    files = {}
    for patient, depth in enumerate(DEPTHS):
        files[f"T{patient}/s_1.tif"] = tiff(voxels(patient, depth))
        files[f"T{patient}/s_1_mask.tif"] = tiff(lesions(patient, depth))
        files[f"T{patient}/s_2.tif"] = tiff(voxels(patient + 9, 1))
        files[f"T{patient}/s_2_mask.tif"] = tiff(lesions(patient, 2)[1:])
    recipe = build_recipe({"layout": "lgg-mri", "page": "all"}, MASKS)
    catalogue = run(write(tmp_path / "set", files), tmp_path, recipe).catalogue
    assert catalogue.groupby("patient_id").size().tolist() == [depth + 1 for depth in DEPTHS]


def test_listings_keep_their_order_and_labels(tmp_path):
    write(tmp_path, {"a.tif": tiff(voxels(0, 3)), "b.tif": tiff(voxels(0, 1))})
    items = (Item("p", "a", ("a.tif",), "", (1.0,), {"age": "3"}, "test"), Item("q", "b", ("b.tif",), "", (0.0,)))
    with open_source(tmp_path) as source:
        found = with_pages(
            Listing(items, notes=("note",), target=Target("binary", ("a", "b"))), "all", source, tmp_path / "cache"
        ).listing.items
    assert [(item.patient, item.page, item.labels, item.published) for item in found] == [
        ("p", 0, (1.0,), "test"), ("p", 1, (1.0,), "test"), ("p", 2, (1.0,), "test"), ("q", None, (0.0,), ""),
    ]  # fmt: skip
    names = [item.sample for item in found]
    assert len(set(names)) == 4
    assert names == sorted(names, key=natural_key)


@pytest.mark.parametrize(("text", "page"), [("all", "all"), ("3", 3), ("", None)])
def test_the_recipe_names_a_page_all_pages_or_none(text, page):
    assert parse_recipe(f"name: x\ndata: {{page: {text}}}").data.page == page


@pytest.mark.parametrize("text", ["every", "-1", "true", "1.5"])
def test_other_words_are_refused(text):
    with pytest.raises(RecipeError, match=r"data\.page"):
        parse_recipe(f"name: x\ndata: {{page: {text}}}")


@pytest.mark.parametrize("page", ["all", None])
def test_smaller_copies_in_a_tiff_are_no_samples(tmp_path, page):
    def with_thumbnail(picture):
        stream = io.BytesIO()
        with tifffile.TiffWriter(stream) as writer:
            writer.write(picture[::2, ::2], subfiletype=1, contiguous=False)
            writer.write(picture, contiguous=False)
        return stream.getvalue()

    pictures = [voxels(number, 1)[0] for number in range(8)]
    files = {f"{'ab'[number % 2]}/{number}.tif": with_thumbnail(picture) for number, picture in enumerate(pictures)}
    prepared = run(write(tmp_path / "set", files), tmp_path, classes({"layout": "folder-classes", "page": page}))
    assert prepared.facts["used"] == len(pictures)
    for sample in prepared.catalogue.itertuples():
        row = prepared.store.rows([sample.sample_id])[0]
        np.testing.assert_array_equal(prepared.store.images[row, 0], pictures[int(sample.image[2:-4])])


@pytest.mark.parametrize("odd", ["①", "x1²", "²", "٣", "1" * 5000, "x①2", ""])
def test_any_name_has_its_place_in_the_order(odd):
    names = ["s10", odd, "s2", "s1"]
    ordered = sorted(names, key=natural_key)
    assert [name for name in ordered if name != odd] == ["s1", "s2", "s10"]
    assert sorted(ordered) == sorted(names)
