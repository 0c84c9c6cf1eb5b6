"""RSNA Pneumonia Detection (2018): ``stage_2_train_labels.csv`` has a row for each box; files are named by patients."""

from __future__ import annotations

from collections.abc import Iterator

from medloom.data.survey.detectors.tables import table_reading
from medloom.data.survey.findings import Finding, Reading, Strength
from medloom.data.survey.seen import Seen

__all__ = ["detect"]

_COLUMNS = {"patientId", "x", "y", "width", "height", "Target"}


def detect(seen: Seen) -> Iterator[Reading]:
    """Yield the reading of the table of boxes, by whether there is any."""
    for table in seen.label_tables:
        if not set(table.table.columns) >= _COLUMNS or table.image != "patientId":
            continue
        target = (Finding("target.kind", "binary", "Target is 1 where there is a box"),)
        patient = Finding("data.labels.patient", "patientId", "each patient has one radiograph, which is named so")
        reading = table_reading(seen, table, ["Target"], target, "RSNA pneumonia: Target", [patient])
        yield Reading(reading.name, Strength.STATED, reading.findings)
