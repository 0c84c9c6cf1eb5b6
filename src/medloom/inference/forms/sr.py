"""DICOM structured reports with what was measured: TID 1500, a group of measurements for each finding.

Each group names its class in coded words, the images that it was measured on, and, where a segmentation is given with
the report, its segment. Nobody has verified it, and it says so.

Source: DICOM PS3.16, TID 1500 (Measurement Report), TID 1410, 1411 and 1501; PS3.3, section A.35.3 (Comprehensive SR).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from medloom.inference.forms import dicom, labels, masks, seg
from medloom.inference.forms.base import FormError, Made
from medloom.inference.forms.codes import FIGURES, SCHEME, Code, category_of, code_of, own_code
from medloom.inference.forms.findings import Finding

__all__ = ["KINDS", "to_report"]

KINDS = {
    "masks": masks.REPORTED,
    "binary": labels.REPORTED,
    "multi-class": labels.REPORTED,
    "multi-label": labels.REPORTED,
    "regression": labels.REPORTED,
}
"""How each kind of answer is reported."""

_DECIDED = Code("decision", SCHEME, "Decision at the operating point")
_PRESENT, _ABSENT = Code("52101004", "SCT", "Present"), Code("272519000", "SCT", "Absent")
_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
_DIGITS = 8


def to_report(made: Made) -> bytes:
    """Return the report as a file.

    Raises:
        FormError: If the images cannot be reported on, with the reason.
    """
    reported = KINDS[made.target.kind]
    _check_slices(made, reported.slices(made.prediction))
    findings = reported.findings(made.prediction)
    highdicom, sources = dicom.highdicom(), made.sources
    segmentation = seg.build(made) if "seg" in made.beside and made.target.truth_is_mask else None
    evidence = [*dicom.evidence(sources), *([] if segmentation is None else [segmentation])]
    content = highdicom.sr.MeasurementReport(
        _observer(made),
        dicom.coded(_PROCEDURE),
        [_group(made, one, segmentation) for one in findings],
    )
    found = highdicom.sr.ComprehensiveSR(
        evidence,
        content[0],
        sop_instance_uid=_uid(made, findings, segmentation),
        is_complete=True,
        coding_schemes=[dicom.own_scheme()],
        specific_character_set="ISO_IR 192",
        **dicom.maker(made, "sr", "Measurements by"),
    )
    return dicom.file_bytes(found)


def _check_slices(made: Made, count: int | None) -> None:
    """Refuse slices that are not those of the images, such as those cut along another plane."""
    if count != len(made.sources.frames):
        raise FormError(
            "the slices that the model looked at are not those of the DICOM images, such as where it looks along "
            "another plane: no image shows what each answer is to"
        )


def _observer(made: Made) -> Any:  # noqa: ANN401 - highdicom is imported when it is needed
    sr = dicom.highdicom().sr
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=dicom.make_uid("model", made.algorithm.identity),
        name=dicom.text(made.algorithm.name),
        manufacturer_name="Medloom",
        model_name=dicom.text(made.algorithm.name),
        serial_number=made.algorithm.version,
    )
    kind = dicom.coded(Code("121007", "DCM", "Device"))
    return sr.ObservationContext(observer_device_context=sr.ObserverContext(kind, device))


def _group(made: Made, finding: Finding, segmentation: Any | None) -> Any:  # noqa: ANN401 - likewise
    sr, frames = dicom.highdicom().sr, _frames_of(segmentation, finding)
    known = {
        "tracking_identifier": sr.TrackingIdentifier(
            seg.tracking_uid(made, finding.name), dicom.text(f"{made.algorithm.name} {finding.name}")
        ),
        "algorithm_id": sr.AlgorithmIdentification(dicom.text(made.algorithm.name), made.algorithm.version),
        "finding_type": dicom.coded(own_code(finding.name) if finding.segment is None else code_of(finding.name)),
        "finding_category": dicom.coded(category_of(finding.name)) if finding.segment is not None else None,
        "measurements": [_measurement(key, value) for key, value in finding.figures.items()],
        "qualitative_evaluations": _decision(finding),
    }
    if segmentation is None or not frames:
        return sr.MeasurementsAndQualitativeEvaluations(source_images=_images(made, finding), **known)
    if len(made.sources.frames) == 1:
        segment = _segment_frame(made, segmentation, frames, finding.segment)
        return sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **known)
    segment = sr.ReferencedSegment(
        segmentation.SOPClassUID,
        segmentation.SOPInstanceUID,
        finding.segment,
        source_series=sr.SourceSeriesForSegmentation(made.sources.series),
    )
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **known)


def _segment_frame(made: Made, segmentation: Any, frames: list[int], number: int | None) -> Any:  # noqa: ANN401 - likewise
    """Refer to the frame of a segment. The frame says which segment it is of, and the standard wants one of both."""
    sr, image = dicom.highdicom().sr, made.sources.frames[0]
    source = sr.SourceImageForSegmentation(image.sop_class, image.instance, [image.frame] if image.frame else None)
    found = sr.ReferencedSegmentationFrame(
        segmentation.SOPClassUID, segmentation.SOPInstanceUID, frames, number, source_image=source
    )
    for item in found[0].ReferencedSOPSequence:
        del item.ReferencedSegmentNumber
    return found


def _frames_of(segmentation: Any | None, finding: Finding) -> list[int]:  # noqa: ANN401 - a data set
    """Numbers of the frames of a finding's segment, from 1; none where it holds nothing."""
    if segmentation is None or finding.segment is None:
        return []
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    return [
        number
        for number, group in enumerate(segmentation.PerFrameFunctionalGroupsSequence, start=1)
        if (group if "SegmentIdentificationSequence" in group else shared)
        .SegmentIdentificationSequence[0]
        .ReferencedSegmentNumber
        == finding.segment
    ]


def _images(made: Made, finding: Finding) -> list[Any]:
    """The images that a finding is about: each file once, with the numbers of its frames where it has several."""
    sources = made.sources
    frames = sources.frames if finding.plane is None else sources.frames[finding.plane : finding.plane + 1]
    numbers: dict[tuple[str, str], list[int]] = {}
    for one in frames:
        numbers.setdefault((one.sop_class, one.instance), []).extend([] if one.frame is None else [one.frame])
    image = dicom.highdicom().sr.SourceImageForMeasurementGroup
    return [image(*uids, sorted(found) or None) for uids, found in numbers.items()]


def _measurement(key: str, value: float) -> Any:  # noqa: ANN401 - highdicom is imported when it is needed
    name, unit = FIGURES[key]
    return dicom.highdicom().sr.Measurement(dicom.coded(name), round(value, _DIGITS), dicom.coded(unit))


def _decision(finding: Finding) -> list[Any] | None:
    if finding.present is None:
        return None
    decided = _PRESENT if finding.present else _ABSENT
    return [dicom.highdicom().sr.QualitativeEvaluation(dicom.coded(_DECIDED), dicom.coded(decided))]


def _uid(made: Made, findings: Sequence[Finding], segmentation: Any | None) -> str:  # noqa: ANN401 - a data set
    said = json.dumps([[one.name, dict(one.figures), one.present, one.plane] for one in findings])
    frames = (f"{one.instance} {one.frame}" for one in made.sources.frames)
    referred = "" if segmentation is None else str(segmentation.SOPInstanceUID)
    return dicom.make_uid("sr", made.algorithm.identity, made.algorithm.software, said, referred, *frames)
