"""The page of ``medloom drift``: whether images come from where those of the training came from."""

from __future__ import annotations

from pathlib import Path

from medloom.evaluation.text import number, sentence_case
from medloom.files import write_json
from medloom.reports.charts import PALETTE, describe_axes, figure_uri, new_figure, new_panels
from medloom.reports.facts import Facts
from medloom.reports.html import percent, write_page
from medloom.reports.plain import plain_words
from medloom.wording import counted

__all__ = ["drift_sentences", "write_drift_report"]

_MOST_CHARTS, _MOST_SHOWN = 8, 50


def write_drift_report(path: Path, facts: Facts) -> Path:
    """Write the page, and beside it its facts as JSON under the same name.

    Args:
        path: Where it goes.
        facts: What ``medloom drift --json`` prints.

    Returns:
        The path.
    """
    said, figures = drift_sentences(facts), path.with_suffix(".json")
    write_json(figures, facts)
    return write_page(
        path,
        "drift_report.html",
        figures=figures.name,
        phantom=facts["phantom"],
        facts=facts,
        plain=plain_words(said, _caveats(facts)),
        rows=[_row(one) for one in facts["measures"]],
        scores=_scores(facts),
        charts=_charts(facts),
        flagged=[_image(one) for one in facts["flagged_images"][:_MOST_SHOWN]],
        left=max(len(facts["flagged_images"]) - _MOST_SHOWN, 0),
        share=f"{percent(facts['flagged']['low'])} to {percent(facts['flagged']['high'])}",
    )


def drift_sentences(facts: Facts) -> list[str]:
    """Say what was found, the most important first."""
    flagged = facts["flagged"]
    share, expected = percent(flagged["share"]), percent(flagged["expected"])
    between = f"{percent(flagged['low'])} to {percent(flagged['high'])}"
    apart = (
        f"{number(flagged['images'])} of {counted(facts['images'], 'image')} are set apart ({share}; 95 % interval "
        f"{between}); of images like those of the training it would be {expected}."
    )
    if not facts["tested"] and not facts["drift"]:
        return [f"There are too few images to compare them as a whole ({number(facts['patients'])}).", apart]
    if not facts["drift"]:
        return ["Nothing shows that the images are others than those of the training.", apart]
    return [f"The images are others than those of the training, first of all in {facts['findings'][0]}.", apart]


def _caveats(facts: Facts) -> list[str]:
    found = []
    if not facts["patients_known"]:
        found.append(
            "It is not known which images are of one patient: if there are several of one, the p-values are too small."
        )
    if facts["held_out"] < 1 / facts["wanted"] - 1:
        found.append(
            f"The threshold of single images comes from {counted(facts['held_out'], 'validation image')} alone, so the "
            f"share of false alarms is {percent(facts['flagged']['expected'])} instead of {percent(facts['wanted'])}."
        )
    found.append("Images that look alike may still be of other people: this compares pictures, not patients.")
    return found


def _row(one: Facts) -> list[str]:
    here, training = ([number(value, 2) for value in one[side]] for side in ("here", "training"))
    return [
        sentence_case(one["name"]),
        f"{training[1]} ({training[0]} to {training[2]})",
        f"{here[1]} ({here[0]} to {here[2]})",
        f"{number(one['stability'], 2)} ({number(one['expected'], 2)})",
        _p(one["p"]),
    ]


def _p(value: float | None) -> str:
    return "–" if value is None else "< 0.001" if value < 0.001 else number(value, 3)


def _image(one: Facts) -> list[str]:
    return [one["image"], "" if one["slice"] is None else number(one["slice"]), number(one["score"], 2), one["why"]]


def _scores(facts: Facts) -> str:
    """How many images have which score, on a scale of doublings: above 1 they are set apart."""
    figure, (axis,) = new_figure(7.0, 2.2)
    edges = [2.0 ** (step / 4) for step in range(-12, 25)]
    axis.hist([min(max(score, edges[0]), edges[-1]) for score in facts["scores"]], bins=edges, color=PALETTE[0])
    axis.axvline(1.0, color=PALETTE[1], linewidth=1.2)
    axis.set_xscale("log", base=2)
    describe_axes(axis, "Score; above 1 an image is set apart", "Images")
    return figure_uri(figure)


def _charts(facts: Facts) -> str:
    """The shares of the bins, here and in the training, of the measures that differ most."""
    worst = sorted(facts["measures"], key=lambda one: -float(one["stability"]))[:_MOST_CHARTS]
    figure, axes = new_panels(len(worst), 7.0, 1.9)
    for axis, one in zip(axes, worst, strict=True):
        places = range(len(one["shares"]["here"]))
        axis.bar([at - 0.2 for at in places], one["shares"]["training"], 0.4, color=PALETTE[5], label="training")
        axis.bar([at + 0.2 for at in places], one["shares"]["here"], 0.4, color=PALETTE[0], label="here")
        axis.set_xticks([])
        axis.set_title(sentence_case(one["name"]), fontsize=8)
    axes[0].legend(frameon=False, fontsize=7)
    return figure_uri(figure)
