"""The data report: what ``prepare`` found, as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from medloom import __version__
from medloom.files import read_json, write_text
from medloom.reports.charts import PALETTE, SPLIT_COLOURS, bars, figure_uri, lines, new_figure, stacked_bars
from medloom.reports.facts import set_aside_sentence
from medloom.reports.figures import mean_range
from medloom.reports.html import data_uri, number, percent, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["write_data_report"]

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
    page = render(
        "data_report.html",
        phantom=bool(prepared["phantom"]),
        version=__version__,
        prepared=prepared,
        set_aside=set_aside_sentence(prepared),
        facts=facts,
        pictures=_pictures(run_dir / "data_report"),
        charts={
            "patients": _patients_chart(facts["patients"]),
            "shares": _shares_chart(facts["splits"]) if facts.get("task") != "classification" else "",
            "histograms": _histogram_chart(facts["channels"]),
        },
        tables=_tables(facts) | {"labels": _label_rows(prepared)},
        flair=_flair_verdict(facts) if facts.get("task") != "classification" else "",
    )
    path = run_dir / "data_report.html"
    write_text(path, page)
    return path


def _pictures(folder: Path) -> dict[str, str]:
    """Every picture that is there, as a data URI by its name without the suffix."""
    found = [folder / name for name in _PICTURES if (folder / name).is_file()]
    return {path.stem: data_uri(path) for path in found}


def _tables(facts: dict[str, Any]) -> dict[str, list[list[str]]]:
    """The cells of each table."""
    return {
        "splits": [
            [
                row["split"],
                number(row["patients"]),
                number(row["samples"]),
                percent(row["sample_share"]),
                number(row["lesion_samples"]),
                percent(row["lesion_share"]),
            ]
            for row in facts["splits"]
        ],
        "patients": [
            [row["patient_id"], row["split"], number(row["samples"]), number(row["lesions"])]
            for row in facts["patients"]
        ],
        "channels": [
            [row["name"], *(f"{row[key]:,.4g}" for key in ("min", "max", "mean", "std")), percent(row["zero_share"])]
            for row in facts["channels"]
        ],
        "flair": [
            [row["channel"], number(row["lesion"], 2), number(row["fluid"], 2)]
            for row in facts.get("flair", {}).get("scores", ())
        ],
    }


def _label_rows(prepared: dict[str, Any]) -> list[list[str]]:
    """A heading and a row for each split: samples of each class, or the mean and range of each target."""
    if prepared.get("task") != "classification":
        return []
    counts, labels = prepared["counts"], prepared["labels"]
    if labels["kind"] != "real":
        head = ["Split", "Patients", "Samples", *labels["classes"]]
        cells = {split: [number(row["classes"][name]) for name in labels["classes"]] for split, row in counts.items()}
    else:
        head = ["Split", "Patients", "Samples", *(f"{name}: mean (range)" for name in labels["targets"])]
        cells = {
            split: [mean_range(row["targets"][name]) for name in labels["targets"]] for split, row in counts.items()
        }
    rows = [[split, number(row["patients"]), number(row["samples"]), *cells[split]] for split, row in counts.items()]
    return [head, *rows]


def _patients_chart(patients: list[dict[str, Any]]) -> str:
    """Samples of each patient, in the colour of its split, the part with a lesion filled."""
    figure, (axis,) = new_figure(9, 3)
    labels = [patient["patient_id"] if len(patients) <= _LABELLED_PATIENTS else "" for patient in patients]
    lesions = [patient["lesions"] for patient in patients]
    rest = [patient["samples"] - patient["lesions"] for patient in patients]
    series = {"with a lesion": lesions, "without": rest}
    stacked_bars(axis, labels, series, colours=("#000000", "#000000"), ylabel="samples")
    for group, alpha in zip(axis.containers, (1.0, 0.35), strict=True):
        for bar, patient in zip(group, patients, strict=True):
            bar.set(facecolor=SPLIT_COLOURS[patient["split"]], alpha=alpha)
    axis.tick_params(axis="x", labelrotation=90 if len(patients) > _UPRIGHT_LABELS else 0, labelsize=8)
    axis.margins(x=0.01)
    _split_legend(axis)
    return figure_uri(figure)


def _split_legend(axis: Axes) -> None:
    legend = axis.get_legend()
    if legend is not None:
        legend.remove()
    handles = [axis.bar(0, 0, color=colour, label=split) for split, colour in SPLIT_COLOURS.items()]
    axis.legend(handles=handles, frameon=False, fontsize=9, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))


def _shares_chart(splits: list[dict[str, Any]]) -> str:
    figure, (axis,) = new_figure(3.6, 2.6)
    values = [100 * (split["lesion_share"] or 0) for split in splits]
    names = [split["split"] for split in splits]
    bars(axis, names, values, colours=[SPLIT_COLOURS[name] for name in names], ylabel="samples with a lesion, %")
    return figure_uri(figure)


def _histogram_chart(channels: list[dict[str, Any]]) -> str:
    """Share of the pixels above zero in each bin; a logarithmic axis shows the bright end."""
    figure, axes = new_figure(9, 2.6, columns=len(channels))
    for axis, channel, colour in zip(axes, channels, PALETTE * len(channels), strict=False):
        total = max(sum(channel["counts"]), 1)
        centres = [(low + high) / 2 for low, high in zip(channel["edges"], channel["edges"][1:], strict=False)]
        shares = [100 * count / total if count else float("nan") for count in channel["counts"]]
        lines(axis, centres, {channel["name"]: shares}, xlabel="grey level", title=channel["name"])
        axis.lines[0].set_color(colour)
        axis.set_yscale("log")
    axes[0].set_ylabel("pixels above 0, %", fontsize=9)
    return figure_uri(figure)


def _flair_verdict(facts: dict[str, Any]) -> str:
    """One sentence on the channel that looks like FLAIR."""
    flair, names = facts["flair"], [channel["name"] for channel in facts["channels"]]
    if not flair["scores"]:
        return "There is one channel only, or no lesion to judge by, so nothing was compared."
    if flair["channel"] is None:
        return "No channel shows the lesions clearly brighter than brain, so none looks like FLAIR."
    found = names[flair["channel"]]
    certainty = "" if flair["sure"] else ", though its fluid is not the darkest"
    if flair["named"] is None:
        return f"{found} looks like FLAIR{certainty}; the recipe names no channel FLAIR."
    if flair["agrees"]:
        return f"{found} looks like FLAIR{certainty}, as the recipe says."
    return (
        f"{found} looks like FLAIR{certainty}, but the recipe calls {names[flair['named']]} FLAIR: check data.channels."
    )
