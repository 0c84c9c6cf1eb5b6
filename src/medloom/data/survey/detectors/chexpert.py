"""CheXpert (Irvin et al. 2019): ``train.csv`` with 14 observations that are blank, 0, 1 or -1; patients are folders.

What a blank means, an observation that a report does not mention, is read in two ways; it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from medloom.data.survey.detectors.tables import table_reading
from medloom.data.survey.findings import Finding, Reading, Strength
from medloom.data.survey.seen import Seen
from medloom.data.words import is_minus_one
from medloom.wording import counted

__all__ = ["detect"]

_OBSERVATIONS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture"),
    "Support Devices",
)
_BLANK = {
    "negative": "a report that does not mention a finding says that it is not there",
    "mask": "a report that does not mention a finding says nothing about it",
}


def detect(seen: Seen) -> Iterator[Reading]:
    """Yield two readings of the table of training if it has the columns of CheXpert."""
    for table in seen.label_tables:
        columns = [column for column in _OBSERVATIONS if column in table.counts]
        if len(columns) < len(_OBSERVATIONS) or table.name != "train.csv":
            continue
        used = [column for column in columns if table.counts[column]]
        uncertain = sum(count for column in used for word, count in table.counts[column].items() if is_minus_one(word))
        said = f"the 14 observations of CheXpert, {counted(uncertain, 'of them uncertain', 'of them uncertain')} (-1)"
        patient = Finding("data.labels.patient_pattern", r"(patient\d+)/", "the folder of an image is its patient's")
        for blank, meaning in _BLANK.items():
            target = (
                Finding("target.kind", "multi-label", said),
                Finding("target.blank", blank, meaning),
                Finding("target.uncertain", "mask", "-1 is uncertain: left out of the loss and the metrics"),
            )
            reading = table_reading(seen, table, used, target, f"CheXpert; {meaning}", [patient])
            findings = (*map(_measured, reading.findings),)
            yield replace(reading, strength=Strength.STATED, findings=findings)


def _measured(finding: Finding) -> Finding:
    """``valid.csv`` as what the model is measured on, where no other table is: radiologists labelled it."""
    if finding.key != "data.labels.files" or set(finding.value) != {"train", "validation"}:
        return finding
    return replace(
        finding,
        value={"train": finding.value["train"], "test": finding.value["validation"]},
        evidence=f"{finding.evidence}. In valid.csv three radiologists labelled each study, in train.csv a program "
        "that reads reports: the model is measured on the former, and validation is drawn from the latter",
        instead="validation: valid.csv with split.published=ignore, which divides all patients anew",
    )
