"""What was measured as text: numbers for captions, and rows and lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medloom.evaluation.parts import measured
from medloom.wording import metric_text

__all__ = ["loss_text", "metric_rows", "number", "point_lines", "precision_texts", "quantity", "sentence_case"]

_MOST_WRITTEN_OUT = 1e9


def metric_rows(summary: Mapping[str, Any], count: int | None = None) -> list[tuple[str, str]]:
    """Return the metrics of the cases that were measured as their label and their value with the 95 % interval.

    Args:
        summary: As in ``summary.json``, of any kind of answer.
        count: How many, the headlines first; all by default.
    """
    metrics, meanings = measured(summary)["metrics"], summary["meanings"]
    headlines = [name for name in summary["headlines"] if name in metrics]
    names = headlines + [name for name in metrics if name not in headlines]
    return [(meanings[name]["label"], metric_text(metrics[name], meanings[name]["unit"])) for name in names[:count]]


def loss_text(found: Mapping[str, Any], precision: str) -> str:
    """Say what a network is worth in fewer bits beside float32, with four digits: limits are that small.

    Args:
        found: As from ``medloom.evaluation.precision.measure_loss``.
        precision: What it was computed in.
    """
    exact, reduced, apart = (found[key] for key in ("exact", "reduced", "difference"))
    between = "" if apart.get("low") is None else f" ({apart['low']:+.4f} to {apart['high']:+.4f})"
    return (
        f"on {found['cases']} {found['label']} is {reduced['value']:.4f} in {precision} and {exact['value']:.4f} in "
        f"float32, a difference of {apart['value']:+.4f}{between}"
    )


def precision_texts(found: Mapping[str, Any]) -> list[str]:
    """Say how a model in fewer bits is computed and what that cost, a sentence each.

    Args:
        found: As ``Reduced`` of the bundle's manifest.
    """
    texts = [
        found["computed"],
        f"{sentence_case(loss_text(found, found['name']))}; at most {found['limit']:g} is lost.",
    ]
    if found["calibrated_on"]:
        texts.append(f"The ranges of 8 bits were found on {found['calibrated_on']:,} validation images.")
    return texts


def point_lines(summary: Mapping[str, Any]) -> str:
    """Say in whole lines where the operating point lies and what a reader should know of it; nothing for numbers.

    Args:
        summary: As in ``summary.json``, of any kind of answer.
    """
    lines = [summary["point_text"]] if summary["point_text"] else []
    lines += [f"Note: {note}." for note in summary["notes"]]
    lines += [f"Note: {note}" for note in measured(summary).get("cautions", ())]
    return "".join(f"{line}\n" for line in lines)


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for reading: thousands separated, ``digits`` decimals for a fraction, ``–`` for None."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"


def quantity(value: float, digits: int = 4, *, sign: bool = False) -> str:
    """Return a measured value of any size for reading: ``digits`` digits that count, and every one before the point.

    Args:
        value: The value, in a unit of its own.
        digits: Digits that count.
        sign: Whether a plus is written too.

    Example:
        >>> quantity(12345.67), quantity(0.0123456), quantity(2.5, sign=True)
        ('12,346', '0.01235', '+2.5')
    """
    plus = "+" if sign else ""
    if 10**digits <= abs(value) < _MOST_WRITTEN_OUT:
        return f"{value:{plus},.0f}"
    return f"{value:{plus},.{digits}g}"


def sentence_case(text: str) -> str:
    """Return a text with a capital at its beginning; the rest stays as it is.

    Example:
        >>> sentence_case("enhancing ET")
        'Enhancing ET'
    """
    return text[:1].upper() + text[1:]
