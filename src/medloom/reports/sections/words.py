"""What was measured, in sentences for people who do not know the metrics; for each metric its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medloom.evaluation.parts import measured
from medloom.reports.facts import Facts
from medloom.reports.metrics import with_interval
from medloom.reports.plain import share_text

__all__ = ["label_words", "mask_words"]

_MASKS = {
    "dice_foreground": "Where an image shows {name}, what the model marks and what is true overlap with a Dice of "
    "{metric}: 1 is the same area, 0 is none in common.",
    "false_positive_rate": "It marks something in {share} of the images that show none.",
    "region_sensitivity": "It touches {share} of all true regions.",
}
_LABELS = {
    "sensitivity": "It finds {share} of the images with {name}.",
    "specificity": "It leaves alone {share} of the images without {name}.",
    "roc_auc": "Given an image with {name} and one without, it gives the first the higher score in {share} of such "
    "pairs; guessing does in half of them.",
    "balanced_accuracy": "It names the right class for {share} of the images of a class, on average over the classes.",
    "accuracy": "It names the right class for {share} of all images.",
    "mae": "Its numbers are off by {metric} on average.",
    "r2": "R² is {metric}: 1 is no error at all, 0 no better than always saying the mean.",
}
_BRACKETS = "In brackets: the 95 % interval, which says how much a value may owe to the choice of these {over}."


def mask_words(summary: Facts) -> list[str]:
    """Return sentences on masks.

    Args:
        summary: As in ``summary.json``; an empty one gives none.
    """
    if not summary:
        return []
    foreground = summary["target"]["names"][1:]
    said = _sentences(summary, _MASKS, foreground[0] if len(foreground) == 1 else "foreground")
    return [*said, *_brackets(summary, said)]


def label_words(summary: Facts) -> list[str]:
    """Return sentences on labels of whole images; beside them what the constant answer gets."""
    if not summary:
        return []
    asked = list(measured(summary).get("counts", {}).get("positives", {}))
    alone = len(asked) == 1
    shown = {*summary["headlines"], *(("accuracy",) if alone else ())}
    words = {key: sentence for key, sentence in _LABELS.items() if key in shown}
    said = _sentences(summary, words, asked[0] if alone else "a given answer (mean over all of them)")
    if "accuracy" in shown:
        said += _constant(measured(summary).get("baselines", {}).get("constant", {}))
    return [*said, *_brackets(summary, said)]


def _sentences(summary: Facts, words: Mapping[str, str], name: str) -> list[str]:
    metrics, said = measured(summary)["metrics"], []
    for key, sentence in words.items():
        one = metrics.get(key, {})
        if one.get("value") is not None:
            said.append(_filled(sentence, one, summary["meanings"][key]["unit"], name))
    return said


def _brackets(summary: Facts, said: list[str]) -> list[str]:
    """What the brackets are, where there are any: one patient alone gives no intervals."""
    known = any(one.get("low") is not None for one in measured(summary)["metrics"].values())
    return [_BRACKETS.format(over=summary["interval"]["over"])] if known and said else []


def _filled(sentence: str, metric: Mapping[str, Any], unit: str, name: str) -> str:
    share = share_text(metric) if unit == "share" else ""
    return sentence.format(metric=with_interval(metric, unit), share=share, name=name)


def _constant(baseline: Mapping[str, Any]) -> list[str]:
    accuracy = baseline.get("metrics", {}).get("accuracy", {})
    if accuracy.get("value") is None or not baseline.get("answer"):
        return []
    right = share_text({"value": accuracy["value"]})
    return [f"Always answering {baseline['answer']}, without looking, would be right for {right} of these images."]
