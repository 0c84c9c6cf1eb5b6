"""The data report: what ``prepare`` found, as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medloom.evaluation.text import number, sentence_case
from medloom.files import read_json
from medloom.recipe.sections.data import OriginConfig
from medloom.reports.charts import SPLIT_COLOURS, figure_uri, new_figure, stacked_bars
from medloom.reports.demographics import demographic_table
from medloom.reports.facts import Facts, orientation_sentence, patient_source, set_aside_sentence
from medloom.reports.grey_levels import grey_levels
from medloom.reports.html import data_uri, write_page
from medloom.reports.plain import plain_words
from medloom.reports.scale import scale_bar
from medloom.reports.sections import KINDS
from medloom.wording import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["write_data_report"]

_USES = {
    "train": "to learn from",
    "validation": "to choose the epoch and the operating point by",
    "test": "to measure on, once",
}
"""What each part is for."""

_LABELLED_PATIENTS = 40
_UPRIGHT_LABELS = 16
_PICTURES = ("gallery_plain.png", "gallery_mask.png", "animation.webp", "augmentation.png")


def write_data_report(run_dir: Path) -> Path:
    """Write ``data_report.html`` from the facts that ``prepare`` left in the run directory.

    Args:
        run_dir: The run directory with ``prepare.json`` and ``data_report/``.

    Returns:
        The path of the page.
    """
    prepared, facts = read_json(run_dir / "prepare.json"), read_json(run_dir / "data_report" / "facts.json")
    shown = KINDS[prepared["target"]["kind"]].prepared(prepared, facts)
    return write_page(
        run_dir / "data_report.html",
        "data_report.html",
        **shown,
        phantom=bool(prepared["phantom"]),
        prepared=prepared,
        whose=patient_source(prepared),
        set_aside=set_aside_sentence(prepared),
        plain=_plain(prepared),
        orientation=orientation_sentence(prepared.get("orientation")),
        facts=facts,
        grey=grey_levels(facts),
        pictures=_pictures(run_dir / "data_report"),
        scales={name: scale_bar(facts.get("scales", {}).get(name)) for name in map(_stem, _PICTURES)},
        charts={
            "patients": _patients_chart(facts["patients"], shown["marked"]),
        },
        tables={
            "demographics": demographic_table(prepared.get("demographics", ())),
            "patients": _patient_table(facts["patients"], shown["marked"]),
            "origin": [list(row) for row in OriginConfig.model_validate(prepared.get("origin", {})).rows()],
            "decoding": _decoding_table(prepared.get("decoding", {})),
        },
    )


def _plain(prepared: Facts) -> Facts:
    """What was found, and what speaks against relying on it."""
    counts, whose = prepared.get("counts", {}), patient_source(prepared)
    of = f" of {counted(whose['patients'], 'patient')}" if whose["status"] != "unknown" else ""
    says = [f"{counted(prepared['used'], 'sample')}{of} can be used."] if "used" in prepared else []
    parts = [f"{number(one['samples'])} {use}" for part, use in _USES.items() if (one := counts.get(part))]
    says += [f"{', '.join(parts)}."] if parts else []
    aside = set_aside_sentence(prepared)
    return plain_words(says, [*([aside] if aside else []), *prepared["warnings"]])


def _pictures(folder: Path) -> dict[str, str]:
    """Every picture that is there, as a data URI by its name without the suffix."""
    found = [folder / name for name in _PICTURES if (folder / name).is_file()]
    return {path.stem: data_uri(path) for path in found}


def _stem(name: str) -> str:
    return Path(name).stem


def _patient_table(patients: list[dict[str, Any]], marked: str) -> Facts:
    """Samples of each patient; ``marked`` says what is counted beside them, if anything."""
    rows = [
        [
            row["patient_id"],
            row["split"],
            number(row["samples"]),
            *([number(row["foreground_samples"])] if marked else ()),
        ]
        for row in patients
    ]
    return {"head": ["Patient", "Split", "Samples", *([sentence_case(marked)] if marked else ())], "rows": rows}


def _decoding_table(decoding: Mapping[str, list[dict[str, Any]]]) -> Facts:
    """What decoding did to images and masks, and how often; no rows where it did nothing worth a note."""
    rows = [
        [sentence_case(part), sentence_case(found["note"]), number(found["count"])]
        for part, notes in decoding.items()
        for found in notes
    ]
    return {"head": ["Files", "What decoding did", "Samples"], "rows": rows}


def _patients_chart(patients: list[dict[str, Any]], marked: str) -> str:
    """Samples of each patient, in the colour of its split, the part that is marked filled."""
    figure, (axis,) = new_figure(9, 3)
    labels = [patient["patient_id"] if len(patients) <= _LABELLED_PATIENTS else "" for patient in patients]
    filled = [patient["foreground_samples"] for patient in patients]
    rest = [patient["samples"] - patient["foreground_samples"] for patient in patients]
    series = {marked: filled, "without": rest}
    stacked_bars(axis, labels, series, colours=("#000000", "#000000"), ylabel="samples")
    for group, alpha in zip(axis.containers, (1.0, 0.35), strict=True):
        for bar, patient in zip(group, patients, strict=True):
            bar.set(facecolor=SPLIT_COLOURS[patient["split"]], alpha=alpha)
    axis.tick_params(axis="x", labelrotation=90 if len(patients) > _UPRIGHT_LABELS else 0, labelsize=8)
    axis.margins(x=0.01)
    _split_legend(axis, {patient["split"] for patient in patients})
    return figure_uri(figure)


def _split_legend(axis: Axes, there: Set[str]) -> None:
    legend = axis.get_legend()
    if legend is not None:
        legend.remove()
    handles = [axis.bar(0, 0, color=colour, label=split) for split, colour in SPLIT_COLOURS.items() if split in there]
    axis.legend(handles=handles, frameon=False, fontsize=9, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
