"""Segmentations and reports, read back by highdicom, by pydicom and by our own reader, which knows neither."""

import io
import shutil
import subprocess

import highdicom
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sr.codedict import codes

from medloom.data.whole import read_sources, read_whole
from medloom.errors import UserError
from medloom.imaging.dicom_seg import read_segmentation
from medloom.imaging.geometry import Grid, find_match
from medloom.inference import MaskPoint
from medloom.inference.answers.figures import count_classes
from medloom.inference.answers.labels import BINARY, REGRESSION, LabelPoint, LabelPrediction, LabelVolumePrediction
from medloom.inference.answers.mask_volume import VolumePrediction
from medloom.inference.answers.masks import MaskPrediction
from medloom.inference.forms import Algorithm, FormError, Made, encode, forms_for
from medloom.inference.forms.codes import FIGURES, WORDS, category_of, code_of, own_code
from medloom.targets import Target
from support.dicom_sources import RADIOGRAPH, STUDY, make_enhanced, make_image, make_series, zipped

TARGET = Target("masks", ("background", "tumour", "lung"))
MODEL = Algorithm("brain-mri", "ab" * 32, "1.0")
OBLIQUE = (0.955336, 0.29552, 0.0, 0.0, 0.0, -1.0)
SIZE = (20, 30)


def _mask(seed=0, shape=SIZE):
    return np.random.default_rng(seed).integers(0, 3, shape).astype(np.uint8)


def _pixels(seed=1, shape=SIZE):
    return np.random.default_rng(seed).integers(0, 200, shape).astype(np.uint16)


def _image_answer(mask, target=TARGET):
    shares = np.stack([mask == index for index in range(len(target.names))]) * np.float32(0.8) + np.float32(0.1)
    return MaskPrediction(target, (shares / shares.sum(0)).astype(np.float32), mask, MaskPoint(0.5), 0.375)


def _volume_answer(mask, affine):
    counts = np.array([count_classes(plane, TARGET) for plane in mask])
    return VolumePrediction(TARGET, mask, affine, MaskPoint(0.5), counts, 0.9, np.array([0.9, 0.8]), voxel_ml=0.0009375)


def _made(data, answer, *forms, target=TARGET, model=MODEL, page=None):
    whole = isinstance(answer, (VolumePrediction, LabelVolumePrediction))
    read = lambda: read_sources(data, page=page, whole=whole)  # noqa: E731 - shorter than a function
    return Made(answer, target, model, read_sources=read, beside=frozenset(forms))


def _seg(data, answer, form="seg", **options):
    return encode(_made(data, answer, form, **options), form)


def _read(data):
    return dcmread(io.BytesIO(data))


@pytest.fixture
def image(tmp_path):
    return make_image(tmp_path, _pixels(), InstanceNumber=7)


@pytest.mark.parametrize(
    ("cosines", "order"),
    [
        ((1, 0, 0, 0, 1, 0), None),
        ((1, 0, 0, 0, 1, 0), (4, 2, 0, 1, 3)),
        ((-1, 0, 0, 0, 1, 0), None),
        ((0, 1, 0, 0, 0, -1), (4, 3, 2, 1, 0)),
        (OBLIQUE, (4, 3, 2, 1, 0)),
    ],
)
def test_the_segments_of_a_series_lie_on_the_pixels_that_they_were_found_in(tmp_path, cosines, order):
    data = zipped(make_series(tmp_path, _pixels(2, (5, *SIZE)), cosines=cosines, order=order))
    volume = read_whole(data)
    mask = _mask(3, volume.voxels.shape)
    mask[[0, 3]] = 0
    segmentation = _seg(data, _volume_answer(mask, volume.affine))

    by_place = read_segmentation(segmentation)
    found = np.zeros_like(mask)
    grid = Grid(volume.affine, (SIZE[1], SIZE[0], len(mask)))
    for number, plane in enumerate(by_place.values):
        match = find_match(by_place.grid.plane(number), grid)
        assert match is not None
        assert not match.moves
        found[match.slice] = plane
    np.testing.assert_array_equal(found, mask)

    uids = [frame.instance for frame in read_sources(data, whole=True).frames]
    by_instance = highdicom.seg.segread(io.BytesIO(segmentation)).get_pixels_by_source_instance(
        uids, combine_segments=True, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(by_instance, mask)


@pytest.mark.parametrize("cosines", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), OBLIQUE])
def test_a_label_map_has_the_number_of_the_segment_in_every_pixel_of_every_slice(tmp_path, cosines):
    data = zipped(make_series(tmp_path, _pixels(2, (5, *SIZE)), cosines=cosines, order=(4, 2, 0, 1, 3)))
    volume = read_whole(data)
    mask = _mask(3, volume.voxels.shape)
    mask[[0, 3]] = 0
    label_map = _seg(data, _volume_answer(mask, volume.affine), "seg-labelmap")

    made = _read(label_map)
    assert (made.SegmentationType, made.BitsAllocated, made.NumberOfFrames) == ("LABELMAP", 8, 5)
    assert [(one.SegmentNumber, one.SegmentLabel) for one in made.SegmentSequence][1:] == [(1, "tumour"), (2, "lung")]
    uids = [frame.instance for frame in read_sources(data, whole=True).frames]
    found = highdicom.seg.segread(io.BytesIO(label_map)).get_pixels_by_source_instance(uids, combine_segments=True)
    np.testing.assert_array_equal(found, mask)

    ours, binary = read_segmentation(label_map), read_segmentation(_seg(data, _volume_answer(mask, volume.affine)))
    assert len(ours.values) == len(mask)
    for number, plane in enumerate(binary.values):
        match = find_match(binary.grid.plane(number), ours.grid)
        np.testing.assert_array_equal(ours.values[match.slice], plane)


def test_an_empty_label_map_has_every_slice_and_every_segment(tmp_path):
    data = zipped(make_series(tmp_path, _pixels(2, (3, *SIZE))))
    empty = _volume_answer(np.zeros((3, *SIZE), np.uint8), read_whole(data).affine)
    made = _read(_seg(data, empty, "seg-labelmap"))
    assert [one.SegmentLabel for one in made.SegmentSequence] == ["Background", "tumour", "lung"]
    assert made.pixel_array.shape == (3, *SIZE)
    assert not made.pixel_array.any()


def test_a_segmentation_belongs_to_the_patient_study_and_frame_of_reference_of_its_images(image):
    source, made = _read(image), _read(_seg(image, _image_answer(_mask())))
    for keyword in (*STUDY, "PatientID", "PatientName", "FrameOfReferenceUID"):
        if keyword == "Modality":
            continue
        assert made[keyword].value == source[keyword].value, keyword
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert made.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    referred = made.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert (referred.ReferencedSOPClassUID, referred.ReferencedSOPInstanceUID) == (
        source.SOPClassUID, source.SOPInstanceUID)  # fmt: skip
    assert "ReferencedFrameNumber" not in referred
    assert made.InstanceNumber == 7


def test_segments_say_what_they_are_and_which_model_found_them(image):
    first, second = _read(_seg(image, _image_answer(_mask()))).SegmentSequence
    assert (first.SegmentLabel, first.SegmentedPropertyTypeCodeSequence[0].CodeValue) == ("tumour", "108369006")
    assert second.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Anatomical Structure"
    assert first.SegmentAlgorithmType == "AUTOMATIC"
    algorithm = first.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("brain-mri", MODEL.version)


@pytest.mark.parametrize("form", ["seg", "seg-fractional", "seg-labelmap", "sr"])
def test_the_same_answer_gives_the_same_bytes_and_another_one_another_object(image, form):
    first, again = (encode(_made(image, _image_answer(_mask()), form), form) for _ in range(2))
    assert first == again
    other = Algorithm("brain-mri", "cd" * 32, "1.0")
    uids = {
        _read(one).SOPInstanceUID
        for one in (
            first,
            encode(_made(image, _image_answer(_mask(9)), form), form),
            encode(_made(image, _image_answer(_mask()), form, model=other), form),
        )
    }
    assert len(uids) == 3


def test_an_empty_mask_has_every_frame_and_both_segments_and_holds_nothing(tmp_path):
    data = zipped(make_series(tmp_path, _pixels(2, (3, *SIZE))))
    volume = read_whole(data)
    made = _read(_seg(data, _volume_answer(np.zeros((3, *SIZE), np.uint8), volume.affine)))
    assert made.NumberOfFrames == 6
    assert [one.SegmentLabel for one in made.SegmentSequence] == ["tumour", "lung"]
    assert not made.pixel_array.any()
    found = read_segmentation(_seg(data, _volume_answer(np.zeros((3, *SIZE), np.uint8), volume.affine)))
    assert not found.values.any()
    assert found.values.shape == (3, *SIZE)


def test_a_class_that_was_not_found_is_described_beside_one_that_was(image):
    mask = np.where(_mask() == 1, 1, 0).astype(np.uint8)
    made = _read(_seg(image, _image_answer(mask)))
    assert made.NumberOfFrames == 1
    assert len(made.SegmentSequence) == 2
    np.testing.assert_array_equal(read_segmentation(_seg(image, _image_answer(mask))).values[0], mask)


def test_fractional_segments_hold_the_probabilities(image):
    answer = _image_answer(_mask())
    made = _read(_seg(image, answer, "seg-fractional"))
    assert (made.SegmentationType, made.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    shares = made.pixel_array / made.MaximumFractionalValue
    np.testing.assert_allclose(shares, answer.probabilities[1:], atol=0.5 / 255 + 1e-6)


def test_a_radiograph_is_segmented_by_reference_and_says_how_it_is_held(tmp_path):
    data = make_image(tmp_path, _pixels(), place={}, **RADIOGRAPH)
    mask = _mask()
    segmentation = _seg(data, _image_answer(mask))
    made = _read(segmentation)
    assert "FrameOfReferenceUID" not in made
    assert list(made.PatientOrientation) == ["L", "F"]
    found = highdicom.seg.segread(io.BytesIO(segmentation)).get_pixels_by_source_instance(
        [_read(data).SOPInstanceUID], combine_segments=True
    )
    np.testing.assert_array_equal(found[0], mask)


def test_frames_of_one_file_are_named_by_their_numbers(tmp_path):
    heights = (2, 0, 3, 1)
    data = make_enhanced(tmp_path, _pixels(4, (4, *SIZE)), heights)
    mask = _mask(5, (4, *SIZE))
    segmentation = _seg(data, _volume_answer(mask, read_whole(data).affine))
    uid = _read(data).SOPInstanceUID
    found = highdicom.seg.segread(io.BytesIO(segmentation)).get_pixels_by_source_frame(
        uid, [1, 2, 3, 4], combine_segments=True
    )
    for frame, height in enumerate(heights):
        np.testing.assert_array_equal(found[frame], mask[height])
    listed = _read(segmentation).ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert [one.ReferencedSOPInstanceUID for one in listed] == [uid]


def test_one_frame_of_several_is_segmented_where_it_lies(tmp_path):
    data = make_enhanced(tmp_path, _pixels(4, (4, *SIZE)), (2, 0, 3, 1))
    made = _read(_seg(data, _image_answer(_mask()), page=2))
    groups = made.PerFrameFunctionalGroupsSequence[0]
    assert groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber == 3
    assert list(groups.PlanePositionSequence[0].ImagePositionPatient) == [0, 0, 9]


def _groups(report):
    return highdicom.sr.srread(io.BytesIO(report)).content


def test_a_report_has_the_figures_of_each_class_and_refers_to_its_segment(image):
    answer = _image_answer(np.where(_mask() == 1, 1, 0).astype(np.uint8))
    report = encode(_made(image, answer, "seg", "sr"), "sr")
    segmentation = _read(_seg(image, answer))
    (measured,) = [
        group
        for group in _groups(report).get_planar_roi_measurement_groups()
        if group.finding_type.value == code_of("tumour").value
    ]
    found = {one.name.meaning: one.value for one in measured.get_measurements()}
    assert found["Area"] == answer.by_class["tumour"].area_mm2
    assert found["Number of pixels"] == answer.by_class["tumour"].area_px
    assert found["Probability"] == pytest.approx(answer.by_class["tumour"].probability)
    assert found["Threshold Value"] == 0.5
    sequences = [one.value[0] for one in _read(report).iterall() if one.keyword == "ReferencedSOPSequence"]
    frames = [one.get("ReferencedFrameNumber") for one in sequences
              if one.ReferencedSOPInstanceUID == segmentation.SOPInstanceUID]  # fmt: skip
    assert 1 in frames
    assert not any("ReferencedSegmentNumber" in one for one in sequences)


def test_a_report_alone_refers_to_the_images_and_to_no_segmentation(image):
    report = encode(_made(image, _image_answer(_mask()), "sr"), "sr")
    made = _read(report)
    evidence = [
        one.ReferencedSOPInstanceUID
        for study in made.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    ]
    assert evidence == [_read(image).SOPInstanceUID]
    assert (made.VerificationFlag, made.CompletionFlag) == ("UNVERIFIED", "COMPLETE")


def test_the_report_of_a_volume_says_millilitres_and_separate_regions(tmp_path):
    data = zipped(make_series(tmp_path, _pixels(2, (5, *SIZE))))
    mask = np.zeros((5, *SIZE), np.uint8)
    mask[0:2, 2:6, 2:6] = mask[3, 10:12, 10:12] = 1
    report = encode(_made(data, _volume_answer(mask, read_whole(data).affine), "seg", "sr"), "sr")
    (group,) = _groups(report).get_volumetric_roi_measurement_groups()
    found = {one.name.meaning: one.value for one in group.get_measurements()}
    assert found["Volume"] == pytest.approx(36 * 0.0009375, abs=1e-6)
    assert (found["Number of voxels"], found["Number of separate regions"]) == (36, 2)


def _labels(names=("normal", "pneumonia"), scores=(0.2, 0.8), point=(0.7,), kind=BINARY):
    decision = kind.decide(names, scores, point)
    return LabelPrediction(names, scores, decision, LabelPoint(point), None, np.float32([scores[-1]]), kind.says)


def test_a_classification_is_reported_with_probabilities_threshold_and_decision(tmp_path):
    data = make_image(tmp_path, _pixels(), place={}, **RADIOGRAPH)
    target = Target("binary", ("normal", "pneumonia"))
    report = encode(_made(data, _labels(), "sr", target=target), "sr")
    groups = _groups(report).get_image_measurement_groups()
    said = {group.finding_type.meaning: group for group in groups}
    assert set(said) == {"normal", "pneumonia"}
    found = {one.name.meaning: one.value for one in said["pneumonia"].get_measurements()}
    assert found == {"Probability": 0.8, "Threshold Value": 0.7}
    assert [one.value.meaning for one in said["pneumonia"].get_qualitative_evaluations()] == ["Present"]
    assert [one.value.meaning for one in said["normal"].get_qualitative_evaluations()] == ["Absent"]


def test_numbers_of_the_image_are_reported_without_a_decision(image):
    target = Target("regression", ("age",))
    answer = _labels(("age",), (61.5,), (), REGRESSION)
    (group,) = _groups(encode(_made(image, answer, "sr", target=target), "sr")).get_image_measurement_groups()
    assert [(one.name.meaning, one.value) for one in group.get_measurements()] == [("Predicted value", 61.5)]
    assert not group.get_qualitative_evaluations()


def test_slices_that_were_cut_along_another_plane_are_not_reported(tmp_path):
    data = zipped(make_series(tmp_path, _pixels(2, (3, *SIZE))))
    target = Target("binary", ("normal", "pneumonia"))
    reported = encode(_made(data, LabelVolumePrediction((_labels(),) * 3), "sr", target=target), "sr")
    assert len(_groups(reported).get_image_measurement_groups()) == 6
    with pytest.raises(FormError, match="another plane"):
        encode(_made(data, LabelVolumePrediction((_labels(),) * 3, axis=2), "sr", target=target), "sr")


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy: apt-get install dicom3tools")
@pytest.mark.parametrize("form", ["seg", "seg-fractional", "sr"])
@pytest.mark.parametrize("kind", ["image", "empty", "radiograph", "frame", "series"])
def test_dciodvfy_finds_no_error(tmp_path, kind, form):
    answer, page = _image_answer(_mask() * np.uint8(kind != "empty")), None
    data = make_image(tmp_path, _pixels())
    if kind == "radiograph":
        data = make_image(tmp_path, _pixels(), place={}, **RADIOGRAPH)
    if kind == "frame":
        data, page = make_enhanced(tmp_path, _pixels(4, (4, *SIZE)), (2, 0, 3, 1)), 1
    if kind == "series":
        if form == "seg-fractional":
            pytest.skip("volumes keep no probabilities")
        data = zipped(make_series(tmp_path, _pixels(2, (3, *SIZE)), cosines=OBLIQUE))
        answer = _volume_answer(_mask(3, (3, *SIZE)), read_whole(data).affine)
    path = tmp_path / "made.dcm"
    path.write_bytes(encode(_made(data, answer, "seg", form, page=page), form))
    said = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
    lines = (said.stdout + said.stderr).splitlines()
    assert {"seg": "Segmentation", "sr": "ComprehensiveSR"}[form.partition("-")[0]] in lines
    assert [line for line in lines if line.startswith("Error")] == []


@pytest.mark.parametrize(
    ("name", "characters"),
    [
        ("Müller^Jörg", "ISO_IR 100"),
        ("Иванов^Пётр", "ISO_IR 144"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "\\ISO 2022 IR 87"),
    ],
    ids=["latin", "cyrillic", "japanese"],
)
def test_names_in_every_character_set_come_back_as_they_are(tmp_path, name, characters):
    data = make_image(tmp_path, _pixels(), SpecificCharacterSet=characters.split("\\"), PatientName=name)
    made = _read(_seg(data, _image_answer(_mask())))
    assert (made.SpecificCharacterSet, str(made.PatientName)) == ("ISO_IR 192", name)


@pytest.mark.parametrize(
    ("header", "keyword"),
    [
        ({"StudyInstanceUID": ""}, "StudyInstanceUID"),
        ({"SeriesInstanceUID": "no uid"}, "SeriesInstanceUID"),
        ({"SOPInstanceUID": ""}, "SOPInstanceUID"),
        ({"PatientID": "P" * 65}, "PatientID"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of pydicom, which writes these values all the same
def test_images_that_nothing_can_join_are_refused_with_the_reason_and_without_the_value(tmp_path, header, keyword):
    data = make_image(tmp_path, _pixels(), **header)
    with pytest.raises(FormError, match=keyword) as refused:
        _seg(data, _image_answer(_mask()))
    assert "PPPP" not in str(refused.value)
    assert "no uid" not in str(refused.value)


@pytest.mark.filterwarnings("ignore")
def test_dates_that_are_none_are_left_out(tmp_path):
    data = make_image(tmp_path, _pixels(), PatientBirthDate="19991399", StudyTime="99")
    made = _read(_seg(data, _image_answer(_mask())))
    assert (made.PatientBirthDate, made.StudyTime) == ("", "")


def test_what_is_no_dicom_has_no_segmentation(image):
    with pytest.raises(FormError, match="no DICOM"):
        _seg(b"\x89PNG\r\n\x1a\n", _image_answer(_mask()))
    with pytest.raises(FormError, match="has no form nifti"):
        encode(_made(image, _image_answer(_mask())), "nifti")
    with pytest.raises(UserError, match="form"):
        encode(_made(image, _image_answer(_mask())), "segg")


def test_slices_of_two_patients_are_not_one_segmentation(tmp_path):
    files = make_series(tmp_path, _pixels(2, (2, *SIZE)))
    other = _read(files[1])
    other.PatientID = "P-2"
    buffer = io.BytesIO()
    other.save_as(buffer)
    data = zipped([files[0], buffer.getvalue()])
    with pytest.raises(FormError, match="several patients"):
        _seg(data, _volume_answer(_mask(3, (2, *SIZE)), np.eye(4)))


def test_a_phantom_model_says_so_in_the_name_of_its_series(image):
    model = Algorithm("brain-mri", "ab" * 32, "1.0", phantom=True)
    assert "phantoms" in _read(_seg(image, _image_answer(_mask()), model=model)).SeriesDescription


def test_codes_are_those_of_the_standard():
    schemes = (codes.SCT, codes.DCM, codes.UCUM)
    listed = (getattr(scheme, name) for scheme in schemes for name in scheme.dir())
    known = {(code.scheme_designator, code.value) for code in listed}
    terms = [term for pair in (*WORDS.values(), *FIGURES.values()) for term in pair]
    unknown = {(one.scheme, one.value) for one in terms if one.scheme != "99MEDLOOM"} - known
    assert unknown <= {("UCUM", "ml")}  # pydicom lists only some of the units


@pytest.mark.parametrize(
    ("name", "meaning", "category"),
    [
        ("enhancing_tumor", "Neoplasm", "Morphologically Abnormal Structure"),
        ("lungs", "Lung", "Anatomical Structure"),
        ("no tumour", "Tissue", "Tissue"),
        ("class1", "Tissue", "Tissue"),
    ],
)
def test_a_class_is_known_by_a_word_of_its_name(name, meaning, category):
    assert (code_of(name).meaning, category_of(name).meaning) == (meaning, category)


def test_a_class_without_a_term_keeps_its_own_name():
    assert own_code("viral pneumonia, mild")[1:] == ("99MEDLOOM", "viral pneumonia, mild")
    assert len(own_code("x" * 99).value) == 16


def test_forms_depend_on_what_came_in():
    assert "seg" not in forms_for("masks", volume=False)
    assert {"seg", "seg-fractional", "sr", "overlay"} <= {*forms_for("masks", volume=False, dicom=True)}
    assert "seg-fractional" not in forms_for("masks", volume=True, dicom=True)
    assert forms_for("binary", volume=False, dicom=True) == ("json", "sr")
